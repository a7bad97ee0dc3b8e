"""Measure the size of the images: install what the Dockerfile installs, and sum the sizes of the files.

    .venv/bin/python deploy/images/size.py [--requirements requirements/worker-gpu.txt]

The result is what an image adds to its base (python:3.12-slim-bookworm, or NVIDIA's). Needs no Docker.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
LARGEST = 8


def install(requirements: Path, folder: Path) -> Path:
    """Create the environment of an image with the steps of the Dockerfile; return its site-packages."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    pip = [uv, "pip", "install", "--quiet", "--python", str(folder)]
    subprocess.run([*pip, "--no-build", "--require-hashes", "--requirement", str(requirements)], check=True)
    subprocess.run([*pip, "--no-deps", "--compile-bytecode", str(ROOT)], check=True)
    return next(folder.glob("lib/python*/site-packages"))


def megabytes(folder: Path) -> float:
    """Return the size of all files under a folder, without symbolic links."""
    return (
        sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
        / 1e6
    )


def by_package(site_packages: Path) -> Counter[str]:
    """Return the bytes of each distribution."""
    sizes: Counter[str] = Counter()
    for distribution in metadata.distributions(path=[str(site_packages)]):
        for file in distribution.files or []:
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                sizes[distribution.name] += path.stat().st_size
    return sizes


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--requirements", type=Path, default=ROOT / "requirements" / "worker.txt")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "cogenre"
        sizes = by_package(install(given.requirements.resolve(), environment))
        print(f"{given.requirements.name}, {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}")
        print(f"{megabytes(environment):8.1f} MB  /opt/cogenre, {len(sizes)} packages")
        for name, size in sizes.most_common(LARGEST):
            print(f"{size / 1e6:8.1f} MB  {name}")


if __name__ == "__main__":
    main()
