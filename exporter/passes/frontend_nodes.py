"""Finds the frontend of a graph: the nodes from the waveform to the audio encoder, which stay fp32.

Powers of a spectrum and sums over a waveform exceed the range of fp16, and the rounding of fp16 or int8 would
mask quiet sounds.
"""

import onnx

from schemas.bundle import INPUTS

ENCODER = ("BatchNormalization", "Conv")
"""Operators that the audio encoder begins with."""


def find_frontend_nodes(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the frontend's nodes and of the nodes that compute their constants."""
    frontend, encoded = {INPUTS[0]}, set[str]()
    producers: dict[str, onnx.NodeProto] = {}
    to_visit = []
    for node in graph.node:
        producers.update(dict.fromkeys(node.output, node))
        if encoded.intersection(node.input) or (
            node.op_type in ENCODER and frontend.intersection(node.input)
        ):
            encoded.update(node.output)
        elif node.op_type != "Shape" and frontend.intersection(node.input):
            frontend.update(node.output)
            to_visit.append(node)
    names = set[str]()
    while to_visit:
        node = to_visit.pop()
        if node.op_type != "Shape" and node.name not in names:
            names.add(node.name)
            to_visit += [producers[name] for name in node.input if name in producers]
    return names
