"""A small library of tones and lyrics, and settings with which a network trains in seconds."""

import json
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from schemas.bundle import AudioInput
from trainer.config import FitConfig, LittleBert, NetworkConfig, TrainingConfig
from trainer.data.files import client

if TYPE_CHECKING:
    from trainer.checkpoint import Checkpoint

GENRES = [
    {"slug": "tone", "name": "Tone", "parent": None},
    {"slug": "low-tone", "name": "Low Tone", "parent": "tone"},
    {"slug": "high-tone", "name": "High Tone", "parent": "tone"},
    {"slug": "love", "name": "Love Song", "parent": None},
]
WORDS = {True: "love heart kiss forever darling", False: "road river train mountain winter"}

TINY = TrainingConfig(
    network=NetworkConfig(
        audio=AudioInput(sample_rate=8_000, window_seconds=1, windows=2, picking="spread"),
        n_fft=512,
        hop=256,
        mels=32,
        channels=(4, 4, 8, 8, 8),
        time_pooling=(2, 2, 1, 1, 1),
        lyrics_model=LittleBert(vocabulary=200, layers=1, width=16, heads=2, steps=20),
        max_tokens=12,
        width=16,
        projection=8,
        heads=2,
        dropout=0.0,
    ),
    fit=FitConfig(epochs=12, batch=8, learning_rate=1e-2, halve_every=50, lyrics_dropout=0.25),
)


def write_tone(path: Path, hertz: float, seconds: float, seed: int) -> None:
    rate = 8_000
    time = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    samples = 0.5 * np.sin(2 * np.pi * hertz * time) + noise
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).clip(-32768, 32767).astype("<i2").tobytes())


def write_library(folder: Path, tracks: int = 48) -> Path:
    """Write a library and return its manifest.

    The pitch determines low-tone or high-tone, the lyrics determine love. Every sixth track has no lyrics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(tracks):
        low, love = number % 2 == 0, number % 4 < 2
        name = f"track-{number}"
        write_tone(folder / f"{name}.wav", 300 if low else 2_500, 1 + number % 3, number)
        has_lyrics = number % 6 != 0
        if has_lyrics:
            (folder / f"{name}.txt").write_text(f"[Chorus]\n{WORDS[love]}\n{WORDS[love]}\n")
        lines.append(
            {
                "track_id": name,
                "audio": f"{name}.wav",
                "lyrics": f"{name}.txt" if has_lyrics else None,
                "genres": ["low-tone" if low else "high-tone"] + (["love"] if love else []),
                "artist": f"artist {number}",
                "language": "en" if has_lyrics else None,
                "split": ("train", "train", "valid", "test")[number // 4 % 4],
            }
        )
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "genres.json").write_text(json.dumps(GENRES))
    return manifest


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def tiny() -> TrainingConfig:
    return TINY


@pytest.fixture(scope="session")
def checkpoint_folder(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from trainer.fit.run import fit  # imports torch

    folder = tmp_path_factory.mktemp("fit") / "checkpoint"
    fit(manifest, TINY, folder, "tones", synthetic=True)
    return folder


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> "Checkpoint":
    from trainer.checkpoint import load_checkpoint  # imports torch

    return load_checkpoint(checkpoint_folder)


@pytest.fixture
def stored_in_s3(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """s3:// URLs refer to the local server, which boto3's own variable names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", environment["COGENRE_S3_ENDPOINT_URL"])
    monkeypatch.delenv("COGENRE_S3_ENDPOINT_URL")
    client.cache_clear()
