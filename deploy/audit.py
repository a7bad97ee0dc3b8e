"""List known vulnerabilities of the pinned packages: `make audit`.

pip-audit looks up every pin on PyPI. If PyPI is unreachable, or a mirror without vulnerability data answers,
pip-audit reports no vulnerabilities. Then this script prints that nothing was audited.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"


def audit(requirements: str) -> dict[str, Any] | None:
    """Return the report of pip-audit on a file of hashed pins; None if pip-audit failed."""
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


def summarise(requirements: str, report: dict[str, Any] | None) -> tuple[bool, list[str]]:
    """Return whether no vulnerability is known, and the lines to print."""
    pins = report["dependencies"] if report else []
    audited = [pin for pin in pins if "skip_reason" not in pin]
    if not audited:
        return True, [f"{requirements}: NOT AUDITED: no vulnerability data can be reached from here"]
    lines = [f"{requirements}: {len(audited)} of {len(pins)} pins audited"]
    lines += [f"  not audited: {pin['name']}: {pin['skip_reason']}" for pin in pins if "skip_reason" in pin]
    vulnerabilities = [(pin, found) for pin in audited for found in pin["vulns"]]
    lines += [
        f"  {pin['name']} {pin['version']}: {found['id']}, fixed in "
        f"{', '.join(found['fix_versions']) or 'no release yet'}"
        for pin, found in vulnerabilities
    ]
    return not vulnerabilities, lines


def main() -> None:
    results = [summarise(requirements, audit(requirements)) for requirements in sys.argv[1:]]
    for _, lines in results:
        print(*lines, sep="\n")
    sys.exit(0 if all(passed for passed, _ in results) else 1)


if __name__ == "__main__":
    main()
