"""What training needs of a library before its first step, computed once: also for several runs on it."""

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
from trainer.network.lyrics_model import LyricsModel, load_lyrics_model, name_embeddings, train_little_bert
from trainer.network.network import Network

AFTERWARDS: Mapping[Split, str] = {
    "valid": "its threshold stays neutral",
    "test": "nothing says how well it is told",
}
"""What a genre that no track of a split has comes to."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A library as networks of one frontend and one lyrics encoder see it."""

    lyrics_model: LyricsModel
    audio_model: AudioModel | None
    nodes: Tensor
    """(genres, H)"""
    correlation: Tensor
    """A (genres, genres), of the training split."""
    features: dict[Split, Features]

    def network(self, config: NetworkConfig) -> Network:
        """A network with new weights, on the GPU where there is one."""
        # Each has its own of the encoders that learn: others start from what was loaded.
        encoder = self.lyrics_model.encoder if config.lyrics_frozen else deepcopy(self.lyrics_model.encoder)
        audio_model = self.audio_model if config.audio_frozen else deepcopy(self.audio_model)
        return _on_device(Network(config, encoder, self.nodes, self.correlation, audio_model))


def lyrics_model_of(library: Library, config: TrainingConfig, folder: Path) -> LyricsModel:
    """The pre-trained encoder that is configured, or a little one trained on the library's own words.

    A little one is kept in `folder`, and found there by whoever carries on.
    """
    chosen, max_tokens = config.network.lyrics_model, config.network.max_tokens
    if isinstance(chosen, str):
        return load_lyrics_model(chosen, max_tokens)
    if not folder.exists():
        texts = [text for text in _lyrics(library, LyricsFilter(languages=config.network.languages)) if text]
        model = train_little_bert(chosen, texts, max_tokens, config.fit.seed)
        with new_folder(folder) as temporary:
            model.encoder.save_pretrained(temporary)
            PreTrainedTokenizerFast(tokenizer_object=model.tokenizer).save_pretrained(temporary)
    return load_lyrics_model(str(folder), max_tokens)


def _lyrics(library: Library, lyrics_filter: LyricsFilter) -> list[str]:
    """Of the training tracks, in their order."""

    def read(track: Track) -> str:
        # Tracks that cannot be read are reported where they are left out.
        with contextlib.suppress(MediaError, UnreadableFile):
            return library.load_lyrics(track, lyrics_filter)
        return ""

    tracks = library.in_split("train")
    with ThreadPoolExecutor(available_cpus()) as pool:
        read_ones = progress(pool.map(read, tracks), "Reading lyrics", len(tracks), transient=True)
        return list(read_ones)


def prepare(
    library: Library, lyrics_model: LyricsModel, config: NetworkConfig, cache: Cache, folder: Path
) -> Prepared:
    """Features lie in files in `folder`, which must outlive what is returned, and are found there by others.

    One recording in two splits is refused where the splits were listed; where they are ours, the later one
    goes without. One process at a time. Raises a TrainerError.
    """
    audio_model = load_audio_model(config.audio_model, config.audio) if config.audio_model else None
    nodes = name_embeddings(lyrics_model, [genre.name for genre in library.genres])
    make_folder(folder)
    tokenizer_file = folder / TOKENIZER_FILE
    lyrics_model.tokenizer.save(str(tokenizer_file))
    tokenizer = LyricsTokenizer(tokenizer_file, config.max_tokens)
    # It hears and reads only: nothing of the graph is in that.
    network = _on_device(Network(config, lyrics_model.encoder, nodes, torch.eye(len(nodes)), audio_model))
    try:
        with decoder_pool() as decoders:
            extractor = Extractor.of(network, tokenizer, cache, decoders)
            features: dict[Split, Features] = {}
            for split in SPLITS:
                seen = {digest for earlier in features.values() for digest in earlier.digests}
                without = seen if library.assigned else ()
                features[split] = extractor.extract(library, split, folder, without)
        check_shared_audio(
            heard
            for split in SPLITS
            for heard in zip(features[split].tracks, features[split].digests, strict=True)
        )
    except (ManifestError, LeakError):
        # Once the files are mended, they are to be heard anew.
        for split in SPLITS:
            index_file(folder, split).unlink(missing_ok=True)
        raise
    # They were there before tracks were left out.
    if unheard := genres_without_tracks(library.genres, features["train"].labels):
        log.warning("every training track of %s is left out: not learned", ", ".join(unheard))
    for split, so in AFTERWARDS.items():
        if unseen := genres_without_tracks(library.genres, features[split].labels):
            log.warning("no track of split %s has %s: %s", split, ", ".join(unseen), so)
    correlation = correlations(features["train"].labels, nodes)
    return Prepared(lyrics_model, audio_model, nodes, correlation, features)


def _on_device(network: Network) -> Network:
    return network.cuda() if torch.cuda.is_available() else network
