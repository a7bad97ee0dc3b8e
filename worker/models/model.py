"""A bundle at work: encoded audio and raw lyrics in, genres out. No server needed."""

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
from worker.models.bundle_cache import local_bundle
from worker.models.session import open_session
from worker.results import Prediction, TrackResult
from worker.settings import ModelSettings


@dataclass(frozen=True)
class ModelInput:
    """A track as the model takes it."""

    windows: Waveform
    """(windows, samples)"""
    token_ids: tuple[int, ...]
    """Empty = no lyrics."""


class Model:
    """A loaded and warmed bundle. One thread at a time may `predict`; the rest is free."""

    def __init__(self, settings: ModelSettings) -> None:
        """Raises BundleError, ConfigError."""
        folder = local_bundle(settings)
        self.manifest = _with_windows(read_bundle(folder), settings.windows)
        self.precision = settings.precision
        lyrics = self.manifest.lyrics
        self._tokenizer = LyricsTokenizer(folder / lyrics.tokenizer, lyrics.max_tokens)
        opened = open_session(folder, self.manifest, settings)
        self._session = opened.session
        self.provider = opened.provider
        """What it runs on: not always what was asked for."""
        self.rule = LabelRule(self.manifest.genres, self.manifest.thresholds)
        # A GPU takes its memory, and chooses its kernels, for each size of batch anew.
        try:
            self._warm_up((1,) if self.provider == "cpu" else (1, settings.batch_rows))
        except InferenceFailed as error:
            raise ConfigError(
                f"bundle {self.manifest.label} loads but does not run on {self.provider}: {error} "
                "(check the bundle with `cogenre-export verify`, and the device's memory)"
            ) from error

    def encode_lyrics(self, lyrics: str | None, language: str | None) -> tuple[tuple[int, ...], LyricsUse]:
        """Token ids of raw lyrics, none where they are not read, and what became of them."""
        if lyrics is None or not lyrics.strip():
            return (), "absent"
        words = clean_lyrics(lyrics)
        use = self.manifest.lyrics.lyrics_use(words, language)
        return (tuple(self._tokenizer.encode(words)) if use == "used" else ()), use

    def analysed_seconds(self, clip: Clip) -> float:
        """How much of a track its windows are."""
        return min(clip.seconds, len(clip.windows) * self.manifest.audio.window_seconds)

    def classify(self, encoded: bytes, lyrics: str | None) -> TrackResult:
        """All in one, for a single track. Raises MediaError."""
        clip = decode_windows(encoded, self.manifest.audio)
        ids, use = self.encode_lyrics(lyrics, language=None)
        (prediction,) = self.predict([ModelInput(clip.windows, ids)])
        return TrackResult(prediction, use, clip.seconds, self.analysed_seconds(clip))

    def bucket(self, tokens: int) -> int:
        """The length to which lyrics of so many tokens are padded."""
        return next(length for length in self.manifest.lyrics.buckets if tokens <= length)

    def predict(self, inputs: Sequence[ModelInput]) -> list[Prediction]:
        """One run of the graph for all windows of all inputs, padded to the longest lyrics' bucket.

        Raises InferenceFailed.
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
        except Exception as error:  # ONNX Runtime's own classes have no common base but this
            raise InferenceFailed(" ".join(str(error).split())) from error
        ends = np.cumsum(counts)[:-1]
        return [
            Prediction(scores.mean(axis=0), fused.mean(axis=0))
            for scores, fused in zip(np.split(sigmoid(logits), ends), np.split(embedding, ends), strict=True)
        ]

    def _warm_up(self, batches: Sequence[int]) -> None:
        """Every bucket once, so that the first track is not the slow one."""
        for rows in batches:
            silence = np.zeros((rows, self.manifest.audio.window_samples), dtype=np.float32)
            for length in self.manifest.lyrics.buckets:
                self.predict([ModelInput(silence, (0,) * length)])


def _with_windows(manifest: BundleManifest, windows: int | None) -> BundleManifest:
    if windows is None:
        return manifest
    audio = manifest.audio.model_copy(update={"windows": windows})
    return manifest.model_copy(update={"audio": audio})


def open_bundle(bundle: Path | str) -> Model:
    """A bundle, of a folder or in S3, on the CPU, with everything else as it is by default."""
    return Model(ModelSettings.load(bundle=bundle))
