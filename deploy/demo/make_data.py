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
DEMO_TRACKS = 32
"""Number of tracks selected for the demo."""
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
    _copy_tracks(corpus, _select_tracks(manifest))


def _run(command: str, *arguments: str | int | Path) -> None:
    """Run a command of this project. If it fails, exit with its code: it has printed the reason."""
    script = Path(sys.executable).with_name(command)
    done = subprocess.run([script, *map(str, arguments)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _select_tracks(manifest: Path) -> list[Row]:
    """Return test tracks, selected for variety and not for the quality of their labels.

    The next track is always the one whose genres, container and presence of lyrics are rarest among the
    tracks selected so far.
    """
    rows: list[Row] = [json.loads(line) for line in manifest.read_text().splitlines()]
    remaining = [row for row in rows if row["split"] == "test"]
    counts: Counter[str] = Counter()
    selected = []
    for _ in range(DEMO_TRACKS):
        row = max(remaining, key=lambda row: mean(1 / (1 + counts[trait]) for trait in _traits(row)))
        remaining.remove(row)
        selected.append(row)
        counts.update(_traits(row))
    return sorted(selected, key=lambda row: str(row["track_id"]))


def _traits(row: Row) -> list[str]:
    """Return the properties of a track that the selection balances."""
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
