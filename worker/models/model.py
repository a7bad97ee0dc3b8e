"""A loaded bundle: predictions from audio windows and lyrics. Needs no server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from media.decode import Clip, Waveform, decode_windows
from media.lyrics import clean_lyrics
from media.tokens import LyricsTokenizer, pad_tokens
from schemas.bundle import INPUTS, OUTPUTS, BundleManifest, LyricsUse, read_bundle
from schemas.errors import ConfigError
from schemas.labels import LabelRule, sigmoid
from worker.errors import InferenceFailed
from worker.models.bundle_cache import fetch_bundle
from worker.models.session import open_session
from worker.results import Prediction, TrackResult
from worker.settings import ModelSettings


@dataclass(frozen=True)
class ModelInput:
    """Input of the model for one track."""

    windows: Waveform
    """(windows, samples) float32, mono."""
    token_ids: tuple[int, ...]
    """Token ids of the lyrics; empty if there are none."""


class Model:
    """A bundle that is loaded and warmed up. `predict` must not run in two threads at once."""

    def __init__(self, settings: ModelSettings) -> None:
        """Load the configured bundle and warm it up. Raises BundleError, ConfigError."""
        folder = fetch_bundle(settings)
        self.manifest = _with_windows(read_bundle(folder), settings.windows)
        self.precision = settings.precision
        lyrics = self.manifest.lyrics
        self._tokenizer = LyricsTokenizer(folder / lyrics.tokenizer, lyrics.max_tokens)
        opened = open_session(folder, self.manifest, settings)
        self._session = opened.session
        self.provider = opened.provider
        """Execution provider in use: the requested one, or cpu after a fallback that COGENRE_CPU_FALLBACK
        allows."""
        self.rule = LabelRule(self.manifest.genres, self.manifest.thresholds)
        # A GPU allocates memory and selects kernels separately for every batch size.
        try:
            self._warm_up((1,) if self.provider == "cpu" else (1, settings.batch_rows))
        except InferenceFailed as error:
            raise ConfigError(
                f"bundle {self.manifest.label} loads but does not run on {self.provider}: {error} "
                "(check the bundle with `cogenre-export verify`, and the memory of the device)"
            ) from error

    def encode_lyrics(self, lyrics: str | None, language: str | None) -> tuple[tuple[int, ...], LyricsUse]:
        """Return the token ids of raw lyrics, and their use. The ids are empty unless the lyrics are used."""
        if lyrics is None or not lyrics.strip():
            return (), "absent"
        words = clean_lyrics(lyrics)
        use = self.manifest.lyrics.lyrics_use(words, language)
        return (tuple(self._tokenizer.encode(words)) if use == "used" else ()), use

    def analysed_seconds(self, clip: Clip) -> float:
        """Return the seconds of a track that its windows cover."""
        return min(clip.seconds, len(clip.windows) * self.manifest.audio.window_seconds)

    def classify(self, encoded: bytes, lyrics: str | None) -> TrackResult:
        """Return the result for one encoded audio file and its raw lyrics. Raises MediaError."""
        clip = decode_windows(encoded, self.manifest.audio)
        ids, use = self.encode_lyrics(lyrics, language=None)
        (prediction,) = self.predict([ModelInput(clip.windows, ids)])
        return TrackResult(prediction, use, clip.seconds, self.analysed_seconds(clip))

    def bucket(self, tokens: int) -> int:
        """Return the length to which lyrics of `tokens` tokens are padded."""
        return next(length for length in self.manifest.lyrics.buckets if tokens <= length)

    def predict(self, inputs: Sequence[ModelInput]) -> list[Prediction]:
        """Run the graph once for all windows of all tracks, and return one prediction per track.

        All lyrics are padded to the bucket of the longest lyrics. Raises InferenceFailed.
        """
        length = self.bucket(max(len(track.token_ids) for track in inputs))
        counts = [len(track.windows) for track in inputs]
        ids, mask = pad_tokens([track.token_ids for track in inputs], length)
        feeds = (
            np.concatenate([track.windows for track in inputs]),
            np.repeat(ids, counts, axis=0),
            np.repeat(mask, counts, axis=0),
        )
        try:
            logits, embedding = self._session.run(OUTPUTS, dict(zip(INPUTS, feeds, strict=True)))
        except Exception as error:  # ONNX Runtime's exceptions have no narrower common base class
            raise InferenceFailed(" ".join(str(error).split())) from error
        ends = np.cumsum(counts)[:-1]
        return [
            Prediction(scores.mean(axis=0), fused.mean(axis=0))
            for scores, fused in zip(np.split(sigmoid(logits), ends), np.split(embedding, ends), strict=True)
        ]

    def _warm_up(self, batches: Sequence[int]) -> None:
        """Run the graph once with every bucket and batch size, so that the first track is not slower."""
        for rows in batches:
            silence = np.zeros((rows, self.manifest.audio.window_samples), dtype=np.float32)
            for length in self.manifest.lyrics.buckets:
                self.predict([ModelInput(silence, (0,) * length)])


def _with_windows(manifest: BundleManifest, windows: int | None) -> BundleManifest:
    """Return the manifest with `windows` windows per track; None = the bundle's number."""
    if windows is None:
        return manifest
    audio = manifest.audio.model_copy(update={"windows": windows})
    return manifest.model_copy(update={"audio": audio})


def open_bundle(bundle: Path | str) -> Model:
    """Return the model of a bundle (folder or s3:// URL). Other settings are read from the environment."""
    return Model(ModelSettings.load(bundle=bundle))
