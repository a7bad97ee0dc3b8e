"""Operators without effect are removed from the graph, and the results are unchanged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from exporter.graph import write_graph
from schemas.bundle import INPUTS

SAMPLES, TOKENS = 64, 8


class FunctionModule(nn.Module):
    """A module with a bundle's inputs and outputs that computes one function of (batch, 4, 16)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, waveform: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        result = self.function(waveform.unflatten(1, (4, 16))).flatten(1)
        return result, result + ids.sum() + mask.sum()


def attention(x: Tensor) -> Tensor:
    seen = x[:, None, :1, :4] < 10
    parts = x.unflatten(-1, (2, 8)).transpose(1, 2)
    return F.scaled_dot_product_attention(parts, parts, parts, attn_mask=seen)


@pytest.mark.parametrize(("function", "removed"), [(attention, {"IsNaN", "Where"}), (F.gelu, set[str]())])
def test_the_results_are_unchanged(
    function: Callable[[Tensor], Tensor], removed: set[str], tmp_path: Path
) -> None:
    graph = tmp_path / "graph.onnx"
    module = FunctionModule(function).eval()
    write_graph(module, SAMPLES, TOKENS, graph)
    ids = np.ones((3, 5), np.int64)
    waveform = np.random.default_rng(0).normal(size=(3, SAMPLES)).astype(np.float32)
    feed = dict(zip(INPUTS, (waveform, ids, ids), strict=True))
    found = onnxruntime.InferenceSession(graph).run(["logits"], feed)[0]
    expected, _ = module(torch.from_numpy(waveform), torch.from_numpy(ids), torch.from_numpy(ids))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
    nodes = onnx.load(graph).graph.node
    # One Where remains: it makes the mask.
    assert sum(node.op_type in removed for node in nodes) <= (1 if removed else 0)


def test_onnx_runtime_fuses_the_gelu(tmp_path: Path) -> None:
    graph, optimised = tmp_path / "graph.onnx", tmp_path / "optimised.onnx"
    write_graph(FunctionModule(F.gelu).eval(), SAMPLES, TOKENS, graph)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(optimised).graph.node}
    assert "Gelu" in operators
    assert "Erf" not in operators
