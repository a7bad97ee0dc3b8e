"""The network's formulas, and what must not change its results."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from transformers import BertConfig, BertModel

from trainer.config import NetworkConfig, TrainingConfig
from trainer.network import CrossAttention, GenreGraph, Network, Output, contrastive_loss, total_loss

GENRES = 4


def build(config: NetworkConfig) -> Network:
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=config.max_tokens,
        ),
        add_pooling_layer=False,
    )
    return Network(config, bert, torch.randn(GENRES, 16), torch.rand(GENRES, GENRES)).eval()


@pytest.fixture
def network(tiny: TrainingConfig) -> Network:
    return build(tiny.network)


@pytest.fixture
def inputs(tiny: TrainingConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Three tracks: five tokens, two tokens, no lyrics."""
    chance = torch.Generator().manual_seed(0)
    waveform = torch.randn(3, tiny.network.audio.window_samples, generator=chance)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    return waveform, torch.randint(1, 49, (3, 5), generator=chance) * mask, mask


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


@torch.no_grad()
def test_shapes(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, embedding = network(*inputs)
    assert logits.shape == (3, GENRES)
    assert embedding.shape == (3, network.config.width)
    assert logits.isfinite().all()


@torch.no_grad()
def test_padding_changes_nothing(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    waveform, ids, mask = inputs
    padded = network(waveform, F.pad(ids, (0, 7)), F.pad(mask, (0, 7)))
    assert close(padded, network(*inputs))


@torch.no_grad()
def test_what_stands_under_the_mask_changes_nothing(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    other = torch.where(mask.bool(), ids, 7)
    assert close(network(waveform, other, mask), network(*inputs))


@torch.no_grad()
def test_a_track_does_not_see_its_batch(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    together = network(*inputs)
    for row in range(3):
        alone = network(*(part[row : row + 1] for part in inputs))
        assert close(alone, tuple(part[row : row + 1] for part in together))


@torch.no_grad()
def test_lyrics_and_audio_each_change_the_result(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    before, _ = network(*inputs)
    other_words, _ = network(waveform, (ids + 1) * mask, mask)
    changed = (other_words - before).abs().amax(1) > 1e-4
    assert changed.tolist() == [True, True, False]
    other_sound, _ = network(waveform.flip(0), ids, mask)
    assert (other_sound - before).abs().amax(1)[0] > 1e-4


@torch.no_grad()
def test_without_lyrics_the_learned_vector_is_read(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    before, _ = network(*inputs)
    network.lyrics_tokens.missing.data += 1
    after, _ = network(*inputs)
    assert ((after - before).abs().amax(1) > 1e-4).tolist() == [False, False, True]


@torch.no_grad()
def test_withheld_lyrics_are_missing_lyrics(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    waveform, ids, mask = inputs
    log_mel, hidden, vectors = network.frontend(waveform), network.read(ids, mask), network.genre_vectors()
    withheld = torch.tensor([True, False, False])
    output = network.classify(log_mel, hidden, mask, vectors, withheld)
    expected, _ = network(waveform, ids, mask * ~withheld[:, None])
    torch.testing.assert_close(output.logits, expected)
    with_lyrics = network.classify(log_mel, hidden, mask, vectors)
    torch.testing.assert_close(output.similarity, with_lyrics.similarity)


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


def test_contrastive_loss() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for i in range(4):
        audio_to_lyrics = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[i]))
        lyrics_to_audio = -math.log(math.exp(similarity[i, i]) / sum(math.exp(s) for s in similarity[:, i]))
        expected += (audio_to_lyrics + lyrics_to_audio) / 2 / 4
    found = contrastive_loss(similarity, torch.ones(4, dtype=torch.bool))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_tracks_without_lyrics_stay_out_of_the_contrastive_loss() -> None:
    similarity = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    kept = torch.tensor([True, False, True, True])
    three = contrastive_loss(similarity[kept][:, kept], torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(contrastive_loss(similarity, kept), three)


@pytest.mark.parametrize("present", [0, 1])
def test_nothing_to_contrast_costs_nothing(present: int) -> None:
    similarity = torch.randn(3, 3, requires_grad=True)
    loss = contrastive_loss(similarity, torch.arange(3) < present)
    loss.backward()
    assert loss == 0
    assert similarity.grad is not None
    assert not similarity.grad.any()


@torch.no_grad()
def test_similarity_is_the_cosine_over_the_temperature(
    network: Network, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    waveform, ids, mask = inputs
    log_mel, hidden = network.frontend(waveform), network.read(ids, mask)
    found = network.classify(log_mel, hidden, mask, network.genre_vectors()).similarity
    audio = network.audio_encoder(log_mel)[0].mean(0)
    lyrics = network.lyrics_tokens.project(hidden)[1, :2].mean(0)
    g_a, g_l = network.project_audio(audio), network.project_lyrics(lyrics)
    torch.testing.assert_close(found[0, 1], F.cosine_similarity(g_a, g_l, dim=0) / 0.07)


def test_total_loss_weighs_both() -> None:
    logits, labels = torch.randn(3, GENRES), torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]])
    similarity, has_lyrics = torch.randn(3, 3), torch.tensor([True, True, False])
    p = logits.double().sigmoid()
    bce = -(labels * p.log() + (1 - labels) * (1 - p).log()).sum(1).mean()
    expected = 0.3 * float(contrastive_loss(similarity, has_lyrics)) + 0.7 * float(bce)
    output = Output(logits, torch.zeros(3, 1), similarity)
    assert float(total_loss(output, labels, has_lyrics, 0.3)) == pytest.approx(expected, rel=1e-5)


def test_the_lyrics_encoder_is_frozen(network: Network) -> None:
    network.train()
    assert network.training
    assert not network.lyrics_encoder.training
    assert not any(weight.requires_grad for weight in network.lyrics_encoder.parameters())


@pytest.mark.parametrize("part", ["cross_attention", "genre_graph"])
def test_a_part_left_out_leaves_its_weights_out(
    tiny: TrainingConfig, inputs: tuple[Tensor, Tensor, Tensor], part: str
) -> None:
    whole = build(tiny.network)
    without = build(tiny.network.model_copy(update={part: False}))
    assert whole.state_dict().keys() - without.state_dict().keys()
    logits, _ = without(*inputs)
    assert logits.shape == (3, GENRES)


def test_every_weight_learns(network: Network, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    waveform, ids, mask = inputs
    network.train()
    output = network.classify(
        network.frontend(waveform), network.read(ids, mask), mask, network.genre_vectors()
    )
    total_loss(output, torch.eye(3, GENRES), mask.bool().any(1), 0.3).backward()
    still = [
        name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None
    ]
    assert not still
