"""Encodes the lyrics of a track once, although each of its windows has them as a row of the batch.

The lyrics encoder takes most of the network's time. Windows of a track are adjacent rows with equal lyrics.
So the graph compares each row of token ids with the previous row, encodes the rows that differ, and gathers
each window's encoding.

The number of distinct rows depends on the data, and TensorRT needs shapes that depend on the inputs' shapes
only. So the fp16 graph, which TensorRT runs, encodes every row.
"""

import onnx
from onnx import parser

from schemas.bundle import INPUTS

DISTINCT_INPUTS = ("distinct_ids", "distinct_mask", "lyrics_row")
"""Token ids and mask of the distinct lyrics (lyrics, tokens); the row of each window's lyrics (batch,)."""

_COMPARE = """
<ir_version: 10, opset_import: ["" : 18]>
compare (int64[batch, tokens] lyrics_ids, int64[batch, tokens] lyrics_mask)
  => (int64[lyrics, tokens] distinct_ids, int64[lyrics, tokens] distinct_mask, int64[batch] lyrics_row)
  <int64[1] distinct_zero = {0}, int64[1] distinct_one = {1}, int64[1] distinct_last = {-1},
   int64[1] distinct_end = {9223372036854775807}, int64 distinct_axis = {0}, float[1] distinct_yes = {1}>
{
  distinct_both = Concat <axis = 1> (lyrics_ids, lyrics_mask)
  distinct_rows = Slice (distinct_both, distinct_one, distinct_end, distinct_zero)
  distinct_before = Slice (distinct_both, distinct_zero, distinct_last, distinct_zero)
  distinct_equal = Equal (distinct_rows, distinct_before)
  distinct_equal_tokens = Cast <to = 1> (distinct_equal)
  distinct_same = ReduceMin <keepdims = 0> (distinct_equal_tokens, distinct_one)
  distinct_other = Sub (distinct_yes, distinct_same)
  distinct_new = Concat <axis = 0> (distinct_yes, distinct_other)
  distinct_count = CumSum (distinct_new, distinct_axis)
  distinct_row = Cast <to = 7> (distinct_count)
  lyrics_row = Sub (distinct_row, distinct_one)
  distinct_at = NonZero (distinct_new)
  distinct_at_rows = Squeeze (distinct_at, distinct_zero)
  distinct_ids = Gather <axis = 0> (lyrics_ids, distinct_at_rows)
  distinct_mask = Gather <axis = 0> (lyrics_mask, distinct_at_rows)
}
"""


def deduplicate_lyrics(model: onnx.ModelProto) -> None:
    """Replace the inputs `DISTINCT_INPUTS` of a graph by nodes that compute them from `INPUTS`."""
    compare = parser.parse_model(_COMPARE).graph
    for number, node in enumerate(compare.node):
        node.name = f"distinct_{number}"
    graph = model.graph
    nodes, inputs = [*compare.node, *graph.node], [value for value in graph.input if value.name in INPUTS]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
    graph.initializer.extend(compare.initializer)
