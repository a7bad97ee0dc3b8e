"""The small BERT, and loading of a transformers encoder from a folder."""

from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from trainer.config import LittleBert
from trainer.errors import LyricsModelError
from trainer.network.lyrics_model import embed_names, load_lyrics_model, train_little_bert

LYRICS = ["love me tonight", "the train rolls down the track", "love is a train", "darling tonight"] * 4
LITTLE = LittleBert(vocabulary=100, layers=1, width=16, heads=2, steps=30)


def test_the_same_seed_gives_the_same_model() -> None:
    one, two = (train_little_bert(LITTLE, LYRICS, 8, seed=3) for _ in range(2))
    assert one.tokenizer.to_str() == two.tokenizer.to_str()
    for a, b in zip(one.encoder.parameters(), two.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    other = train_little_bert(LITTLE, LYRICS, 8, seed=4)
    assert not torch.equal(next(one.encoder.parameters()), next(other.encoder.parameters()))


def test_tokens_are_word_pieces_between_cls_and_sep() -> None:
    tokenizer = train_little_bert(LITTLE, LYRICS, 8, seed=0).tokenizer
    assert tokenizer.encode("Love TRAIN").tokens == ["[CLS]", "love", "train", "[SEP]"]
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_masked_word_training_changes_the_weights() -> None:
    """The weights change in training, and the global random state does not."""
    chance = torch.random.get_rng_state()
    untrained = train_little_bert(LITTLE.model_copy(update={"steps": 1}), LYRICS, 8, seed=0)
    trained = train_little_bert(LITTLE.model_copy(update={"steps": 60}), LYRICS, 8, seed=0)
    before, after = untrained.encoder.state_dict(), trained.encoder.state_dict()
    assert max(float((before[name] - after[name]).abs().max()) for name in before) > 0.01
    assert torch.equal(chance, torch.random.get_rng_state())


def test_a_library_without_lyrics_is_refused() -> None:
    with pytest.raises(LyricsModelError, match="no training track has lyrics"):
        train_little_bert(LITTLE, [], 8, seed=0)


def test_name_embeddings_are_mean_hidden_states_less_the_mean_of_all_names() -> None:
    model = train_little_bert(LITTLE, LYRICS, 8, seed=0)
    found = embed_names(model, ["Love Train", "Tonight"])
    assert found.shape == (2, 16)
    means = []
    for name in ("Love Train", "Tonight"):
        ids = torch.tensor([model.tokenizer.encode(name).ids])
        means.append(model.encoder(input_ids=ids).last_hidden_state[0].mean(0))
    torch.testing.assert_close(found[1], means[1] - (means[0] + means[1]) / 2)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_an_encoder_is_loaded_from_a_folder(tmp_path: Path, kind: str) -> None:
    tokenizer = train_little_bert(LITTLE.model_copy(update={"steps": 1}), LYRICS, 8, seed=0).tokenizer
    size = tokenizer.get_vocab_size()
    if kind == "bert":
        encoder: PreTrainedModel = BertModel(
            BertConfig(
                vocab_size=size,
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=32,
            )
        )
    else:
        encoder = DistilBertModel(
            DistilBertConfig(
                vocab_size=size, max_position_embeddings=32, n_layers=1, n_heads=2, dim=16, hidden_dim=32
            )
        )
    encoder.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    model = load_lyrics_model(str(tmp_path), 32)
    assert model.tokenizer.encode("love").tokens == ["[CLS]", "love", "[SEP]"]
    assert embed_names(model, ["love"]).shape == (1, 16)
    assert not any(name.startswith("pooler") for name, _ in model.encoder.named_parameters())


def test_more_tokens_than_the_encoder_accepts_are_refused(tmp_path: Path) -> None:
    test_an_encoder_is_loaded_from_a_folder(tmp_path, "bert")
    with pytest.raises(LyricsModelError, match="accepts at most 32 tokens"):
        load_lyrics_model(str(tmp_path), 64)


def test_a_model_with_a_decoder_is_refused(tmp_path: Path) -> None:
    T5Model(T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path
    )
    tokenizer = train_little_bert(LITTLE, LYRICS, 8, seed=0).tokenizer
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    with pytest.raises(LyricsModelError, match="also has a decoder: choose an encoder"):
        load_lyrics_model(str(tmp_path), 8)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    test_an_encoder_is_loaded_from_a_folder(tmp_path, "bert")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LyricsModelError, match="cannot be loaded"):
        load_lyrics_model(str(tmp_path), 8)


def test_an_empty_folder_raises_one_line(tmp_path: Path) -> None:
    with pytest.raises(LyricsModelError, match="cannot be loaded") as raised:
        load_lyrics_model(str(tmp_path), 8)
    assert "\n" not in str(raised.value)


def test_encoders_that_reserve_positions_for_padding_accept_fewer_tokens(tmp_path: Path) -> None:
    """The first position of RoBERTa is 2, so it accepts two tokens fewer than `max_position_embeddings`."""
    config = RobertaConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=12,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer = train_little_bert(LITTLE, LYRICS, 8, seed=0).tokenizer
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    assert load_lyrics_model(str(tmp_path), 10)
    with pytest.raises(LyricsModelError, match=r"accepts fewer than 11 tokens: lower network.max_tokens"):
        load_lyrics_model(str(tmp_path), 11)


def test_characters_take_at_most_half_of_the_vocabulary() -> None:
    chinese = ["".join(map(chr, range(start, start + 50))) for start in range(0x4E00, 0x5200, 50)]
    tokenizer = train_little_bert(LITTLE, [*LYRICS, *chinese], 8, seed=0).tokenizer
    assert tokenizer.encode("love train").tokens == ["[CLS]", "love", "train", "[SEP]"]
    assert tokenizer.encode(chinese[0][0]).tokens[1] in (chinese[0][0], "[UNK]")
    assert tokenizer.get_vocab_size() == LITTLE.vocabulary
