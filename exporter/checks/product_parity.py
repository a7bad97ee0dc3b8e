"""Does `cogenre classify` say of files what the trainer's own pipeline says?

The graph alone can be right where the product is wrong: in how a file is decoded, cut, tokenised or padded,
or in a threshold. So the command runs as a process, on encoded files and raw lyrics.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from exporter.checks.audio_cases import write_songs
from exporter.checks.cases import LARGEST_BATCH
from exporter.checks.graph_parity import allowed_difference
from exporter.checks.scores import Scores
from exporter.errors import ParityError
from media.decode import decode_windows
from media.errors import MediaError
from media.tokens import LyricsTokenizer, pad_tokens
from schemas.bundle import INPUTS, BundleManifest, Precision, ProductParity
from schemas.labels import LabelRule
from trainer.data.library import Library
from trainer.data.track import Track

PROVIDERS = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "cuda",
    "TensorrtExecutionProvider": "tensorrt",
}
"""ONNX Runtime's names to the worker's."""

NOT_HERE = ("cannot run:", "is not in the installed ONNX Runtime", "TensorRT has no engine of")
"""What the worker says of a provider that this machine, or the graph, is not for."""


@dataclass(frozen=True)
class _Verdict:
    """What `cogenre classify --json` prints of a file."""

    labels: set[str]
    scores: NDArray[np.float64]


def measure_product(
    bundle: Path,
    manifest: BundleManifest,
    name: str,
    reference: Scores,
    allowed: Callable[[Precision], float] = allowed_difference,
) -> dict[Precision, ProductParity]:
    """Compare `cogenre classify` with `reference`, called `name`, on every provider that runs here.

    Raises ParityError where a score differs by more than is `allowed` for its precision, or a label whose
    score is not that near its threshold.
    """
    # As many windows as the file is long: each is a batch of its own.
    audio = manifest.audio.model_copy(update={"windows": LARGEST_BATCH})
    heard = manifest.model_copy(update={"audio": audio})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        tracks = write_songs(Path(folder), heard)
        library = Library(Path(folder), manifest.genres, tuple(tracks))
        tokenizer = LyricsTokenizer(bundle / manifest.lyrics.tokenizer, manifest.lyrics.max_tokens)
        expected = [_trainers(heard, library, tokenizer, reference, track) for track in tracks]
        for precision in manifest.graphs:
            worst = 0.0
            providers = []
            for provider in _providers(precision):
                said = _classify(bundle, Path(folder), tracks, precision, provider)
                if said is None:
                    continue
                providers.append(provider)
                for track, scores in zip(tracks, expected, strict=True):
                    where = f"{track.audio} with {precision} on {provider}"
                    verdict = said.get(track.audio)
                    worst = max(worst, _compare(heard, name, where, scores, verdict, allowed(precision)))
            found[precision] = ProductParity(
                max_probability_difference=worst, files=len(tracks), providers=tuple(providers)
            )
    return found


def _trainers(
    manifest: BundleManifest, library: Library, tokenizer: LyricsTokenizer, scores: Scores, track: Track
) -> NDArray[np.float64] | None:
    """(genres,) by the trainer's reading of a track; None where it refuses the file."""
    try:
        windows = decode_windows(library.load_audio(track), manifest.audio).windows
        ids, mask = pad_tokens([tokenizer.encode(library.load_lyrics(track))], manifest.lyrics.max_tokens)
    except MediaError:
        return None
    rows = (windows, ids.repeat(len(windows), axis=0), mask.repeat(len(windows), axis=0))
    means: NDArray[np.float64] = scores(dict(zip(INPUTS, rows, strict=True))).mean(0)
    return means


def _providers(precision: Precision) -> list[str]:
    """Those that may run: ONNX Runtime lists a GPU's on every machine. int8 has no kernels on GPUs."""
    return [
        provider
        for name, provider in PROVIDERS.items()
        if name in onnxruntime.get_available_providers() and (provider == "cpu" or precision != "int8")
    ]


def _classify(
    bundle: Path, folder: Path, tracks: Sequence[Track], precision: Precision, provider: str
) -> dict[str, _Verdict] | None:
    """Verdicts by file, of those that are not refused; None where the provider does not run here."""
    command = [sys.executable, "-m", "worker.cli", "classify", "--json", "--bundle", str(bundle.resolve())]
    settings = {
        "PRECISION": precision,
        "PROVIDER": provider,
        # Else the CPU's scores might be taken for the provider's.
        "CPU_FALLBACK": "false",
        "WINDOWS": str(LARGEST_BATCH),
    }
    done = subprocess.run(  # noqa: S603 - the command is ours
        [*command, *(track.audio for track in tracks)],
        cwd=folder,
        env=os.environ | {f"COGENRE_{key}": value for key, value in settings.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    verdicts = _verdicts(done.stdout.splitlines())
    if not verdicts:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if provider != "cpu" and any(part in reason for part in NOT_HERE):
            return None
        raise ParityError(f"cogenre classify does not run {precision} on {provider}: {reason}")
    return verdicts


def _verdicts(lines: Iterable[str]) -> dict[str, _Verdict]:
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {row["file"]: _Verdict(set(row["genres"]), np.array(list(row["scores"].values()))) for row in rows}


def _compare(
    manifest: BundleManifest,
    name: str,
    where: str,
    expected: NDArray[np.float64] | None,
    said: _Verdict | None,
    allowed: float,
) -> float:
    """The largest difference of a score. Raises ParityError."""
    if expected is None or said is None:
        if expected is None and said is None:
            return 0.0
        who = "cogenre classify" if said is None else "the trainer's pipeline"
        raise ParityError(f"{where}: {who} alone refuses the file: export with the release that serves")
    difference = float(np.abs(said.scores - expected).max())
    if not difference <= allowed:
        raise ParityError(
            f"{where}: cogenre classify and {name} differ by {difference:.2g} in a probability; at most "
            f"{allowed:g} is allowed: export again with the release that serves"
        )
    sure, possible = (_labels(manifest, expected - by) for by in (allowed, -allowed))
    if wrong := (sure - said.labels) | (said.labels - possible):
        raise ParityError(
            f"{where}: cogenre classify and {name} disagree on the label {min(wrong)}: "
            "export again with the release that serves"
        )
    return difference


def _labels(manifest: BundleManifest, scores: NDArray[np.float64]) -> set[str]:
    accepted = LabelRule(manifest.genres, manifest.thresholds).accept_genres(scores[None])[0]
    return {genre.slug for genre, is_it in zip(manifest.genres, accepted, strict=True) if is_it}
