"""The bundle: the worker loads it, and it is written completely or not at all."""

from pathlib import Path

import pytest

from exporter.buckets import token_buckets
from exporter.bundle import write_bundle
from exporter.checks.graph_parity import MAX_DIFFERENCE
from exporter.errors import BundleNameError, ParityError
from media.tokens import LyricsTokenizer
from schemas.bundle import read_bundle
from storage.errors import OutputError
from tests.exporter.conftest import CONFIG, write_checkpoint
from trainer.checkpoint import Checkpoint, load_checkpoint
from worker.models.model import Model
from worker.settings import ModelSettings


def test_the_manifest_has_the_checkpoints_description(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    manifest = read_bundle(bundle_folder)
    description = checkpoint.description
    assert manifest.label == "tiny:1.0.0"
    assert manifest.genres == description.genres
    assert manifest.thresholds == description.thresholds
    assert manifest.correlations == description.correlations
    assert manifest.measurements == description.measurements
    assert manifest.audio == description.config.network.audio
    assert manifest.embedding_width == 16
    assert manifest.lyrics.buckets == (16, 32, 40)
    assert manifest.parity.max_probability_difference <= MAX_DIFFERENCE
    assert manifest.parity.cases == 23
    assert manifest.made_with["torch"]
    assert manifest.graphs == {
        "fp32": "model.fp32.onnx",
        "fp16": "model.fp16.onnx",
        "int8": "model.int8.onnx",
    }
    assert manifest.precision_cost.keys() == {"fp16", "int8"}
    assert manifest.product_parity.keys() == manifest.graphs.keys()
    assert manifest.product_parity["fp32"].max_probability_difference <= MAX_DIFFERENCE
    assert manifest.product_parity["fp32"].providers == ("cpu",)


def test_the_bundle_of_an_audio_only_network_uses_no_lyrics(tmp_path: Path) -> None:
    parts = {"lyrics": False, "contrastive": False, "cross_attention": False}
    config = CONFIG.model_copy(update={"network": CONFIG.network.model_copy(update=parts)})
    folder = write_checkpoint(tmp_path / "checkpoint", synthetic=True, config=config)
    manifest = write_bundle(load_checkpoint(folder), tmp_path / "bundle", "tiny", "1")
    assert manifest.lyrics.languages == ()
    assert Model(ModelSettings(bundle=tmp_path / "bundle")).encode_lyrics("love me tonight", None)[0] == ()


def test_every_file_is_in_the_manifest(bundle_folder: Path) -> None:
    files = {path.name for path in bundle_folder.iterdir()}
    assert files == {"bundle.json", *read_bundle(bundle_folder).files}
    assert "README.md" in files


def test_the_tokenizer_is_the_checkpoints(bundle_folder: Path, checkpoint: Checkpoint) -> None:
    tokenizer = LyricsTokenizer(bundle_folder / "tokenizer.json", 40)
    assert tokenizer.encode("love me tonight") == checkpoint.tokenizer.encode("love me tonight")


@pytest.mark.parametrize(
    ("limit", "buckets"), [(8, (8,)), (16, (16,)), (64, (16, 32, 64)), (100, (16, 32, 64, 100))]
)
def test_buckets_double_up_to_the_limit(limit: int, buckets: tuple[int, ...]) -> None:
    assert token_buckets(limit) == buckets


@pytest.mark.parametrize(
    ("name", "version"),
    [("Tiny", "1"), ("tiny model", "1"), ("", "1"), ("tiny", ""), ("tiny", "1 0"), ("t", "/")],
)
def test_invalid_names_and_versions_are_refused(
    checkpoint: Checkpoint, tmp_path: Path, name: str, version: str
) -> None:
    with pytest.raises(BundleNameError, match="is not valid"):
        write_bundle(checkpoint, tmp_path / "out", name, version)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_touched(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists"):
        write_bundle(checkpoint, tmp_path, "tiny", "1")


def test_no_bundle_is_written_if_the_graph_differs(
    checkpoint: Checkpoint, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_wrongly(_: object, file: Path) -> None:
        file.write_bytes((bundle_folder / "model.fp32.onnx").read_bytes())

    monkeypatch.setattr("exporter.bundle.export_graph", export_wrongly)
    checkpoint.network.fuse.weight.data *= 1.2
    with pytest.raises(ParityError):
        write_bundle(checkpoint, tmp_path / "out", "tiny", "1")
    assert not list(tmp_path.iterdir())
