"""An adopted checkpoint as a bundle, the folder that `schemas.bundle` describes."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from exporter.adopt.card import adopted_card
from exporter.adopt.check import LARGEST_DIFFERENCE, ORIGINAL, Windows, measure_parity, pipeline_of
from exporter.adopt.graph import export_adopted
from exporter.adopt.source import Source
from exporter.adopt.taxonomy import Taxonomy, mapped
from exporter.adopt.thresholds import fit_thresholds
from exporter.bundle import GRAPH_FILE, PACKAGES, TOKENIZER_FILE, check_label, compared, seal
from media.errors import MediaError
from media.source import BytesSource
from schemas.bundle import AudioInput, BundleManifest, LyricsInput, sha256_of
from storage.atomic import new_folder
from trainer.data.library import Library
from trainer.data.read import read_listed
from trainer.errors import UnreadableFile
from trainer.features.extract import decoder_pool
from trainer.network.feature_extractors import window_seconds

UNFITTED = 0.5
"""The threshold of every genre where no labelled tracks are given."""

RAW_SECONDS = 10.0
"""Window of a network that window_seconds the waveform itself, and so any length."""

COMPARED = 8
"""Of the labelled tracks, at most, on which the graph is compared with the checkpoint."""

NO_LYRICS = LyricsInput(tokenizer=TOKENIZER_FILE, max_tokens=1, buckets=(1,), languages=())


@dataclass(frozen=True)
class Listening:
    """How tracks are cut."""

    windows: int = 3
    """Of a track, at most."""
    seconds: float | None = None
    """Of a window; None = what the feature extractor takes at once."""


def adopt(
    source: Source,
    out: Path,
    name: str,
    version_: str,
    taxonomy: Taxonomy,
    listening: Listening,
    valid: Path | None = None,
) -> BundleManifest:
    """Write the bundle to the folder `out`, complete or not at all.

    Raises AudioModelError, TaxonomyError, BundleNameError, ParityError, OutputError, ManifestError.
    """
    check_label(name, version_)
    mapping = mapped(source.labels, taxonomy)
    audio = AudioInput(
        sample_rate=source.sample_rate,
        window_seconds=listening.seconds or window_seconds(source.extractor) or RAW_SECONDS,
        windows=listening.windows,
        picking="spread",
    )
    # Before the export, which takes long.
    library = read_listed(valid, mapping.genres) if valid else None
    with new_folder(out) as folder:
        graph = folder / GRAPH_FILE
        width = export_adopted(source, mapping, audio.window_samples, graph)
        recordings = _recordings(library, audio) if library else ()
        parity = measure_parity(source, mapping, audio, graph, recordings)
        fitted = fit_thresholds(library, audio, graph) if library else None
        # The contract wants a tokenizer; nothing is tokenised with this one.
        Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / TOKENIZER_FILE))  # noqa: S106
        draft = BundleManifest(
            manifest_version=1,
            name=name,
            version=version_,
            genres=mapping.genres,
            thresholds=fitted.thresholds if fitted else (UNFITTED,) * len(mapping.genres),
            correlations=tuple(map(tuple, np.eye(len(mapping.genres)).tolist())),
            audio=audio,
            lyrics=NO_LYRICS,
            embedding_width=width,
            graphs={"fp32": GRAPH_FILE},
            files={file: sha256_of(folder / file) for file in (GRAPH_FILE, TOKENIZER_FILE)},
            measurements=(fitted.measurement,) if fitted else (),
            parity=parity,
            weights=source.weights,
            made_with={package: version(package) for package in PACKAGES},
        )
        pipeline = pipeline_of(source, mapping)
        draft = compared(folder, draft, ORIGINAL, pipeline, lambda _: LARGEST_DIFFERENCE)
        return seal(folder, draft, adopted_card(draft, source.weights))


def _recordings(library: Library, audio: AudioInput) -> Iterator[Windows]:
    """Windows of real tracks. Those that cannot be read are reported when thresholds are fitted."""
    with decoder_pool(1) as decoders:
        for track in library.tracks[:COMPARED]:
            with suppress(MediaError, UnreadableFile):
                yield decoders.decode(BytesSource(library.load_audio(track)), audio).windows
