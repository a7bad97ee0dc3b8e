"""Regenerates the demo's data next to this file: corpus, training, export, selected test tracks.

`make demo-data` runs this script. Its working files are in `build/demo-data` and can be deleted.
"""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

DEMO = Path(__file__).resolve().parent
WORK = DEMO.parents[1] / "build" / "demo-data"

TRACKS = 3000
SEED = 7
PICKED = 32
VERSION = "1.0.0"

Row = dict[str, Any]


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    corpus, checkpoint, bundle = WORK / "corpus", WORK / "checkpoint", WORK / "bundle"
    manifest = corpus / "manifest.jsonl"
    data = ("--synthetic", "--data-set", f"synthetic corpus, seed {SEED}")
    _run("cogenre-train", "corpus", corpus, "--tracks", TRACKS, "--seed", SEED)
    _run("cogenre-train", "fit", manifest, "--preset", "small", "--out", checkpoint, *data)
    _run("cogenre-export", "bundle", checkpoint, bundle, "--name", "demo", "--version", VERSION)
    shutil.rmtree(DEMO / "bundle", ignore_errors=True)
    shutil.copytree(bundle, DEMO / "bundle")
    _copy_tracks(corpus, _picked(manifest))


def _run(command: str, *arguments: str | int | Path) -> None:
    """Run a command of this project. If it fails, it has printed the reason: exit with its code."""
    script = Path(sys.executable).with_name(command)
    done = subprocess.run([script, *map(str, arguments)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _picked(manifest: Path) -> list[Row]:
    """Return test tracks, chosen for variety and not for how well the model labels them.

    Each next track is the one whose genres, container and presence of lyrics are rarest among those chosen.
    """
    rows: list[Row] = [json.loads(line) for line in manifest.read_text().splitlines()]
    left = [row for row in rows if row["split"] == "test"]
    seen: Counter[str] = Counter()
    picked = []
    for _ in range(PICKED):
        row = max(left, key=lambda row: mean(1 / (1 + seen[trait]) for trait in _traits(row)))
        left.remove(row)
        picked.append(row)
        seen.update(_traits(row))
    return sorted(picked, key=lambda row: str(row["track_id"]))


def _traits(row: Row) -> list[str]:
    return [
        *row["genres"],
        "sung" if row["lyrics"] else "instrumental",
        f"{len(row['genres'])} genres",
        Path(row["audio"]).suffix,
    ]


def _copy_tracks(corpus: Path, rows: list[Row]) -> None:
    """Copy audio and lyrics into one folder, and write the manifest's rows with the new relative paths."""
    folder = DEMO / "tracks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lines = []
    for row in rows:
        for kind in ("audio", "lyrics"):
            if row[kind] is not None:
                file = shutil.copy(corpus / row[kind], folder)
                row[kind] = f"tracks/{Path(file).name}"
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    (DEMO / "tracks.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
