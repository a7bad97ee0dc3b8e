"""Features equal the inputs of the worker, unusable files are left out, and results are cached."""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from media.decode import decode_windows
from media.decoders import DecoderPool
from media.tokens import LyricsTokenizer, pad_tokens
from storage.errors import OutputError
from trainer.checkpoint import Checkpoint, load_checkpoint
from trainer.data.library import Library
from trainer.data.read import read_library
from trainer.data.splits import artist_digest
from trainer.data.track import Track
from trainer.errors import ManifestError
from trainer.evaluation.predict import predict
from trainer.features.cache import Cache
from trainer.features.extract import Extractor, decoder_pool, report_left_out
from trainer.features.features import Features, Windows
from trainer.network.network import Network, Output


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with decoder_pool() as pool:
        yield pool


def extract_test(manifest: Path, checkpoint: Checkpoint, folder: Path) -> Features:
    with decoder_pool() as decoders:
        extractor = Extractor.for_network(
            checkpoint.network, checkpoint.tokenizer, Cache(folder / "cache"), decoders
        )
        return extractor.extract(read_library(manifest), "test", Path(mkdtemp(dir=folder)))


def test_features_equal_the_inputs_of_the_worker(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    network, tokenizer = checkpoint.network, checkpoint.tokenizer
    features = extract_test(manifest, checkpoint, tmp_path)
    library = read_library(manifest)
    windows = iter(Windows(features))
    for track in library.in_split("test"):
        clip = decode_windows((manifest.parent / track.audio).read_bytes(), network.config.audio)
        rows = [tokenizer.encode(library.load_lyrics(track))]
        ids, mask = map(torch.from_numpy, pad_tokens(rows, network.config.max_tokens))
        for waveform in torch.from_numpy(clip.windows):
            with torch.no_grad():
                expected, _ = network(waveform[None], ids, mask)
                log_mel, hidden, kept_mask, labels = (part[None] for part in next(windows))
                output = network.classify(log_mel, hidden, kept_mask, network.genre_vectors())
            # The tolerance of features in half precision.
            torch.testing.assert_close(output.logits, expected, atol=2e-2, rtol=1e-2)
            assert torch.equal(labels, library.labels([track]))


def test_track_rows_and_masks(manifest: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    features = extract_test(manifest, checkpoint, tmp_path)
    tracks = read_library(manifest).in_split("test")
    # Tracks last one, two or three seconds; at most two windows of one second are used.
    expected = [min(2, 1 + int(track.track_id.removeprefix("track-")) % 3) for track in tracks]
    assert np.bincount(features.track_row).tolist() == expected
    assert features.mask.any(1).tolist() == [track.lyrics is not None for track in tracks]


def test_unusable_files_are_logged_and_left_out(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / manifest.name
    first, second, third, *_ = read_library(copy).in_split("test")
    (copy.parent / first.audio).write_bytes(b"no audio at all")
    (copy.parent / second.audio).unlink()
    assert third.lyrics is not None
    (copy.parent / third.lyrics).write_bytes(b"\xff\x00\xff")
    with caplog.at_level(logging.WARNING):
        features = extract_test(copy, checkpoint, tmp_path)
    assert len(features) == 9
    assert len(features.labels) == len(features.mask) == len(set(features.track_row.tolist())) == 9
    for track in (first, second, third):
        assert f"track {track.track_id} is left out" in caplog.text
    report_left_out([features])
    assert "left out 3 of 12 tracks: 1 UnsupportedAudio, 1 UnreadableFile, 1 UnreadableLyrics" in caplog.text


def test_a_split_without_usable_files_ends_the_run(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    for file in (tmp_path / "copy").glob("*.wav"):
        file.write_bytes(b"no audio at all")
    with pytest.raises(ManifestError, match="split test: fewer than two of 12"):
        extract_test(tmp_path / "copy" / manifest.name, checkpoint, tmp_path)


def test_the_tokenizer_of_a_checkpoint_is_the_workers(checkpoint: Checkpoint) -> None:
    assert isinstance(checkpoint.tokenizer, LyricsTokenizer)
    assert checkpoint.tokenizer.encode("") == []
    assert len(checkpoint.tokenizer.encode("love " * 100)) == checkpoint.network.config.max_tokens


def test_a_second_run_uses_the_cache_only(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_work(checkpoint, monkeypatch)
    first = extract_test(manifest, checkpoint, tmp_path)
    assert calls == {"decoded": 12, "frontend": 12, "encoder": 1}
    calls.clear()
    (tmp_path / "again").mkdir()
    (tmp_path / "cache").rename(tmp_path / "again" / "cache")
    second = extract_test(manifest, checkpoint, tmp_path / "again")
    assert not calls
    for name in ("log_mels", "track_row", "lyrics", "mask", "labels"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.digests == second.digests


def test_only_changed_files_are_computed_again(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(manifest.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / manifest.name
    extract_test(copy, checkpoint, tmp_path)
    calls = count_work(checkpoint, monkeypatch)
    first, second, *_ = read_library(copy).in_split("test")
    shutil.copy(manifest.parent / "track-0.wav", copy.parent / first.audio)
    (copy.parent / second.audio).rename(copy.parent / "renamed.wav")
    copy.write_text(copy.read_text().replace(second.audio, "renamed.wav"))
    extract_test(copy, checkpoint, tmp_path)
    assert calls == {"decoded": 1, "frontend": 1}
    calls.clear()
    assert second.lyrics is not None
    (copy.parent / second.lyrics).write_text("other words")
    extract_test(copy, checkpoint, tmp_path)
    assert calls == {"encoder": 1}


def test_cache_keys_depend_on_configuration_and_encoder(
    checkpoint: Checkpoint, decoders: DecoderPool, checkpoint_folder: Path, tmp_path: Path
) -> None:
    def extractor(network: Network) -> Extractor:
        return Extractor.for_network(network, checkpoint.tokenizer, Cache(tmp_path), decoders)

    first = extractor(checkpoint.network)
    other = load_checkpoint(checkpoint_folder).network
    same = extractor(other)
    assert (same.frontend_key, same.encoder_key) == (first.frontend_key, first.encoder_key)
    other.config = other.config.model_copy(update={"mels": 64})
    with torch.no_grad():
        next(other.lyrics_encoder.parameters()).add_(1)
    changed = extractor(other)
    assert changed.frontend_key != first.frontend_key
    assert changed.encoder_key != first.encoder_key


def count_work(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return a counter of decoded clips, calls of the frontend and calls of the lyrics encoder."""
    calls = Counter[str]()

    decode = DecoderPool.decode

    def decoded(*arguments: Any) -> Any:
        calls["decoded"] += 1
        return decode(*arguments)

    monkeypatch.setattr(DecoderPool, "decode", decoded)
    network = checkpoint.network
    frontend, encode_lyrics = network.frontend.forward, network.encode_lyrics

    def count_frontend(*arguments: Any) -> Any:
        calls["frontend"] += 1
        return frontend(*arguments)

    def count_encoder(*arguments: Any) -> Any:
        calls["encoder"] += 1
        return encode_lyrics(*arguments)

    monkeypatch.setattr(network.frontend, "forward", count_frontend)
    monkeypatch.setattr(network, "encode_lyrics", count_encoder)
    return calls


@pytest.mark.usefixtures("stored_in_s3")
def test_an_object_is_fetched_again_only_when_it_has_changed(
    manifest: Path,
    checkpoint: Checkpoint,
    decoders: DecoderPool,
    tmp_path: Path,
    s3: Any,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = read_library(manifest)
    tracks = []
    for track in library.in_split("test"):
        s3.upload_file(str(manifest.parent / track.audio), bucket, f"train/{track.audio}")
        tracks.append(track.model_copy(update={"audio": f"s3://{bucket}/train/{track.audio}"}))
    stored = Library(library.folder, library.genres, tuple(tracks))
    cache = Cache(tmp_path / "cache")
    extractor = Extractor.for_network(checkpoint.network, checkpoint.tokenizer, cache, decoders)
    first = extractor.extract(stored, "test", Path(mkdtemp(dir=tmp_path)))
    fetched: list[str] = []
    load_audio = Library.load_audio

    def fetch(library: Library, track: Track) -> bytes:
        fetched.append(track.track_id)
        return load_audio(library, track)

    monkeypatch.setattr(Library, "load_audio", fetch)
    assert extractor.extract(stored, "test", Path(mkdtemp(dir=tmp_path))).digests == first.digests
    assert not fetched
    changed = tracks[1]
    s3.upload_file(str(manifest.parent / "track-0.wav"), bucket, changed.audio.split("/", 3)[3])
    extractor.extract(stored, "test", Path(mkdtemp(dir=tmp_path)))
    assert fetched == [changed.track_id]


def test_lyrics_in_another_language_are_ignored(
    manifest: Path, checkpoint_folder: Path, decoders: DecoderPool, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(checkpoint_folder)
    network = checkpoint.network
    network.config = network.config.model_copy(update={"languages": ("de",)})
    library = read_library(manifest)
    german = [
        track.model_copy(update={"language": language})
        for track, language in zip(library.in_split("test"), ["de-AT", "en", None] * 4, strict=True)
    ]
    listed = Library(library.folder, library.genres, tuple(german))
    extractor = Extractor.for_network(network, checkpoint.tokenizer, Cache(tmp_path / "cache"), decoders)
    read = extractor.extract(listed, "test", tmp_path).mask.any(1)
    has = [track.lyrics is not None and track.language != "en" for track in german]
    assert read.tolist() == has


def test_tracks_of_excluded_artists_are_left_out_if_splits_are_assigned(
    manifest: Path, checkpoint: Checkpoint, decoders: DecoderPool, tmp_path: Path
) -> None:
    """They are kept if the manifest lists the splits."""
    listed = read_library(manifest)
    known = artist_digest(listed.in_split("test")[0])
    assert known is not None
    extractor = Extractor.for_network(
        checkpoint.network, checkpoint.tokenizer, Cache(tmp_path / "cache"), decoders
    )
    found = [
        extractor.extract(library, "test", Path(mkdtemp(dir=tmp_path)), {known}).left_out
        for library in (listed, replace(listed, assigned=True))
    ]
    assert found == [(), ("UsedInTraining",)]


def test_a_cache_that_cannot_be_written_raises_one_line(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write to the cache .*--cache"):
        extract_test(manifest, checkpoint, tmp_path)


def test_features_of_another_encoder_are_refused(
    manifest: Path, checkpoint: Checkpoint, checkpoint_folder: Path, decoders: DecoderPool, tmp_path: Path
) -> None:
    library, cache = read_library(manifest), Cache(tmp_path / "cache")
    Extractor.for_network(checkpoint.network, checkpoint.tokenizer, cache, decoders).extract(
        library, "test", tmp_path
    )
    other = load_checkpoint(checkpoint_folder)
    with torch.no_grad():
        next(other.network.lyrics_encoder.parameters()).add_(1)
    with pytest.raises(OutputError, match=r"another release or for another encoder: remove it"):
        Extractor.for_network(other.network, other.tokenizer, cache, decoders).extract(
            library, "test", tmp_path
        )


def test_prediction_halves_its_batch_when_memory_is_short(
    manifest: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = checkpoint.network
    features = extract_test(manifest, checkpoint, tmp_path)
    expected = predict(network, features)
    classify = network.classify

    def classify_at_most(log_mel: Tensor, *rest: Tensor) -> Output:
        if len(log_mel) > max_windows:
            raise torch.OutOfMemoryError
        return classify(log_mel, *rest)

    monkeypatch.setattr(network, "classify", classify_at_most)
    max_windows = 5
    torch.testing.assert_close(predict(network, features), expected)
    max_windows = 0
    with pytest.raises(torch.OutOfMemoryError):
        predict(network, features)
