"""The int8 graph: what is quantised, what is not, and that the worker runs it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from exporter.bundle import GRAPH_FILE, INT8_FILE
from exporter.checks.cases import parity_cases
from exporter.checks.scores import scores_of_graph
from schemas.bundle import AudioInput, read_bundle
from worker.models.model import Model, ModelInput
from worker.settings import ModelSettings


@pytest.fixture(scope="module")
def graph(bundle_folder: Path) -> onnx.GraphProto:
    return onnx.load(bundle_folder / INT8_FILE).graph


def test_every_learned_product_is_quantized(graph: onnx.GraphProto) -> None:
    learned = {tensor.name for tensor in graph.initializer if tensor.name.startswith("val_")}
    float_products = [node for node in graph.node if node.op_type == "MatMul"]
    assert not [node.name for node in float_products if node.input[1] in learned]
    # Six in the lyrics encoder, one for each projection to tokens, three in each of the two attentions.
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 6 + 2 + 6


def test_weights_have_seven_bits_and_a_scale_per_channel(graph: onnx.GraphProto) -> None:
    weights = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("_quantized")]
    assert weights
    assert all(weight.dtype == np.int8 and np.abs(weight).max() <= 64 for weight in weights)
    scales = [t for t in graph.initializer if t.name.startswith("val_") and t.name.endswith("_scale")]
    assert scales
    assert all(np.prod(tensor.dims) > 1 for tensor in scales)


def test_the_frontend_and_the_logits_stay_fp32(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    assert {f"network.frontend.mel.{name}" for name in ("inner", "outer", "mel")} <= weights
    (last,) = (node for node in graph.node if "logits" in node.output)
    assert last.op_type == "MatMul"
    assert last.input[0] == "embedding"


def test_probabilities_are_near_those_of_fp32(bundle_folder: Path) -> None:
    audio = AudioInput(sample_rate=8_000, window_seconds=1, windows=2, picking="spread")
    fp32, int8 = scores_of_graph(bundle_folder / GRAPH_FILE), scores_of_graph(bundle_folder / INT8_FILE)
    worst = max(np.abs(fp32(feed) - int8(feed)).max() for feed in parity_cases(audio, 40, 38))
    assert 0 < worst < 0.01


def test_the_worker_runs_the_int8_graph(bundle_folder: Path) -> None:
    model = Model(ModelSettings(bundle=bundle_folder, precision="int8"))
    windows = np.random.default_rng(0).normal(0, 0.1, (2, 8_000)).astype(np.float32)
    track = ModelInput(windows, tuple(model.encode_lyrics("love me tonight", None)[0]))
    (int8,) = model.predict([track])
    (fp32,) = Model(ModelSettings(bundle=bundle_folder)).predict([track])
    assert model.precision == "int8"
    assert not np.array_equal(int8.scores, fp32.scores)
    np.testing.assert_allclose(int8.scores, fp32.scores, atol=0.01)


def test_the_card_states_the_cost(bundle_folder: Path) -> None:
    cost = read_bundle(bundle_folder).precision_cost["int8"]
    assert (cost.data_set, cost.inputs, cost.map_loss) == ("noise", 91, None)
    card = (bundle_folder / "README.md").read_text()
    assert "Its int8 graph changes 0.00% of the label decisions (noise, 91)." in card
