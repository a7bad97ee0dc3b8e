"""Equal lyrics of adjacent windows are encoded once, and each window gets the encoding of its lyrics."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from exporter.bundle import FP16_FILE, GRAPH_FILE
from exporter.checks.cases import Feed
from schemas.bundle import INPUTS

ENCODER = "network.lyrics_encoder.embeddings.word_embeddings.weight"


def count_encoded_rows(graph: Path, feed: Feed, folder: Path) -> int:
    """Return the number of rows of token ids that the lyrics encoder encodes."""
    model = onnx.load(graph)
    (lookup,) = (node for node in model.graph.node if ENCODER in node.input)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(lookup.output[0], onnx.TensorProto.FLOAT, None)
    )
    onnx.save(model, folder / "graph.onnx")
    session = onnxruntime.InferenceSession(folder / "graph.onnx", providers=["CPUExecutionProvider"])
    return len(session.run([lookup.output[0]], feed)[0])


def make_feed(lyrics: list[list[int]], lengths: list[int] | None = None) -> Feed:
    ids = np.array(lyrics, np.int64)
    waveform = np.random.default_rng(0).normal(0, 0.1, (len(ids), 8_000)).astype(np.float32)
    mask = np.ones_like(ids)
    if lengths:
        mask = (np.arange(ids.shape[1]) < np.array(lengths)[:, None]).astype(np.int64)
    return dict(zip(INPUTS, (waveform, ids, mask), strict=True))


A, B = [5, 6, 7], [5, 6, 8]


@pytest.mark.parametrize(
    ("lyrics", "lengths", "encoded"),
    [
        ([A], None, 1),
        ([A, A, A], None, 1),
        ([A, A, B, B, B], None, 2),
        ([A, B, A], None, 3),
        ([A, A], [3, 2], 2),
        ([A, A], [0, 0], 1),
    ],
)
def test_equal_lyrics_of_adjacent_rows_are_encoded_once(
    bundle_folder: Path, tmp_path: Path, lyrics: list[list[int]], lengths: list[int] | None, encoded: int
) -> None:
    feed = make_feed(lyrics, lengths)
    assert count_encoded_rows(bundle_folder / GRAPH_FILE, feed, tmp_path) == encoded
    session = onnxruntime.InferenceSession(bundle_folder / GRAPH_FILE, providers=["CPUExecutionProvider"])
    together = session.run(["embedding"], feed)[0]
    for row in range(len(lyrics)):
        single = session.run(["embedding"], {name: value[row : row + 1] for name, value in feed.items()})[0]
        np.testing.assert_allclose(together[row], single[0], atol=1e-5)


def test_the_fp16_graph_encodes_every_row(bundle_folder: Path) -> None:
    operators = {node.op_type for node in onnx.load(bundle_folder / FP16_FILE).graph.node}
    assert "NonZero" not in operators
