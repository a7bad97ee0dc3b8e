"""Compares `cogenre classify` with the trainer's own pipeline, from encoded file to labels.

A graph can be right while the product is wrong: in decoding, cutting, tokenising, padding, or in a threshold.
This check therefore runs the command as a process, on encoded files and raw lyrics.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from exporter.checks.audio_cases import write_audio_cases
from exporter.checks.cases import MAX_BATCH_WINDOWS
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
"""The worker's name of a provider, by ONNX Runtime's name."""

PROVIDER_UNAVAILABLE = "provider_unavailable"
"""`error_code` of `cogenre classify --json` for a provider that cannot run here, or cannot run the graph."""


@dataclass(frozen=True)
class _FileResult:
    """The result of `cogenre classify --json` for a file."""

    labels: set[str]
    """Slugs of the accepted genres."""
    scores: NDArray[np.float64]
    """Probabilities (genres,)."""


def measure_product_parity(
    bundle: Path,
    manifest: BundleManifest,
    name: str,
    reference: Scores,
    allowed: Callable[[Precision], float] = allowed_difference,
) -> dict[Precision, ProductParity]:
    """Compare `cogenre classify` with `reference` on every provider that runs on this machine.

    `name` is the reference's name in messages; `allowed` gives the allowed difference of a probability for a
    precision. Raises ParityError where a probability differs by more, or where a label differs whose
    probability is farther than that from its threshold.
    """
    # All windows of a file form one batch. With this limit the files give every batch size.
    audio = manifest.audio.model_copy(update={"windows": MAX_BATCH_WINDOWS})
    manifest = manifest.model_copy(update={"audio": audio})
    parities = {}
    with tempfile.TemporaryDirectory() as folder:
        tracks = write_audio_cases(Path(folder), manifest)
        library = Library(Path(folder), manifest.genres, tuple(tracks))
        tokenizer = LyricsTokenizer(bundle / manifest.lyrics.tokenizer, manifest.lyrics.max_tokens)
        expected = [_expected_scores(manifest, library, tokenizer, reference, track) for track in tracks]
        for precision in manifest.graphs:
            worst = 0.0
            providers = []
            for provider in _providers(precision):
                results = _classify(bundle, Path(folder), tracks, precision, provider)
                if results is None:
                    continue
                providers.append(provider)
                for track, scores in zip(tracks, expected, strict=True):
                    where = f"{track.audio} with {precision} on {provider}"
                    result = results.get(track.audio)
                    worst = max(worst, _compare(manifest, name, where, scores, result, allowed(precision)))
            parities[precision] = ProductParity(
                max_probability_difference=worst, files=len(tracks), providers=tuple(providers)
            )
    return parities


def _expected_scores(
    manifest: BundleManifest, library: Library, tokenizer: LyricsTokenizer, scores: Scores, track: Track
) -> NDArray[np.float64] | None:
    """Return the probabilities (genres,) by the trainer's pipeline; None where it refuses the file."""
    try:
        windows = decode_windows(library.load_audio(track), manifest.audio).windows
        ids, mask = pad_tokens([tokenizer.encode(library.load_lyrics(track))], manifest.lyrics.max_tokens)
    except MediaError:
        return None
    rows = (windows, ids.repeat(len(windows), axis=0), mask.repeat(len(windows), axis=0))
    means: NDArray[np.float64] = scores(dict(zip(INPUTS, rows, strict=True))).mean(0)
    return means


def _providers(precision: Precision) -> list[str]:
    """Return the providers to try. ONNX Runtime lists GPU providers on machines without a GPU, too."""
    return [
        provider
        for name, provider in PROVIDERS.items()
        # int8 has no kernels on GPUs.
        if name in onnxruntime.get_available_providers() and (provider == "cpu" or precision != "int8")
    ]


def _classify(
    bundle: Path, folder: Path, tracks: Sequence[Track], precision: Precision, provider: str
) -> dict[str, _FileResult] | None:
    """Run `cogenre classify`; return its results by file name, without the files that it refuses.

    Returns None if the provider is not available. Raises ParityError if the command fails.
    """
    command = [sys.executable, "-m", "worker.cli", "classify", "--json", "--bundle", str(bundle.resolve())]
    settings = {
        "PRECISION": precision,
        "PROVIDER": provider,
        # With the fallback, the CPU's scores would pass for the provider's.
        "CPU_FALLBACK": "false",
        "WINDOWS": str(MAX_BATCH_WINDOWS),
    }
    done = subprocess.run(  # noqa: S603 - the command is ours
        [*command, *(track.audio for track in tracks)],
        cwd=folder,
        env=os.environ | {f"COGENRE_{key}": value for key, value in settings.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    results = {
        line["file"]: _FileResult(set(line["genres"]), np.array(list(line["scores"].values())))
        for line in lines
        if "error_code" not in line
    }
    if not results:
        if provider != "cpu" and any(line["error_code"] == PROVIDER_UNAVAILABLE for line in lines):
            return None
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ParityError(f"cogenre classify does not run {precision} on {provider}: {reason}")
    return results


def _compare(
    manifest: BundleManifest,
    name: str,
    where: str,
    expected: NDArray[np.float64] | None,
    result: _FileResult | None,
    allowed: float,
) -> float:
    """Return the largest difference of a probability. Raises ParityError."""
    if expected is None or result is None:
        if expected is None and result is None:
            return 0.0
        refusing, accepting = "cogenre classify", "the trainer's pipeline"
        if result is not None:
            refusing, accepting = accepting, refusing
        raise ParityError(
            f"{where}: {refusing} refuses the file and {accepting} does not: "
            "export again with the release of the workers"
        )
    difference = float(np.abs(result.scores - expected).max())
    if not difference <= allowed:
        raise ParityError(
            f"{where}: cogenre classify and {name} differ by {difference:.2g} in a probability; at most "
            f"{allowed:g} is allowed: export again with the release of the workers"
        )
    # Labels of scores within `allowed` of their threshold may differ.
    certain, possible = (_labels(manifest, expected - margin) for margin in (allowed, -allowed))
    if wrong := (certain - result.labels) | (result.labels - possible):
        raise ParityError(
            f"{where}: cogenre classify and {name} differ in the label {min(wrong)}: "
            "export again with the release of the workers"
        )
    return difference


def _labels(manifest: BundleManifest, scores: NDArray[np.float64]) -> set[str]:
    """Return the slugs of the genres that probabilities (genres,) accept."""
    accepted = LabelRule(manifest.genres, manifest.thresholds).accept_genres(scores[None])[0]
    return {genre.slug for genre, is_accepted in zip(manifest.genres, accepted, strict=True) if is_accepted}
