"""Known vulnerabilities of what is pinned: `make audit`.

pip-audit asks PyPI about every pin. Where PyPI does not answer, or a mirror without that data does, it finds
nothing and ends well. That is not the same as nothing being known, so here it is said.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"


def audit(requirements: str) -> dict[str, Any] | None:
    """pip-audit's report on a file of hashed pins; None where it could not make one."""
    uv = Path(sys.executable).with_name("uv")
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [uv, "tool", "run", PIP_AUDIT, *options, "-r", requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(*done.stderr.strip().splitlines()[-1:], file=sys.stderr)
        return None
    return report


def verdict(requirements: str, report: dict[str, Any] | None) -> tuple[bool, list[str]]:
    """Whether nothing is known against the pins, and lines that say what was looked at."""
    pins = report["dependencies"] if report else []
    audited = [pin for pin in pins if "skip_reason" not in pin]
    if not audited:
        return True, [f"{requirements}: NOT AUDITED: no vulnerability data can be reached from here"]
    lines = [f"{requirements}: {len(audited)} of {len(pins)} pins audited"]
    lines += [f"  not audited: {pin['name']}: {pin['skip_reason']}" for pin in pins if "skip_reason" in pin]
    flaws = [(pin, flaw) for pin in audited for flaw in pin["vulns"]]
    lines += [
        f"  {pin['name']} {pin['version']}: {flaw['id']}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no release yet'}"
        for pin, flaw in flaws
    ]
    return not flaws, lines


def main() -> None:
    verdicts = [verdict(requirements, audit(requirements)) for requirements in sys.argv[1:]]
    for _, lines in verdicts:
        print(*lines, sep="\n")
    sys.exit(0 if all(good for good, _ in verdicts) else 1)


if __name__ == "__main__":
    main()
