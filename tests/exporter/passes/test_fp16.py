"""The fp16 graph: learned products in fp16, and fp32 where the range of fp16 is too small."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from exporter.bundle import FP16_FILE, GRAPH_FILE
from exporter.checks.cases import parity_cases
from exporter.checks.scores import scores_of_graph
from exporter.passes.fp16 import FP32_OPERATORS
from exporter.passes.frontend_nodes import find_frontend_nodes
from schemas.bundle import AudioInput
from tests.exporter.weights import genre_vectors


@pytest.fixture(scope="module")
def graph(bundle_folder: Path) -> onnx.GraphProto:
    onnx.checker.check_model(str(bundle_folder / FP16_FILE))
    return onnx.shape_inference.infer_shapes(onnx.load(bundle_folder / FP16_FILE)).graph


def element_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the element type of each value and weight, by name."""
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def test_inputs_and_outputs_are_fp32(graph: onnx.GraphProto) -> None:
    type_of = element_types(graph)
    assert {type_of[name] for name in ("waveform", "logits", "embedding")} == {TensorProto.FLOAT}


def test_learned_products_and_convolutions_are_fp16(graph: onnx.GraphProto) -> None:
    type_of = element_types(graph)
    frontend = find_frontend_nodes(graph)
    learned = [
        node
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm", "Conv")
        and node.name not in frontend
        and genre_vectors(graph) not in node.input
    ]
    assert len(learned) > 20
    assert {type_of[name] for node in learned for name in node.input} == {TensorProto.FLOAT16}


def test_the_frontend_sums_and_the_logits_are_fp32(graph: onnx.GraphProto) -> None:
    type_of = element_types(graph)
    frontend = find_frontend_nodes(graph)
    assert sum(node.op_type == "MatMul" for node in graph.node if node.name in frontend) == 3
    fp32_nodes = [
        node
        for node in graph.node
        if (node.name in frontend or node.op_type in FP32_OPERATORS or genre_vectors(graph) in node.input)
        # Except the casts to and from fp16.
        and node.op_type != "Cast"
    ]
    fp16_values = [
        (node.name, name)
        for node in fp32_nodes
        for name in (*node.input, *node.output)
        if type_of.get(name) == TensorProto.FLOAT16
    ]
    assert fp16_values == []


def test_probabilities_are_near_those_of_fp32(bundle_folder: Path) -> None:
    audio = AudioInput(sample_rate=8_000, window_seconds=1, windows=2, picking="spread")
    fp32, fp16 = scores_of_graph(bundle_folder / GRAPH_FILE), scores_of_graph(bundle_folder / FP16_FILE)
    worst = max(np.abs(fp32(feed) - fp16(feed)).max() for feed in parity_cases(audio, 40, 38))
    assert 0 < worst < 0.002
