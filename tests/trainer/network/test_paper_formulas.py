"""Formulas of the paper that involve several parts of the network, compared with explicit sums."""

import torch
from torch import Tensor

from tests.trainer.network.test_network import inputs, network
from trainer.network.genre_graph import propagation
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.network import GenreGraph, Network, Output

__all__ = ["inputs", "network"]


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Return softmax(Q Kᵀ / √d) V of one track, computed head by head."""
    joined = []
    for head in torch.arange(q.shape[1]).chunk(heads):
        weights = (q[:, head] @ k[:, head].T / len(head) ** 0.5).exp()
        joined.append(weights / weights.sum(1, keepdim=True) @ v[:, head])
    return torch.cat(joined, dim=1)


def similarity_of(network: Network, output: Output) -> Tensor:
    assert output.audio_embedding is not None
    assert output.lyrics_embedding is not None
    return network.similarity(output.audio_embedding, output.lyrics_embedding)


@torch.no_grad()
def test_both_attentions_use_the_output_of_the_other_encoder(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    """SCMA is symmetric: lyrics attend to the audio tokens of the encoder, not of the audio attention."""
    waveform, ids, mask = inputs
    log_mel, hidden = network.frontend(waveform), network.encode_lyrics(ids, mask)
    audio = network.audio_encoder(log_mel)[1]
    # The second track has two tokens; the attentions must use only these.
    lyrics = network.lyrics_tokens.project(hidden)[1, :2]

    def attended(x: Tensor, other: Tensor, half: str) -> Tensor:
        (part,) = getattr(network, half)
        k, v = part.key_value(part.other_norm(other)).chunk(2, dim=-1)
        result: Tensor = x + part.out(softmax_attention(part.query(part.norm(x)), k, v, part.heads))
        return result

    a, l = attended(audio, lyrics, "audio_attends"), attended(lyrics, audio, "lyrics_attends")  # noqa: E741
    pooled = torch.cat([a.mean(0), a.amax(0), l.mean(0), l.amax(0)])
    found = network.classify(log_mel, hidden, mask, network.genre_vectors())
    torch.testing.assert_close(found.embedding[1], network.fuse(pooled), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_graph_convolution_is_the_propagated_and_projected_nodes(network: Network) -> None:
    """Kipf and Welling's layer, twice: row i is the sum over j of Â_ij · Wᵀ x_j."""
    graph = network.genre_vectors
    assert isinstance(graph, GenreGraph)
    adjacency = propagation(graph.correlation, graph.self_loop)
    x = graph.nodes / graph.nodes.norm(dim=1, keepdim=True)

    def convolved(features: Tensor, weight: Tensor) -> Tensor:
        rows = [
            sum(adjacency[i, j] * (features[j] @ weight) for j in range(len(features)))
            for i in range(len(features))
        ]
        return torch.stack([row for row in rows if isinstance(row, Tensor)])

    first, second = graph.weights
    hidden = convolved(x, first).clamp(min=0)
    expected = convolved(hidden, second) / (second.shape[0] * second.shape[1]) ** 0.5
    torch.testing.assert_close(graph(), expected, atol=1e-5, rtol=1e-4)


def test_padding_has_no_gradient(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Masked tokens have no gradient from L_BCE and none from L_AL."""
    waveform, ids, mask = inputs
    hidden = network.encode_lyrics(ids, mask).requires_grad_()
    output = network.classify(network.frontend(waveform), hidden, mask, network.genre_vectors())
    loss = contrastive_loss(similarity_of(network, output), mask.bool().any(1))
    (0.3 * loss + 0.7 * genre_loss(output.logits, torch.eye(3, 4))).backward()
    assert hidden.grad is not None
    has_gradient = hidden.grad.abs().sum(-1) > 0
    assert torch.equal(has_gradient, mask.bool())


def test_a_track_without_lyrics_has_no_contrastive_gradient(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    """L_AL has a gradient for the audio of tracks with lyrics only."""
    waveform, ids, mask = inputs
    log_mel = network.frontend(waveform).requires_grad_()
    output = network.classify(log_mel, network.encode_lyrics(ids, mask), mask, network.genre_vectors())
    contrastive_loss(similarity_of(network, output), mask.bool().any(1)).backward()
    assert log_mel.grad is not None
    assert (log_mel.grad.abs().amax((1, 2)) > 0).tolist() == [True, True, False]


def test_the_temperature_is_learned(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """The similarity is s / τ: with τ = 1 it is the product of the two projections."""
    waveform, ids, mask = inputs

    def similarity() -> Tensor:
        output = network.classify(
            network.frontend(waveform), network.encode_lyrics(ids, mask), mask, network.genre_vectors()
        )
        return similarity_of(network, output)

    at_start = similarity()
    with torch.no_grad():
        network.log_scale.fill_(0)
    at_one = similarity()
    torch.testing.assert_close(at_start * 0.07, at_one)
    contrastive_loss(at_one, mask.bool().any(1)).backward()
    assert network.log_scale.grad is not None
    assert network.log_scale.grad != 0
