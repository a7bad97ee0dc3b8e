"""Prepare a library for training: encoders, features and genre graph, which several runs can share."""

import contextlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import track as progress
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from media.cpus import available_cpus
from media.errors import MediaError
from media.tokens import LyricsTokenizer
from schemas.bundle import LyricsFilter
from storage.atomic import make_folder, new_folder
from trainer.checkpoint import TOKENIZER_FILE
from trainer.config import NetworkConfig, TrainingConfig
from trainer.data.library import Library
from trainer.data.read import genres_without_tracks
from trainer.data.splits import check_shared_audio
from trainer.data.track import SPLITS, Split, Track
from trainer.errors import LeakError, ManifestError, UnreadableFile
from trainer.features.cache import Cache
from trainer.features.extract import Extractor, decoder_pool, index_file
from trainer.features.features import Features
from trainer.network.audio_model import AudioModel, load_audio_model
from trainer.network.genre_graph import correlations
from trainer.network.lyrics_model import LyricsModel, embed_names, load_lyrics_model, train_little_bert
from trainer.network.network import Network

WITHOUT_TRACKS: Mapping[Split, str] = {
    "valid": "their thresholds are 0.5",
    "test": "their quality is not measured",
}
"""Consequence for genres that no track of a split has."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A library with its features, for networks with equal frontends and equal pre-trained encoders.

    H = hidden size of the lyrics encoder.
    """

    lyrics_model: LyricsModel
    audio_model: AudioModel | None
    nodes: Tensor
    """(genres, H), embeddings of the genre names."""
    correlation: Tensor
    """A (genres, genres), correlations of the genres in the training split."""
    features: dict[Split, Features]

    def build_network(self, config: NetworkConfig) -> Network:
        """Return a network with new weights, on the GPU if there is one."""
        # Encoders that are trained are copied, so that the next network starts from the pre-trained weights.
        encoder = self.lyrics_model.encoder if config.lyrics_frozen else deepcopy(self.lyrics_model.encoder)
        audio_model = self.audio_model if config.audio_frozen else deepcopy(self.audio_model)
        return _on_device(Network(config, encoder, self.nodes, self.correlation, audio_model))


def load_or_train_lyrics_model(library: Library, config: TrainingConfig, folder: Path) -> LyricsModel:
    """Return the configured pre-trained lyrics encoder, or a small BERT trained on the library's lyrics.

    The small BERT is stored in `folder` and loaded from there if the run is continued. Raises
    LyricsModelError, OutputError.
    """
    lyrics_model, max_tokens = config.network.lyrics_model, config.network.max_tokens
    if isinstance(lyrics_model, str):
        return load_lyrics_model(lyrics_model, max_tokens)
    if not folder.exists():
        lyrics_filter = LyricsFilter(languages=config.network.languages)
        texts = [text for text in _training_lyrics(library, lyrics_filter) if text]
        model = train_little_bert(lyrics_model, texts, max_tokens, config.fit.seed)
        with new_folder(folder) as temporary:
            model.encoder.save_pretrained(temporary)
            PreTrainedTokenizerFast(tokenizer_object=model.tokenizer).save_pretrained(temporary)
    return load_lyrics_model(str(folder), max_tokens)


def _training_lyrics(library: Library, lyrics_filter: LyricsFilter) -> list[str]:
    """Return the lyrics of the training tracks, in order; empty for tracks without usable lyrics."""

    def read(track: Track) -> str:
        # Unreadable files are logged later, when features are computed.
        with contextlib.suppress(MediaError, UnreadableFile):
            return library.load_lyrics(track, lyrics_filter)
        return ""

    tracks = library.in_split("train")
    with ThreadPoolExecutor(available_cpus()) as pool:
        return list(progress(pool.map(read, tracks), "Reading lyrics", len(tracks), transient=True))


def prepare(
    library: Library, lyrics_model: LyricsModel, config: NetworkConfig, cache: Cache, folder: Path
) -> Prepared:
    """Compute the features of all splits into files in `folder`, and return the prepared library.

    `folder` must exist as long as the result is used. A later call uses the files again. At most one process
    at a time may call this. If a recording is in two splits, LeakError is raised if the manifest lists the
    splits; if cogenre assigned them, the recording is left out of the later split. Raises a TrainerError.
    """
    audio_model = load_audio_model(config.audio_model, config.audio) if config.audio_model else None
    nodes = embed_names(lyrics_model, [genre.name for genre in library.genres])
    make_folder(folder)
    tokenizer_file = folder / TOKENIZER_FILE
    lyrics_model.tokenizer.save(str(tokenizer_file))
    tokenizer = LyricsTokenizer(tokenizer_file, config.max_tokens)
    # Only the frontend and the encoders of this network are used, so the correlation does not matter.
    network = _on_device(Network(config, lyrics_model.encoder, nodes, torch.eye(len(nodes)), audio_model))
    try:
        with decoder_pool() as decoders:
            extractor = Extractor.for_network(network, tokenizer, cache, decoders)
            features: dict[Split, Features] = {}
            for split in SPLITS:
                earlier_digests = {digest for earlier in features.values() for digest in earlier.digests}
                excluded = earlier_digests if library.assigned else ()
                features[split] = extractor.extract(library, split, folder, excluded)
        check_shared_audio(
            recording
            for split in SPLITS
            for recording in zip(features[split].tracks, features[split].digests, strict=True)
        )
    except (ManifestError, LeakError):
        # Let the next call compute the features again, after the files or the manifest have been corrected.
        for split in SPLITS:
            index_file(folder, split).unlink(missing_ok=True)
        raise
    # `require_examples` checked the manifest, before tracks were left out.
    if missing := genres_without_tracks(library.genres, features["train"].labels):
        log.warning(
            "all training tracks of %s are left out: these genres are not learned", ", ".join(missing)
        )
    for split, consequence in WITHOUT_TRACKS.items():
        if missing := genres_without_tracks(library.genres, features[split].labels):
            log.warning("no track of split %s has %s: %s", split, ", ".join(missing), consequence)
    correlation = correlations(features["train"].labels, nodes)
    return Prepared(lyrics_model, audio_model, nodes, correlation, features)


def _on_device(network: Network) -> Network:
    """Return the network, moved to the GPU if there is one."""
    return network.cuda() if torch.cuda.is_available() else network
