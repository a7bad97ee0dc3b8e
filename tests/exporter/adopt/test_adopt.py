"""The bundle of an adopted checkpoint."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from exporter.adopt.bundle import WindowOptions, adopt
from exporter.adopt.parity import MAX_DIFFERENCE, measure_parity
from exporter.adopt.source import load_source
from exporter.adopt.taxonomy import Taxonomy, map_labels
from exporter.adopt.thresholds import fit_thresholds
from exporter.checks.graph_parity import verify
from exporter.cli import main
from exporter.errors import ParityError
from schemas.bundle import INPUTS, OUTPUTS, read_bundle
from tests.audio import encode, tone
from tests.exporter.adopt import checkpoints
from tests.exporter.checks.test_operators import unsupported_operators
from trainer.data.read import read_listed
from trainer.errors import ManifestError
from trainer.evaluation.metrics import best_f1_thresholds
from worker.models.model import open_bundle

GRAPH = "model.fp32.onnx"


def noise(batch: int, samples: int) -> Any:
    return np.random.default_rng(batch).normal(0, 0.1, (batch, samples)).astype(np.float32)


def run_graph(bundle: Path, windows: Any, outputs: Any = OUTPUTS, tokens: int = 1) -> Any:
    session = onnxruntime.InferenceSession(bundle / GRAPH, providers=["CPUExecutionProvider"])
    ids = np.ones((len(windows), tokens), np.int64)
    return session.run(outputs, dict(zip(INPUTS, (windows, ids, ids), strict=True)))


def original_logits(checkpoint: str, windows: Any) -> Any:
    extractor = AutoFeatureExtractor.from_pretrained(checkpoint)
    model = AutoModelForAudioClassification.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        return model(**extractor(list(windows), sampling_rate=16_000, return_tensors="pt")).logits


def test_the_manifest_describes_the_model(adopted: Path) -> None:
    manifest = read_bundle(adopted)
    assert manifest.label == "adopted:1.0.0"
    slugs = [genre.slug for genre in manifest.genres]
    assert slugs[:5] == ["rock", "punk", "electronic", "techno", "swing"]
    assert "speech" not in slugs
    assert {genre.slug: genre.parent for genre in manifest.genres}["techno"] == "electronic"
    assert manifest.thresholds == (0.5,) * len(slugs)
    assert manifest.correlations == tuple(map(tuple, np.eye(len(slugs)).tolist()))
    assert manifest.audio.window_samples == 164_080
    assert manifest.lyrics.languages == ()
    assert manifest.embedding_width == 16
    assert manifest.parity.max_probability_difference < MAX_DIFFERENCE
    product = manifest.product_parity["fp32"]
    assert product.max_probability_difference < MAX_DIFFERENCE
    assert (product.files, product.providers) == (12, ("cpu",))
    assert manifest.weights is not None
    assert manifest.weights.model_dump() == {
        "source": "little-ast",
        "licence": "cc-by-nc-4.0",
        "commercial_use": False,
    }


def test_the_card_states_that_the_licence_forbids_commercial_use(adopted: Path) -> None:
    card = (adopted / "README.md").read_text()
    assert "**cc-by-nc-4.0: forbids commercial use.**" in card
    assert "Not measured" in card
    assert "From file to labels, fp32 is within" in card
    assert "| Techno | `techno` | `electronic` | 0.500 |" in card


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_logits_equal_the_checkpoints_and_a_parent_has_the_maximum_of_its_children(
    adopted: Path, ast_folder: str, batch: int
) -> None:
    windows = noise(batch, 164_080)
    logits, embedding = run_graph(adopted, windows, tokens=batch)
    expected = original_logits(ast_folder, windows).numpy()
    genres = [genre.slug for genre in read_bundle(adopted).genres]
    raw = dict(zip(checkpoints.LABELS, expected.T, strict=True))
    actual = dict(zip(genres, logits.T, strict=True))
    np.testing.assert_allclose(actual["techno"], raw["Electronic---Techno"], atol=1e-3)
    np.testing.assert_allclose(actual["swing"], raw["Jazz"], atol=1e-3)
    rock = np.maximum(raw["Rock---Punk"], raw["Rock---Experimental"])
    np.testing.assert_allclose(actual["rock"], rock, atol=1e-3)
    assert embedding.shape == (batch, 16)
    head = AutoModelForAudioClassification.from_pretrained(ast_folder).get_submodule("classifier")
    with torch.no_grad():
        np.testing.assert_allclose(head(torch.from_numpy(embedding)).numpy(), expected, atol=1e-3)


def test_a_checkpoint_with_a_softmax_is_adopted(ast_folder: str, tmp_path: Path) -> None:
    source = load_source(ast_folder, "softmax", None)
    tracks = write_tracks(tmp_path, splits=False)
    manifest = adopt(source, tmp_path / "out", "one", "1", Taxonomy(), WindowOptions(windows=1), tracks)
    assert [one.tracks for one in manifest.measurements] == [4]
    assert manifest.parity.cases == 5 + 4
    assert set(manifest.thresholds) > {0.5}
    assert f"| {tmp_path.name}, all | 4 |" in (tmp_path / "out" / "README.md").read_text()
    windows = noise(2, 164_080)
    logits, _ = run_graph(tmp_path / "out", windows)
    expected = original_logits(ast_folder, windows).softmax(-1).numpy()
    genres = [genre.slug for genre in read_bundle(tmp_path / "out").genres]
    actual = dict(zip(genres, (1 / (1 + np.exp(-logits))).T, strict=True))
    for slug, label in (("techno", "Electronic---Techno"), ("jazz", "Jazz"), ("speech", "Speech")):
        np.testing.assert_allclose(actual[slug], expected[:, checkpoints.LABELS.index(label)], atol=1e-3)
    assert not unsupported_operators(tmp_path / "out" / GRAPH)


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper", "wav2vec2, masked"])
def test_other_feature_extractors_are_adopted(kind: str, tmp_path: Path) -> None:
    make: Callable[[Path], str] = {
        "whisper": checkpoints.whisper,
        "wav2vec2": lambda folder: checkpoints.wav2vec2(folder, masked=False),
        "wav2vec2, masked": lambda folder: checkpoints.wav2vec2(folder, masked=True),
    }[kind]
    source = load_source(make(tmp_path / "hub"), None, None)
    window_options = WindowOptions(seconds=None if kind == "whisper" else 2.0)
    manifest = adopt(source, tmp_path / "out", "other", "1", Taxonomy(), window_options)
    assert manifest.parity.max_probability_difference < MAX_DIFFERENCE
    assert not unsupported_operators(tmp_path / "out" / GRAPH)


def test_parity_detects_another_network(adopted: Path, ast_folder: str) -> None:
    source = load_source(ast_folder, None, None)
    mapping = map_labels(source.labels, Taxonomy(drop=("Speech",), rename={"Jazz": "Swing"}))
    audio = read_bundle(adopted).audio
    assert measure_parity(source, mapping, audio, adopted / GRAPH).cases == 5
    with torch.no_grad():
        for weight in source.model.get_submodule("classifier").parameters():
            weight.mul_(1.5)
    with pytest.raises(ParityError, match="cannot be adopted"):
        measure_parity(source, mapping, audio, adopted / GRAPH)


def test_verify_accepts_an_adopted_bundle(adopted: Path) -> None:
    assert verify(adopted)["fp32"].max_probability_difference == 0


def test_lyrics_do_not_change_the_scores(adopted: Path) -> None:
    model = open_bundle(adopted)
    encoded = encode(tone(3), 22_050)
    without_lyrics, with_lyrics = (
        model.classify(encoded, None),
        model.classify(encoded, "love me tender " * 20),
    )
    assert (without_lyrics.lyrics, with_lyrics.lyrics) == ("absent", "unsupported_language")
    np.testing.assert_array_equal(without_lyrics.prediction.scores, with_lyrics.prediction.scores)


def write_tracks(folder: Path, splits: bool) -> Path:
    rows = []
    for number, hertz in enumerate((110, 220, 440, 880)):
        (folder / f"{number}.flac").write_bytes(encode(tone(3, hertz=hertz), 22_050))
        split = {"split": "valid" if number < 2 else "test"} if splits else {}
        genre = ["techno"] if number % 2 else ["rock"]
        rows.append(
            {
                "track_id": str(number),
                "audio": f"{number}.flac",
                "lyrics": "",
                "genres": genre,
                "artist": str(number),
                "language": "",
                **split,
            }
        )
    manifest = folder / "tracks.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.mark.parametrize(("splits", "tracks", "split"), [(True, 2, "valid"), (False, 4, "all")])
def test_thresholds_are_fitted_on_the_validation_split_or_all_tracks(
    adopted: Path, tmp_path: Path, splits: bool, tracks: int, split: str
) -> None:
    manifest = read_bundle(adopted)
    found = fit_thresholds(
        read_listed(write_tracks(tmp_path, splits), manifest.genres), manifest.audio, adopted / GRAPH
    )
    assert (found.measurement.tracks, found.measurement.split) == (tracks, split)
    column = [genre.slug for genre in manifest.genres].index("techno")
    model = open_bundle(adopted)
    scores = [
        float(model.classify((tmp_path / f"{number}.flac").read_bytes(), None).prediction.scores[column])
        for number in range(tracks)
    ]
    expected = best_f1_thresholds(
        torch.tensor(scores)[:, None], torch.tensor([float(number % 2) for number in range(tracks)])[:, None]
    )
    assert found.thresholds[column] == pytest.approx(float(expected[0]), abs=1e-4)
    # No track has punk.
    assert found.thresholds[1] == 0.5


def test_tracks_that_cannot_be_read_are_left_out(adopted: Path, tmp_path: Path) -> None:
    tracks = write_tracks(tmp_path, splits=True)
    (tmp_path / "0.flac").write_bytes(b"no sound")
    manifest = read_bundle(adopted)
    with pytest.raises(ManifestError, match="1 of 2 tracks to fit thresholds on can be read"):
        fit_thresholds(read_listed(tracks, manifest.genres), manifest.audio, adopted / GRAPH)


LABEL = ("--name", "adopted", "--version", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{empty}", "out", *LABEL), "cannot be loaded"),
        (("{ast}", "out", "--name", "No Name", "--version", "1"), "name 'No Name' is not valid"),
        (("{ast}", "{ast}", *LABEL), "exists"),
        (("{ast}", "out", *LABEL, "--taxonomy", "none.toml"), "cannot read none.toml"),
        (("{ast}", "out", *LABEL, "--valid", "none.jsonl"), "cannot read none.jsonl"),
    ],
)
def test_an_error_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    ast_folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    filled = [part.format(ast=ast_folder, empty=tmp_path / "empty") for part in arguments]
    monkeypatch.setattr(sys, "argv", ["cogenre-export", "adopt", *filled])
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("cogenre-export: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
