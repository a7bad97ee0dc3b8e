"""`python -m worker.local.parent_death PARENT ACCOUNT COMMAND…` runs a command that dies with its parent.

However the parent ends, by SIGKILL too, Linux then sends the signal set here; a program keeps it over `exec`.
An account other than "-" is changed to first, since that clears the signal.
"""

import ctypes
import os
import pwd
import signal
import sys

from media.sandbox import PR_SET_PDEATHSIG


def main() -> None:
    parent, account, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if account != "-":
        entry = pwd.getpwnam(account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    # Postgres's fast shutdown, and Redis's save and exit.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before the signal was set
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the command is ours


if __name__ == "__main__":
    main()
