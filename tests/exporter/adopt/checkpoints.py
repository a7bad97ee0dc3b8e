"""Small checkpoints with random weights, saved by transformers."""

import json
from pathlib import Path
from typing import Literal

import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    FeatureExtractionMixin,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
)

LABELS = (
    "Rock---Punk",
    "Electronic---Techno",
    "Jazz",
    "Speech",
    "Hip-Hop---Experimental",
    "Rock---Experimental",
)

Problem = Literal["single_label_classification", "multi_label_classification"]

LOUD = 0.5
"""Standard deviation of the weights: smaller weights give the same scores for all audio."""


def save(folder: Path, model: PreTrainedModel, extractor: FeatureExtractionMixin, card: str = "") -> str:
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    if card:
        (folder / "README.md").write_text(card)
    return str(folder)


def ast(
    folder: Path, problem: Problem | None = "multi_label_classification", card: str = "", **changes: int
) -> str:
    """Save an AST with the feature extractor of the published checkpoints."""
    torch.manual_seed(1)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        id2label=dict(enumerate(LABELS)),
        initializer_range=LOUD,
        problem_type=problem,
        frequency_stride=32,
        time_stride=32,
        max_length=changes.get("max_length", 1024),
        num_mel_bins=changes.get("num_mel_bins", 128),
    )
    return save(folder, ASTForAudioClassification(config), ASTFeatureExtractor(**changes), card)


def wav2vec2(folder: Path, masked: bool) -> str:
    """Save a Wav2Vec2 configured as the base model, or as the large models if `masked`."""
    torch.manual_seed(1)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8),
        conv_stride=(5, 8, 8),
        conv_kernel=(10, 8, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        feat_extract_norm="layer" if masked else "group",
        id2label=dict(enumerate(LABELS)),
        initializer_range=LOUD,
        problem_type="multi_label_classification",
        vocab_size=8,
    )
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=masked, do_normalize=True)
    return save(folder, Wav2Vec2ForSequenceClassification(config), extractor)


def whisper(folder: Path) -> str:
    """Save a Whisper with windows of two seconds."""
    torch.manual_seed(1)
    config = WhisperConfig(
        d_model=16,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_source_positions=100,
        classifier_proj_size=8,
        id2label=dict(enumerate(LABELS)),
        init_std=LOUD,
        vocab_size=8,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        decoder_start_token_id=0,
    )
    return save(folder, WhisperForAudioClassification(config), WhisperFeatureExtractor(chunk_length=2))


def without_a_head(folder: Path) -> str:
    """Save an AST without a classification head."""
    ast(folder)
    config = ASTConfig.from_pretrained(folder)
    from transformers import ASTModel

    ASTModel(config).save_pretrained(folder)
    assert "labels" not in json.loads((folder / "config.json").read_text())
    return str(folder)
