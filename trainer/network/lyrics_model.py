"""The lyrics encoder and its tokenizer: pre-trained, or a small BERT trained on the lyrics of the library."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from trainer.config import LittleBert
from trainer.errors import LyricsModelError
from trainer.network.pretrained import explain_load_errors

PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# transformers prints tables of loaded and missing weights, which users cannot act on.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

MASKED_LM_BATCH = 32
"""Lyrics in a batch of masked-word training."""

MASKED_SHARE = 0.15
"""Share of tokens to predict, as in BERT."""


@dataclass(frozen=True)
class LyricsModel:
    """A transformers lyrics encoder and its tokenizer."""

    encoder: PreTrainedModel
    tokenizer: Tokenizer


def load_lyrics_model(name: str, max_tokens: int) -> LyricsModel:
    """Return a transformers text encoder, by hub name or folder.

    Raises LyricsModelError if it cannot be loaded or does not accept `max_tokens` tokens.
    """
    advice = (
        "set network.lyrics_model to a hub name or to a folder that holds its config.json, weights and "
        "tokenizer.json"
    )
    with explain_load_errors(f"lyrics model {name}", advice, LyricsModelError):
        tokenizer = AutoTokenizer.from_pretrained(name)
        encoder = remove_pooler(AutoModel.from_pretrained(name, dtype=torch.float32))
    if encoder.config.is_encoder_decoder:
        raise LyricsModelError(f"lyrics model {name} also has a decoder: choose an encoder, such as BERT")
    if not tokenizer.is_fast:
        raise LyricsModelError(f"lyrics model {name} has no fast tokenizer: choose one with a tokenizer.json")
    limit = getattr(encoder.config, "max_position_embeddings", max_tokens)
    if max_tokens > limit:
        raise LyricsModelError(
            f"lyrics model {name} accepts at most {limit} tokens: lower network.max_tokens"
        )
    word = 0 if encoder.config.pad_token_id else 1
    try:
        # Some encoders number positions after that of the padding, and accept fewer tokens than the limit.
        with torch.no_grad():
            encoder(input_ids=torch.full((1, max_tokens), word))
    except (IndexError, RuntimeError) as error:
        raise LyricsModelError(
            f"lyrics model {name} accepts fewer than {max_tokens} tokens: lower network.max_tokens"
        ) from error
    return LyricsModel(encoder, tokenizer.backend_tokenizer)


def remove_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """Remove the pooling layer that some encoders have and that is not used. Return the encoder."""
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010 - not every encoder declares one
    return encoder


def train_little_bert(config: LittleBert, lyrics: Sequence[str], max_tokens: int, seed: int) -> LyricsModel:
    """Return a WordPiece tokenizer and a BERT trained by masked words (Devlin et al., 2019).

    Both are trained on cleaned `lyrics`. Equal lyrics and seeds give equal models. Raises LyricsModelError if
    `lyrics` is empty.
    """
    if not lyrics:
        raise LyricsModelError("no training track has lyrics: set network.lyrics_model to a hub name")
    tokenizer = _build_tokenizer(lyrics, config.vocabulary, max_tokens)
    ids = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(lyrics))])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=tokenizer.get_vocab_size(),
                hidden_size=config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=4 * config.width,
                max_position_embeddings=max_tokens,
                pad_token_id=SPECIAL.index(PAD),
            )
        )
        _train_masked_words(model, ids, config)
    return LyricsModel(model.bert.eval(), tokenizer)


def _build_tokenizer(lyrics: Sequence[str], vocabulary: int, max_tokens: int) -> Tokenizer:
    """Return a tokenizer of the most frequent words and characters, these also as continuations.

    Characters take at most half the vocabulary, because Chinese has more than it can hold. The trainer of the
    tokenizers library is not used: its order of pieces differs from run to run.
    """
    normalizer, pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts = Counter(
        word for text in lyrics for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
    )
    by_character = Counter[str]()
    for word, count in counts.items():
        by_character.update(dict.fromkeys(word, count))
    characters = sorted(_sort_by_frequency(by_character)[: vocabulary // 4])
    words = _sort_by_frequency(counts)
    pieces = dict.fromkeys([*SPECIAL, *characters, *(f"##{character}" for character in characters), *words])
    vocab = {piece: number for number, piece in enumerate(list(pieces)[:vocabulary])}

    tokenizer = Tokenizer(WordPiece(vocab, unk_token=UNK))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens(list(SPECIAL))
    ends = [(token, vocab[token]) for token in (CLS, SEP)]
    tokenizer.post_processor = TemplateProcessing(single=f"{CLS} $A {SEP}", special_tokens=ends)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(pad_id=vocab[PAD], pad_token=PAD)
    return tokenizer


def _sort_by_frequency(counts: Counter[str]) -> list[str]:
    """Return the keys, most frequent first, ties in alphabetical order."""
    return sorted(counts, key=lambda text: (-counts[text], text))


def _train_masked_words(model: BertForMaskedLM, ids: Tensor, config: LittleBert) -> None:
    """Train a BERT to predict masked tokens of `ids` (lyrics, tokens), as Devlin et al. (2019).

    Of the tokens to predict, 80 % are replaced by [MASK], 10 % by a random token, and 10 % are unchanged.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    model.train()
    for _ in range(config.steps):
        batch = ids[torch.randint(len(ids), (MASKED_LM_BATCH,))]
        is_word = batch >= len(SPECIAL)
        to_predict = is_word & (torch.rand(batch.shape) < MASKED_SHARE)
        draw = torch.rand(batch.shape)
        inputs = torch.where(to_predict & (draw < 0.8), SPECIAL.index(MASK), batch)
        random = torch.randint(len(SPECIAL), model.config.vocab_size, batch.shape)
        inputs = torch.where(to_predict & (draw > 0.9), random, inputs)
        mask = (batch != SPECIAL.index(PAD)).long()
        hidden = model.bert(input_ids=inputs, attention_mask=mask).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.cls(hidden[to_predict]), batch[to_predict])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def embed_names(model: LyricsModel, names: Sequence[str]) -> Tensor:
    """Return the nodes of the genre graph (genres, H).

    The embedding of a name is the mean of its hidden states, less the mean of all names: without the
    subtraction, the embeddings are nearly parallel, and all genres are similar.
    """
    device = next(model.encoder.parameters()).device
    rows = []
    for name in names:
        ids = torch.tensor([model.tokenizer.encode(name).ids], device=device)
        rows.append(model.encoder(input_ids=ids).last_hidden_state.mean(1))
    embeddings = torch.cat(rows)
    return embeddings - embeddings.mean(0) if len(names) > 1 else embeddings
