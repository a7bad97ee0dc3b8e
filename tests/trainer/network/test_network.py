"""The formulas of the network, and changes of the input that must not change its outputs."""

import math
from itertools import product

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tests.trainer.networks import GENRES, build
from trainer.config import NetworkConfig, TrainingConfig
from trainer.network.losses import contrastive_loss, genre_loss
from trainer.network.network import CrossAttention, GenreGraph, Network


@pytest.fixture
def network(tiny: TrainingConfig) -> Network:
    return build(tiny.network)


@pytest.fixture
def inputs(tiny: TrainingConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Waveforms, ids and mask of three tracks: with five tokens, with two tokens, and without lyrics."""
    chance = torch.Generator().manual_seed(0)
    waveform = torch.randn(3, tiny.network.audio.window_samples, generator=chance)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    return waveform, torch.randint(1, 49, (3, 5), generator=chance) * mask, mask


def are_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


@torch.no_grad()
def test_shapes_of_the_outputs(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, embedding = network(*inputs)
    assert logits.shape == (3, GENRES)
    assert embedding.shape == (3, network.config.width)
    assert logits.isfinite().all()


@torch.no_grad()
def test_padding_does_not_change_the_outputs(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    waveform, ids, mask = inputs
    padded = network(waveform, F.pad(ids, (0, 7)), F.pad(mask, (0, 7)))
    assert are_close(padded, network(*inputs))


@torch.no_grad()
def test_masked_tokens_do_not_change_the_outputs(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    other = torch.where(mask.bool(), ids, 7)
    assert are_close(network(waveform, other, mask), network(*inputs))


@torch.no_grad()
def test_outputs_do_not_depend_on_the_other_tracks_of_the_batch(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    together = network(*inputs)
    for row in range(3):
        single = network(*(part[row : row + 1] for part in inputs))
        assert are_close(single, tuple(part[row : row + 1] for part in together))


@torch.no_grad()
def test_lyrics_and_audio_each_change_the_result(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    before, _ = network(*inputs)
    other_words, _ = network(waveform, (ids + 1) * mask, mask)
    changed = (other_words - before).abs().amax(1) > 1e-4
    assert changed.tolist() == [True, True, False]
    other_audio, _ = network(waveform.flip(0), ids, mask)
    assert (other_audio - before).abs().amax(1)[0] > 1e-4


@torch.no_grad()
def test_tracks_without_lyrics_use_the_learned_token(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    before, _ = network(*inputs)
    network.lyrics_tokens.missing.data += 1
    after, _ = network(*inputs)
    assert ((after - before).abs().amax(1) > 1e-4).tolist() == [False, False, True]


@torch.no_grad()
def test_dropped_lyrics_equal_missing_lyrics(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    waveform, ids, mask = inputs
    log_mel, hidden, vectors = (
        network.frontend(waveform),
        network.encode_lyrics(ids, mask),
        network.genre_vectors(),
    )
    lyrics_dropped = torch.tensor([True, False, False])
    output = network.classify(log_mel, hidden, mask, vectors, lyrics_dropped)
    expected, _ = network(waveform, ids, mask * ~lyrics_dropped[:, None])
    torch.testing.assert_close(output.logits, expected)
    with_lyrics = network.classify(log_mel, hidden, mask, vectors)
    torch.testing.assert_close(output.lyrics_embedding, with_lyrics.lyrics_embedding)


@torch.no_grad()
def test_cross_attention_is_softmax_of_the_scaled_products() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(width=8, heads=2, dropout=0.0).eval()
    x, other = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    mask = torch.tensor([[True, True, False, True]])
    attention.norm.weight.normal_()
    attention.other_norm.bias.normal_()
    q = attention.query(attention.norm(x))[0]
    k, v = attention.key_value(attention.other_norm(other))[0].split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = q[:, head] @ k[:, head].T / math.sqrt(4)
        scores[:, 2] = -math.inf
        heads.append(torch.softmax(scores, dim=-1) @ v[:, head])
    expected = x + attention.out(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(x, other, mask), expected)


@torch.no_grad()
def test_a_feed_forward_layer_may_follow_the_attention() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(width=8, heads=2, dropout=0.0, hidden=16).eval()
    x, other = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    assert attention.hidden is not None
    found = attention(x, other)
    norm, first, _, second, _ = attention.hidden.children()
    attention.hidden = None
    attended = attention(x, other)
    expected = attended + second(first(norm(attended)).clamp(min=0))
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_logits_are_dot_products_with_the_graph_convolutions_output(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    logits, embedding = network(*inputs)
    torch.testing.assert_close(logits, embedding @ network.genre_vectors().T)
    graph = network.genre_vectors
    assert isinstance(graph, GenreGraph)
    before = graph()
    graph.correlation = graph.correlation.flip(1)
    assert not torch.allclose(graph(), before)


@torch.no_grad()
def test_similarity_is_the_cosine_over_the_temperature(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    log_mel, hidden = network.frontend(waveform), network.encode_lyrics(ids, mask)
    output = network.classify(log_mel, hidden, mask, network.genre_vectors())
    assert output.audio_embedding is not None
    assert output.lyrics_embedding is not None
    found = network.similarity(output.audio_embedding, output.lyrics_embedding)
    audio = network.audio_encoder(log_mel)[0].mean(0)
    lyrics = network.lyrics_tokens.project(hidden)[1, :2].mean(0)
    g_a, g_l = network.project_audio(audio), network.project_lyrics(lyrics)
    torch.testing.assert_close(found[0, 1], F.cosine_similarity(g_a, g_l, dim=0) / 0.07)


def test_the_lyrics_encoder_is_frozen(network: Network) -> None:
    network.train()
    assert network.training
    assert not network.lyrics_encoder.training
    assert not any(weight.requires_grad for weight in network.lyrics_encoder.parameters())


def switched(tiny: TrainingConfig, **switches: object) -> NetworkConfig:
    return NetworkConfig.model_validate(tiny.network.model_dump() | switches)


COMBINATIONS = list(product([False, True], repeat=3))


@pytest.mark.parametrize(("contrastive", "cross_attention", "genre_graph"), COMBINATIONS)
def test_a_disabled_part_has_no_weights(
    tiny: TrainingConfig, contrastive: bool, cross_attention: bool, genre_graph: bool
) -> None:
    switches = {
        "contrastive": contrastive,
        "cross_attention": cross_attention,
        "genre_graph": genre_graph,
    }
    network = build(switched(tiny, **switches))
    names = {name.split(".")[0] for name, weight in network.named_parameters() if weight.requires_grad}
    expected = {"audio_encoder", "lyrics_tokens", "fuse", "genre_vectors"}
    if contrastive:
        expected |= {"project_audio", "project_lyrics", "log_scale"}
    if cross_attention:
        expected |= {"audio_attends", "lyrics_attends"}
    assert names == expected
    assert isinstance(network.genre_vectors, GenreGraph) == genre_graph


@pytest.mark.parametrize(
    "switches",
    [
        *(
            dict(zip(("contrastive", "cross_attention", "genre_graph"), one, strict=True))
            for one in COMBINATIONS
        ),
        {"lyrics": False, "contrastive": False, "cross_attention": False, "genre_graph": False},
        {"fusion_layers": 2},
        {"attention_hidden": 8},
    ],
    ids=str,
)
def test_every_weight_has_a_gradient(
    tiny: TrainingConfig, inputs: tuple[Tensor, Tensor, Tensor], switches: dict[str, object]
) -> None:
    network = build(switched(tiny, **switches)).train()
    waveform, ids, mask = inputs
    output = network.classify(
        network.frontend(waveform), network.encode_lyrics(ids, mask), mask, network.genre_vectors()
    )
    loss = genre_loss(output.logits, torch.eye(3, GENRES))
    if output.audio_embedding is not None and output.lyrics_embedding is not None:
        loss = loss + contrastive_loss(
            network.similarity(output.audio_embedding, output.lyrics_embedding), mask.bool().any(1)
        )
    loss.backward()
    without_gradient = [
        name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert not without_gradient


@torch.no_grad()
def test_without_attention_the_pooled_encoders_are_concatenated(
    tiny: TrainingConfig, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    network = build(switched(tiny, cross_attention=False))
    _, embedding = network(*inputs)
    waveform, ids, mask = inputs
    audio = network.audio_encoder(network.frontend(waveform))[0]
    lyrics = network.lyrics_tokens.project(network.encode_lyrics(ids, mask))[0]
    pooled = torch.cat([audio.mean(0), audio.amax(0), lyrics.mean(0), lyrics.amax(0)])
    torch.testing.assert_close(embedding[0], network.fuse(pooled), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_audio_only_network_ignores_lyrics(
    tiny: TrainingConfig, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    network = build(switched(tiny, lyrics=False, contrastive=False, cross_attention=False))
    before, _ = network(waveform, ids, mask)
    after, _ = network(waveform, (ids + 1) * mask, mask.flip(0))
    assert torch.equal(before, after)
    other, _ = network(waveform.flip(0), ids, mask)
    assert not torch.allclose(before[0], other[0])


@pytest.mark.parametrize("part", ["contrastive", "cross_attention"])
def test_parts_that_need_lyrics_are_refused_without_lyrics(tiny: TrainingConfig, part: str) -> None:
    switches = {"contrastive": False, "cross_attention": False, part: True}
    with pytest.raises(ValidationError, match="without lyrics"):
        switched(tiny, lyrics=False, **switches)
