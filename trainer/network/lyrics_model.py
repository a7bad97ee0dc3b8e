"""The lyrics encoder with its tokenizer: pre-trained, or a little one trained on the lyrics at hand."""

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
from trainer.network.pretrained import loading

PAD, UNK, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Its tables of weights that were loaded or not say nothing that a user could act on.
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

MLM_BATCH = 32
MASKED_SHARE = 0.15
"""BERT's share of tokens to be guessed."""


@dataclass(frozen=True)
class LyricsModel:
    encoder: PreTrainedModel
    tokenizer: Tokenizer


def load_lyrics_model(name: str, max_tokens: int) -> LyricsModel:
    """Any transformers encoder, by hub name or folder. Raises LyricsModelError."""
    advice = (
        "set network.lyrics_model to a hub name or to a folder that holds its config.json, weights and "
        "tokenizer.json"
    )
    with loading(f"lyrics model {name}", advice, LyricsModelError):
        tokenizer = AutoTokenizer.from_pretrained(name)
        encoder = without_pooler(AutoModel.from_pretrained(name, dtype=torch.float32))
    if encoder.config.is_encoder_decoder:
        raise LyricsModelError(f"lyrics model {name} also has a decoder: choose an encoder, such as BERT")
    if not tokenizer.is_fast:
        raise LyricsModelError(f"lyrics model {name} has no fast tokenizer: choose one with a tokenizer.json")
    limit = getattr(encoder.config, "max_position_embeddings", max_tokens)
    if max_tokens > limit:
        raise LyricsModelError(f"lyrics model {name} reads {limit} tokens at most: lower network.max_tokens")
    word = 0 if encoder.config.pad_token_id else 1
    try:
        # Some count positions from behind the padding's: fewer tokens fit than the limit says.
        with torch.no_grad():
            encoder(input_ids=torch.full((1, max_tokens), word))
    except (IndexError, RuntimeError) as error:
        raise LyricsModelError(
            f"lyrics model {name} reads fewer tokens than {max_tokens}: lower network.max_tokens"
        ) from error
    return LyricsModel(encoder, tokenizer.backend_tokenizer)


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """Drops the sentence head that some encoders carry: only their hidden states are read."""
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010 - not every encoder declares one
    return encoder


def train_little_bert(config: LittleBert, lyrics: Sequence[str], max_tokens: int, seed: int) -> LyricsModel:
    """A WordPiece tokenizer and a BERT trained by masked words (Devlin et al., 2019) on clean `lyrics`.

    The same lyrics and seed give the same model. Raises LyricsModelError where there are no lyrics.
    """
    if not lyrics:
        raise LyricsModelError("no training track has lyrics: set network.lyrics_model to a hub name")
    tokenizer = _word_pieces(lyrics, config.vocabulary, max_tokens)
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
        _guess_masked_words(model, ids, config)
    return LyricsModel(model.bert.eval(), tokenizer)


def _word_pieces(lyrics: Sequence[str], vocabulary: int, max_tokens: int) -> Tokenizer:
    """The commonest characters, each alone and as a continuation, and the commonest words.

    Characters take half the vocabulary at most: Chinese has more than fit. Not the tokenizers library's
    trainer: it numbers pieces in another order each time.
    """
    normalizer, pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts = Counter(
        word for text in lyrics for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
    )
    by_character = Counter[str]()
    for word, count in counts.items():
        by_character.update(dict.fromkeys(word, count))
    characters = sorted(_commonest(by_character)[: vocabulary // 4])
    common = _commonest(counts)
    pieces = dict.fromkeys([*SPECIAL, *characters, *(f"##{character}" for character in characters), *common])
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


def _commonest(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda text: (-counts[text], text))


def _guess_masked_words(model: BertForMaskedLM, ids: Tensor, config: LittleBert) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, fused=True)
    model.train()
    for _ in range(config.steps):
        batch = ids[torch.randint(len(ids), (MLM_BATCH,))]
        words = batch >= len(SPECIAL)
        guessed = words & (torch.rand(batch.shape) < MASKED_SHARE)
        fate = torch.rand(batch.shape)
        shown = torch.where(guessed & (fate < 0.8), SPECIAL.index(MASK), batch)
        random = torch.randint(len(SPECIAL), model.config.vocab_size, batch.shape)
        shown = torch.where(guessed & (fate > 0.9), random, shown)
        mask = (batch != SPECIAL.index(PAD)).long()
        hidden = model.bert(input_ids=shown, attention_mask=mask).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.cls(hidden[guessed]), batch[guessed])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


@torch.no_grad()
def name_embeddings(model: LyricsModel, names: Sequence[str]) -> Tensor:
    """The genre graph's nodes (genres, H): each name's mean of the encoder's hidden states, less that of all.

    With what the names share they are nearly parallel, and every genre is like every other.
    """
    device = next(model.encoder.parameters()).device
    rows = []
    for name in names:
        ids = torch.tensor([model.tokenizer.encode(name).ids], device=device)
        rows.append(model.encoder(input_ids=ids).last_hidden_state.mean(1))
    embeddings = torch.cat(rows)
    return embeddings - embeddings.mean(0) if len(names) > 1 else embeddings
