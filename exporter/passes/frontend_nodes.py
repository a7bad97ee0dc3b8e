"""The nodes of a graph from the waveform to what the audio encoder hears: neither fp16 nor int8 is for them.

Powers of a spectrum and sums over a waveform span more than half precision, and either's rounding would
drown quiet sounds.
"""

import onnx

from schemas.bundle import INPUTS

ENCODER = ("BatchNormalization", "Conv")
"""With them the audio encoder begins, and the frontend ends."""


def frontend_nodes(graph: onnx.GraphProto) -> set[str]:
    """Their names, and those of the nodes that make them constants, such as positions in a window."""
    heard, encoded = {INPUTS[0]}, set[str]()
    makers: dict[str, onnx.NodeProto] = {}
    waiting = []
    for node in graph.node:
        makers.update(dict.fromkeys(node.output, node))
        if encoded.intersection(node.input) or (node.op_type in ENCODER and heard.intersection(node.input)):
            encoded.update(node.output)
        elif node.op_type != "Shape" and heard.intersection(node.input):
            heard.update(node.output)
            waiting.append(node)
    names = set[str]()
    while waiting:
        node = waiting.pop()
        if node.op_type != "Shape" and node.name not in names:
            names.add(node.name)
            waiting += [makers[name] for name in node.input if name in makers]
    return names
