"""Checkpoint to ONNX: one graph from waveform and token ids to logits, dynamic in batch and tokens."""

import logging
import warnings
from pathlib import Path

import onnx
import onnx_ir
import torch
from torch import Tensor, nn
from torch.export import Dim

from exporter.errors import GraphError
from exporter.passes.distinct import READ_ONCE, read_once
from exporter.passes.simplify import simplify
from schemas.bundle import INPUTS, OUTPUTS
from trainer.network.network import Network

OPSET = 18
"""The lowest that the exporter writes without converting, and known to every runtime in use."""


LARGEST = 2**31
"""Bytes of a graph's file, by its format."""


class Served(nn.Module):
    """A network whose genre vectors are constants: they depend on no input."""

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


def export_graph(network: Network, file: Path, once: bool = True) -> None:
    """Write the fp32 graph of a network in evaluation mode to `file`, weights inside.

    `once` lets it read equal lyrics of neighbouring rows once.
    """
    config = network.config
    write_graph(Served(network).eval(), config.audio.window_samples, config.max_tokens, file, once)


def write_graph(
    module: nn.Module, window_samples: int, max_tokens: int, file: Path, once: bool = False
) -> None:
    """Write a module that keeps the bundle's contract, inputs to outputs, as a graph to `file`.

    With `once` it takes the distinct lyrics too, as `Served` does. Raises GraphError.
    """
    _refuse_too_large(module)
    # Of each size more than one, which would be taken for a constant.
    tokens = min(8, max_tokens)
    lyrics = (torch.zeros(2, tokens, dtype=torch.int64), torch.ones(2, tokens, dtype=torch.int64))
    lyrics_row = torch.tensor([0, 0, 1])
    rows = tuple(part[lyrics_row] for part in lyrics)
    example = (torch.zeros(len(lyrics_row), window_samples), *rows)
    batch, length, distinct = Dim("batch"), Dim("tokens", max=max_tokens), Dim("lyrics")
    shapes = ({0: batch}, {0: batch, 1: length}, {0: batch, 1: length})
    read = ({0: distinct, 1: length}, {0: distinct, 1: length}, {0: batch})
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # About PyTorch's own internals.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (*example, *lyrics, lyrics_row) if once else example,
                dynamo=True,
                opset_version=OPSET,
                input_names=[*INPUTS, *READ_ONCE] if once else list(INPUTS),
                # The last three parameters are one, of any length.
                dynamic_shapes=(*shapes, read) if once else shapes,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    simple = simplify(program.model)
    _tidy(simple)
    model = onnx_ir.to_proto(simple)
    if once:
        read_once(model)
    onnx.save(model, file)


def _refuse_too_large(module: nn.Module) -> None:
    held = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    if held >= LARGEST:
        raise GraphError(
            f"the network's weights take {held / 2**30:.1f} GiB, and an ONNX file holds less than 2: "
            "choose a smaller encoder"
        )


def _tidy(model: onnx_ir.Model) -> None:
    """Name the outputs, and drop the exporter's notes, which hold stack traces and paths of this machine."""
    graph = model.graph
    model.metadata_props.clear()
    graph.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
        _make_way(value)
    for node in graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            _make_way(value)
    for value, name in zip(graph.outputs, OUTPUTS, strict=True):
        value.name = name


def _make_way(value: onnx_ir.Value) -> None:
    """Torch names a value by its operator or weight, and one of them is called embedding."""
    if value.name in OUTPUTS:
        value.name = f"{value.name}_inside"
