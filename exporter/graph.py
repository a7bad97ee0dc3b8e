"""Exports a network as one ONNX graph, from waveform and token ids to logits.

The numbers of windows and of tokens are dynamic.
"""

import logging
import warnings
from pathlib import Path

import onnx
import onnx_ir
import torch
from torch import Tensor, nn
from torch.export import Dim

from exporter.errors import GraphError
from exporter.passes.distinct_lyrics import DISTINCT_INPUTS, deduplicate_lyrics
from exporter.passes.simplify import simplify
from schemas.bundle import INPUTS, OUTPUTS
from trainer.network.network import Network

OPSET = 18
"""The lowest opset that torch's exporter writes without conversion. Every runtime in use supports it."""

MAX_GRAPH_BYTES = 2**31
"""Size limit of an ONNX file, because it is a protobuf message."""


class ServedNetwork(nn.Module):
    """The network as it is exported: its genre vectors, which depend on no input, are constants."""

    genre_vectors: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.register_buffer("genre_vectors", network.genre_vectors().clone())

    def forward(
        self, waveform: Tensor, lyrics_ids: Tensor, lyrics_mask: Tensor, *distinct: Tensor
    ) -> tuple[Tensor, Tensor]:
        network = self.network
        if distinct:
            distinct_ids, distinct_mask, lyrics_row = distinct
            hidden = network.encode_lyrics(distinct_ids, distinct_mask)[lyrics_row]
        else:
            hidden = network.encode_lyrics(lyrics_ids, lyrics_mask)
        output = network.classify(network.frontend(waveform), hidden, lyrics_mask, self.genre_vectors)
        return output.logits, output.embedding


def export_graph(network: Network, file: Path, deduplicate: bool = True) -> None:
    """Write the fp32 graph of a network in evaluation mode to `file`, with its weights.

    With `deduplicate` the graph encodes equal lyrics of adjacent rows once. Raises GraphError.
    """
    config = network.config
    write_graph(
        ServedNetwork(network).eval(), config.audio.window_samples, config.max_tokens, file, deduplicate
    )


def write_graph(
    module: nn.Module, window_samples: int, max_tokens: int, file: Path, deduplicate: bool = False
) -> None:
    """Write a module with the inputs and outputs of a bundle's graph to `file`.

    With `deduplicate` the module takes the distinct lyrics in addition, as `ServedNetwork` does. Raises
    GraphError.
    """
    _refuse_too_large(module)
    # The exporter treats a dimension of size 1 as a constant, so each one is larger.
    tokens = min(8, max_tokens)
    lyrics = (torch.zeros(2, tokens, dtype=torch.int64), torch.ones(2, tokens, dtype=torch.int64))
    lyrics_row = torch.tensor([0, 0, 1])
    rows = tuple(part[lyrics_row] for part in lyrics)
    example = (torch.zeros(len(lyrics_row), window_samples), *rows)
    batch, length, distinct = Dim("batch"), Dim("tokens", max=max_tokens), Dim("lyrics")
    shapes = ({0: batch}, {0: batch, 1: length}, {0: batch, 1: length})
    distinct_shapes = ({0: distinct, 1: length}, {0: distinct, 1: length}, {0: batch})
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # These warnings are about PyTorch's internals.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (*example, *lyrics, lyrics_row) if deduplicate else example,
                dynamo=True,
                opset_version=OPSET,
                input_names=[*INPUTS, *DISTINCT_INPUTS] if deduplicate else list(INPUTS),
                # The last three inputs belong to one parameter, *distinct.
                dynamic_shapes=(*shapes, distinct_shapes) if deduplicate else shapes,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    simplified = simplify(program.model)
    _clean_metadata(simplified)
    model = onnx_ir.to_proto(simplified)
    if deduplicate:
        deduplicate_lyrics(model)
    onnx.save(model, file)


def _refuse_too_large(module: nn.Module) -> None:
    weight_bytes = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    if weight_bytes >= MAX_GRAPH_BYTES:
        raise GraphError(
            f"the network's weights take {weight_bytes / 2**30:.1f} GiB, and an ONNX file holds less "
            "than 2 GiB: choose a smaller encoder"
        )


def _clean_metadata(model: onnx_ir.Model) -> None:
    """Name the outputs, and remove the exporter's metadata: stack traces and paths of this machine."""
    graph = model.graph
    model.metadata_props.clear()
    graph.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
        _avoid_output_name(value)
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            _avoid_output_name(value)
    for value, name in zip(graph.outputs, OUTPUTS, strict=True):
        value.name = name


def _avoid_output_name(value: onnx_ir.Value) -> None:
    """Rename an inner value that has the name of an output. torch calls one of them embedding."""
    if value.name in OUTPUTS:
        value.name = f"{value.name}_inside"
