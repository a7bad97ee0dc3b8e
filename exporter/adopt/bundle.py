"""Writes an adopted checkpoint as a bundle, the folder that `schemas.bundle` describes."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from exporter.adopt.card import adopted_card
from exporter.adopt.graph import export_adopted
from exporter.adopt.parity import MAX_DIFFERENCE, ORIGINAL, Windows, measure_parity, pipeline_scores
from exporter.adopt.source import Source
from exporter.adopt.taxonomy import Taxonomy, map_labels
from exporter.adopt.thresholds import fit_thresholds
from exporter.bundle import (
    GRAPH_FILE,
    PACKAGES,
    TOKENIZER_FILE,
    add_product_parity,
    validate_name_and_version,
    write_card_and_manifest,
)
from media.errors import MediaError
from media.source import BytesSource
from schemas.bundle import AudioInput, BundleManifest, LyricsInput, sha256_of
from storage.atomic import new_folder
from trainer.data.library import Library
from trainer.data.read import read_listed
from trainer.errors import UnreadableFile
from trainer.features.extract import decoder_pool
from trainer.network.feature_extractors import window_seconds

DEFAULT_THRESHOLD = 0.5
"""Threshold of every genre if there are no labelled tracks to fit thresholds on."""

DEFAULT_WINDOW_SECONDS = 10.0
"""Window of a network whose input is the waveform, which may have any length."""

MAX_COMPARED_TRACKS = 8
"""Number of labelled tracks on which the graph is compared with the checkpoint."""

NO_LYRICS = LyricsInput(tokenizer=TOKENIZER_FILE, max_tokens=1, buckets=(1,), languages=())


@dataclass(frozen=True)
class WindowOptions:
    """How tracks are cut into windows."""

    windows: int = 3
    """Maximum number of windows of a track."""
    seconds: float | None = None
    """Length of a window; None: the length that the feature extractor processes at once."""


def adopt(
    source: Source,
    out: Path,
    name: str,
    version_: str,
    taxonomy: Taxonomy,
    window_options: WindowOptions,
    valid: Path | None = None,
) -> BundleManifest:
    """Write the bundle atomically to the folder `out`; return its manifest. Thresholds are fitted on `valid`.

    Raises AudioModelError, TaxonomyError, BundleNameError, ParityError, OutputError, ManifestError.
    """
    validate_name_and_version(name, version_)
    mapping = map_labels(source.labels, taxonomy)
    audio = AudioInput(
        sample_rate=source.sample_rate,
        window_seconds=window_options.seconds or window_seconds(source.extractor) or DEFAULT_WINDOW_SECONDS,
        windows=window_options.windows,
        picking="spread",
    )
    # Read now, so that errors are raised before the long export.
    library = read_listed(valid, mapping.genres) if valid else None
    with new_folder(out) as folder:
        graph = folder / GRAPH_FILE
        width = export_adopted(source, mapping, audio.window_samples, graph)
        recordings = _recordings(library, audio) if library else ()
        parity = measure_parity(source, mapping, audio, graph, recordings)
        fitted = fit_thresholds(library, audio, graph) if library else None
        # The manifest requires a tokenizer. This one is never used.
        Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(folder / TOKENIZER_FILE))  # noqa: S106
        draft = BundleManifest(
            manifest_version=1,
            name=name,
            version=version_,
            genres=mapping.genres,
            thresholds=fitted.thresholds if fitted else (DEFAULT_THRESHOLD,) * len(mapping.genres),
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
        pipeline = pipeline_scores(source, mapping)
        draft = add_product_parity(folder, draft, ORIGINAL, pipeline, lambda _: MAX_DIFFERENCE)
        return write_card_and_manifest(folder, draft, adopted_card(draft, source.weights))


def _recordings(library: Library, audio: AudioInput) -> Iterator[Windows]:
    """Yield the windows of the first tracks that can be read. `fit_thresholds` logs the others."""
    with decoder_pool(1) as decoders:
        for track in library.tracks[:MAX_COMPARED_TRACKS]:
            with suppress(MediaError, UnreadableFile):
                yield decoders.decode(BytesSource(library.load_audio(track)), audio).windows
