import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.bundle import BundleManifest, LyricsFilter, artefact_sha256, read_bundle, sha256_of
from schemas.errors import BundleError

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete bundle, whose graph and tokenizer are text files."""
    for name in ("model.fp32.onnx", "tokenizer.json"):
        (tmp_path / name).write_text(name)
    manifest = BundleManifest.model_validate(
        {
            "manifest_version": 1,
            "name": "small",
            "version": "1.0",
            "genres": [
                {"slug": "rock", "name": "Rock"},
                {"slug": "metal", "name": "Metal", "parent": "rock"},
            ],
            "thresholds": [0.5, 0.4],
            "correlations": [[1, 0.2], [0.9, 1]],
            "audio": {"sample_rate": 22050, "window_seconds": 10, "windows": 2, "picking": "spread"},
            "lyrics": {"tokenizer": "tokenizer.json", "max_tokens": 64, "buckets": [16, 64]},
            "embedding_width": 8,
            "graphs": {"fp32": "model.fp32.onnx"},
            "files": {name: sha256_of(tmp_path / name) for name in ("model.fp32.onnx", "tokenizer.json")},
            "measurements": [
                {"data_set": "synthetic", "split": "test", "tracks": 10, "metrics": {"f1": 0.8}}
            ],
            "parity": {"max_probability_difference": 1e-6, "cases": 8},
            "made_with": {"torch": "2.11.0"},
        }
    )
    (tmp_path / "bundle.json").write_text(manifest.model_dump_json())
    return tmp_path


def edit(folder: Path, change: Change) -> None:
    manifest = json.loads((folder / "bundle.json").read_text())
    change(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest))


def test_a_complete_bundle_is_read(folder: Path) -> None:
    manifest = read_bundle(folder)
    assert manifest.label == "small:1.0"
    assert manifest.audio.window_samples == 220_500
    assert artefact_sha256(folder) == sha256_of(folder / "bundle.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(manifest_version=2), "manifest version 2; this release reads 1"),
        (lambda m: m.update(thresholds=[0.5]), "1 thresholds for 2 genres"),
        (lambda m: m.update(correlations=[[1, 0.2]]), "correlations are not 2 × 2"),
        (lambda m: m["genres"][1].update(parent="jazz"), "metal's parent jazz is not among the genres"),
        (lambda m: m["genres"][0].update(parent="metal"), "form a cycle: rock → metal → rock"),
        (lambda m: m["genres"][1].update(parent="metal"), "form a cycle: metal → metal"),
        (lambda m: m["genres"][1].update(slug="rock", parent=None), "listed twice"),
        (lambda m: m["lyrics"].update(buckets=[16, 32]), "end with max_tokens"),
        (lambda m: m["files"].pop("tokenizer.json"), "tokenizer.json has no SHA-256"),
        (lambda m: m["files"].update({"../x": "0" * 64}), "own folder"),
        (lambda m: m.pop("name"), "name"),
    ],
)
def test_an_inconsistent_manifest_raises(folder: Path, change: Change, message: str) -> None:
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_a_missing_and_a_changed_file_are_named(folder: Path) -> None:
    (folder / "model.fp32.onnx").write_text("model.fp32.onnX")
    with pytest.raises(BundleError, match="is not the file that was exported"):
        read_bundle(folder)
    (folder / "model.fp32.onnx").unlink()
    with pytest.raises(BundleError, match="lacks model"):
        read_bundle(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_file_that_is_not_a_manifest_raises(folder: Path, content: str) -> None:
    (folder / "bundle.json").write_text(content)
    with pytest.raises(BundleError):
        read_bundle(folder)


def test_a_folder_without_a_manifest_raises(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        read_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("words", "language", "use"),
    [
        ("", "en", "instrumental"),
        ("", "de", "instrumental"),
        ("love me", "en", "too_short"),
        ("love me", "de", "too_short"),
        ("love me tender", "de-AT", "unsupported_language"),
        ("love me tender", "EN-gb", "used"),
        ("love me tender", None, "used"),
    ],
)
def test_lyrics_are_filtered_by_length_and_language(words: str, language: str | None, use: str) -> None:
    assert LyricsFilter(min_words=3, languages=("en",)).lyrics_use(words, language) == use


@pytest.mark.parametrize("language", ["xx", None])
def test_a_filter_without_languages_accepts_all_or_none(language: str | None) -> None:
    assert LyricsFilter(languages=None).lyrics_use("la", language) == "used"
    assert LyricsFilter(languages=()).lyrics_use("la", language) == "unsupported_language"
    assert LyricsFilter(languages=()).lyrics_use("", language) == "unsupported_language"
