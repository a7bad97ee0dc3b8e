"""Every operator of the GPU graphs has a CUDA kernel and is supported by TensorRT 10."""

import tomllib
from pathlib import Path

import onnx
import pytest
import torch
from transformers import AutoModel, DistilBertConfig, PretrainedConfig, RobertaConfig

from exporter.bundle import GRAPH_FILE, INT8_FILE
from exporter.graph import export_graph
from tests.exporter.conftest import CONFIG
from trainer.network.lyrics_model import remove_pooler
from trainer.network.network import Network

TABLE = tomllib.loads((Path(__file__).parent / "operators.toml").read_text())


def unsupported_operators(graph: Path) -> set[str]:
    """Return the operators of a graph and its subgraphs that are not in the table."""
    model = onnx.load(graph)
    assert not model.functions
    used = set()
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            used.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
            graphs += [part for attribute in node.attribute for part in (attribute.g, *attribute.graphs)]
    return used - set(TABLE["supported"])


def test_the_fp32_graph_has_only_supported_operators(bundle_folder: Path) -> None:
    assert not unsupported_operators(bundle_folder / GRAPH_FILE)


def test_int8_has_operators_that_gpus_lack(bundle_folder: Path) -> None:
    found = unsupported_operators(bundle_folder / INT8_FILE)
    assert found == {"DynamicQuantizeLinear", "MatMulInteger"}
    assert found & TABLE["missing"].keys()


def test_no_operator_is_listed_as_both_supported_and_missing() -> None:
    assert not TABLE["missing"].keys() & set(TABLE["supported"])


@pytest.mark.parametrize(
    ("encoder", "parts"),
    [
        (
            DistilBertConfig(vocab_size=60, dim=16, hidden_dim=32, n_heads=2, n_layers=1),
            {"cross_attention": False, "genre_graph": False},
        ),
        (
            RobertaConfig(
                vocab_size=60,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=64,
            ),
            {},
        ),
    ],
    ids=lambda value: value.model_type if isinstance(value, PretrainedConfig) else "",
)
def test_other_encoders_have_only_supported_operators(
    encoder: PretrainedConfig, parts: dict[str, bool], tmp_path: Path
) -> None:
    config = CONFIG.network.model_copy(update=parts)
    network = Network(
        config, remove_pooler(AutoModel.from_config(encoder)), torch.rand(3, 16), torch.rand(3, 3)
    )
    export_graph(network.eval(), tmp_path / "graph.onnx")
    assert not unsupported_operators(tmp_path / "graph.onnx")
