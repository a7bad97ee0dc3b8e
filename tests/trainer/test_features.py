"""What is computed once a track: the same inputs as the worker's, and bad files left out."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from media.decode import decode_windows
from media.tokens import LyricsTokenizer
from trainer.checkpoint import Checkpoint
from trainer.data import read_library
from trainer.errors import ManifestError
from trainer.features import Features, RandomWindows, Windows, extract, pad_tokens, report_left_out


def extract_test(manifest: Path, checkpoint: Checkpoint, folder: Path) -> Features:
    return extract(read_library(manifest), "test", checkpoint.network, checkpoint.tokenizer, folder)


def test_features_are_what_the_network_gets_when_served(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    features = extract_test(manifest, checkpoint, tmp_path)
    library = read_library(manifest)
    windows = iter(Windows(features))
    for track in library.of("test"):
        clip = decode_windows((manifest.parent / track.audio).read_bytes(), network.config.audio)
        ids, mask = pad_tokens([tokenizer.encode(library.lyrics(track))], network.config.max_tokens)
        for waveform in torch.from_numpy(clip.windows):
            with torch.no_grad():
                expected, _ = network(waveform[None], ids, mask)
                log_mel, hidden, kept_mask, labels = (part[None] for part in next(windows))
                output = network.classify(log_mel, hidden, kept_mask, network.genre_vectors())
            # Half precision.
            torch.testing.assert_close(output.logits, expected, atol=2e-2, rtol=1e-2)
            assert torch.equal(labels, library.labels([track]))


def test_owners_and_masks(manifest: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    features = extract_test(manifest, checkpoint, tmp_path)
    tracks = read_library(manifest).of("test")
    # Tracks last one, two or three seconds; at most two windows of one second are heard.
    expected = [min(2, 1 + int(track.track_id.removeprefix("track-")) % 3) for track in tracks]
    assert np.bincount(features.owners).tolist() == expected
    assert features.mask.any(1).tolist() == [track.lyrics is not None for track in tracks]


def test_one_window_of_each_track_another_each_time(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    features = extract_test(manifest, checkpoint, tmp_path)
    examples = RandomWindows(features)
    assert len(examples) == len(features) == 12
    torch.manual_seed(0)
    for track in range(12):
        own = [
            torch.from_numpy(mel.astype(np.float32)) for mel in features.log_mels[features.owners == track]
        ]
        drawn = [examples[track][0] for _ in range(20)]
        assert all(any(torch.equal(mel, one) for one in own) for mel in drawn)
        assert all(any(torch.equal(mel, one) for mel in drawn) for one in own)


def test_bad_files_are_reported_and_left_out(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / manifest.name
    first, second, third, *_ = read_library(copy).of("test")
    (copy.parent / first.audio).write_bytes(b"no audio at all")
    (copy.parent / second.audio).unlink()
    assert third.lyrics is not None
    (copy.parent / third.lyrics).write_bytes(b"\xff\x00\xff")
    with caplog.at_level(logging.WARNING):
        features = extract_test(copy, checkpoint, tmp_path)
    assert len(features) == 9
    assert len(features.labels) == len(features.mask) == len(set(features.owners.tolist())) == 9
    for track in (first, second, third):
        assert f"track {track.track_id} is left out" in caplog.text
    report_left_out([features])
    assert "left out 3 of 12 tracks: 1 UnsupportedAudio, 1 UnreadableFile, 1 UnreadableLyrics" in caplog.text


def test_nothing_readable_ends_the_run(manifest: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    for file in (tmp_path / "copy").glob("*.wav"):
        file.write_bytes(b"no audio at all")
    with pytest.raises(ManifestError, match="split test: fewer than two of 12"):
        extract_test(tmp_path / "copy" / manifest.name, checkpoint, tmp_path)


def test_the_tokenizer_of_a_checkpoint_is_the_workers(checkpoint: Checkpoint) -> None:
    assert isinstance(checkpoint.tokenizer, LyricsTokenizer)
    assert checkpoint.tokenizer.encode("") == []
    assert len(checkpoint.tokenizer.encode("love " * 100)) == checkpoint.network.config.max_tokens
