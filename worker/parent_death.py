"""Runs a command that ends when its parent process ends, even if the parent is killed by SIGKILL.

`python -m worker.parent_death PARENT ACCOUNT COMMAND…` asks Linux to send SIGINT when the parent ends, then
replaces itself by the command; the request stays in force over `exec`. SIGINT is Postgres's fast shutdown and
Redis's save and exit.

If ACCOUNT is not "-", the process changes to this account before the request, because a later change would
clear the request.
"""

import os
import pwd
import signal
import sys
from collections.abc import Sequence

from media.sandbox import end_with_parent

SAME_ACCOUNT = "-"
"""Value of ACCOUNT if the command runs as the account of its parent."""


def bind_to_this_process(command: Sequence[str], account: str | None = None) -> list[str]:
    """Return the arguments that run `command` as a child that ends with this process.

    `account`: the user to run it as; None = the user of this process. `command[0]` is the path of a program.
    """
    return [sys.executable, "-m", __name__, str(os.getpid()), account or SAME_ACCOUNT, *command]


def main() -> None:
    parent, account, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if account != SAME_ACCOUNT:
        entry = pwd.getpwnam(account)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    end_with_parent(parent, signal.SIGINT)
    os.execv(command[0], command)  # noqa: S606 - the command is a fixed list


if __name__ == "__main__":
    main()
