"""`cogenre classify` and the trainer's pipeline give equal results; a bundle where they differ is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from exporter.checks.cases import Feed
from exporter.checks.product_parity import measure_product_parity
from exporter.checks.scores import Scores, scores_of_graph, scores_of_network
from exporter.errors import ParityError
from schemas.bundle import BundleManifest, read_bundle
from trainer.checkpoint import Checkpoint


@pytest.fixture
def copy(bundle_folder: Path, tmp_path: Path) -> Path:
    """Copy of the bundle with only its fp32 graph, so that the check runs one process."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    edit(folder, graphs={"fp32": "model.fp32.onnx"})
    return folder


def edit(folder: Path, **changes: Any) -> BundleManifest:
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(manifest | changes))
    return read_bundle(folder)


def test_the_results_agree_for_all_batches_and_lyrics(copy: Path, checkpoint: Checkpoint) -> None:
    manifest = read_bundle(copy)
    batches: list[int] = []
    tokens: list[int] = []
    network = scores_of_network(checkpoint.network)

    def reference(feed: Feed) -> Any:
        batches.append(len(feed["waveform"]))
        tokens.append(int(feed["lyrics_mask"][0].sum()))
        return network(feed)

    found = measure_product_parity(copy, manifest, "the checkpoint", reference)
    assert found.keys() == {"fp32"}
    assert found["fp32"].max_probability_difference <= 1e-4
    assert found["fp32"].files == len(batches) + 1  # both refuse the silent file
    assert {1, 2, 3, 7, 16} <= set(batches)
    assert {0, manifest.lyrics.max_tokens} < set(tokens)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="onnxruntime-gpu is installed"
)
def test_a_provider_that_does_not_run_here_is_not_listed(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("exporter.checks.product_parity.onnxruntime.get_available_providers", lambda: listed)
    monkeypatch.setenv("COGENRE_CPU_FALLBACK", "true")
    reference = scores_of_graph(copy / "model.fp32.onnx")
    found = measure_product_parity(copy, read_bundle(copy), "the fp32 graph", reference)
    assert found["fp32"].providers == ("cpu",)


def shifted(scores: Scores, by: float) -> Scores:
    return lambda feed: scores(feed) + by


def test_scores_that_differ_fail(copy: Path, checkpoint: Checkpoint) -> None:
    reference = shifted(scores_of_network(checkpoint.network), 2e-4)
    with pytest.raises(ParityError, match=r"0.flac with fp32 on cpu: .* differ by 0.0002") as raised:
        measure_product_parity(copy, read_bundle(copy), "the checkpoint", reference)
    assert "\n" not in str(raised.value)


def test_other_windows_than_the_trainers_fail(copy: Path) -> None:
    reference = scores_of_graph(copy / "model.fp32.onnx")
    manifest = read_bundle(copy)
    edit(copy, audio=manifest.audio.model_dump() | {"sample_rate": 7_000, "window_seconds": 8 / 7})
    with pytest.raises(ParityError, match="differ by"):
        measure_product_parity(copy, manifest, "the fp32 graph", reference)


def test_other_thresholds_than_the_trainers_fail(copy: Path) -> None:
    reference = scores_of_graph(copy / "model.fp32.onnx")
    manifest = read_bundle(copy)
    edit(copy, thresholds=[0, 0, 0])
    with pytest.raises(ParityError, match="differ in the label"):
        measure_product_parity(copy, manifest, "the fp32 graph", reference)


def test_a_worker_that_does_not_start_fails(copy: Path) -> None:
    reference = scores_of_graph(copy / "model.fp32.onnx")
    manifest = read_bundle(copy)
    (copy / "model.fp32.onnx").unlink()
    with pytest.raises(ParityError, match=r"does not run fp32 on cpu: .*lacks model.fp32.onnx"):
        measure_product_parity(copy, manifest, "the fp32 graph", reference)


def test_decisions_on_a_thousand_windows_equal_the_networks(
    bundle_folder: Path, checkpoint: Checkpoint
) -> None:
    chance = np.random.default_rng(7)
    network = scores_of_network(checkpoint.network)
    graph = scores_of_graph(bundle_folder / "model.fp32.onnx")
    before, after = [], []
    for _ in range(63):
        loudness = 10 ** -chance.uniform(0, 3, (16, 1))
        ids = chance.integers(5, 38, (16, 40))
        feed: Feed = {
            "waveform": (loudness * chance.uniform(-1, 1, (16, 8_000))).astype(np.float32),
            "lyrics_ids": ids,
            "lyrics_mask": (np.arange(40) < chance.integers(0, 41, (16, 1))).astype(np.int64),
        }
        before.append(network(feed))
        after.append(graph(feed))
    expected, served = np.concatenate(before), np.concatenate(after)
    assert len(expected) == 1_008
    # Thresholds at the median, so that half of the windows are on each side.
    thresholds = np.median(expected, axis=0)
    near = np.abs(expected - thresholds) <= 1e-4
    assert near.mean() < 0.05
    assert np.array_equal((expected >= thresholds) | near, (served >= thresholds) | near)
