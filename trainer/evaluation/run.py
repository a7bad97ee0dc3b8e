"""`cogenre-train evaluate`: from a checkpoint and labelled tracks to a folder with a report.

```
report.json    all results
report.md      their tables
report.html    one self-contained page with charts
```
"""

import logging
import tempfile
from collections import Counter
from pathlib import Path

import torch

from storage.atomic import new_folder
from trainer.checkpoint import load_checkpoint
from trainer.data.library import Library
from trainer.data.read import read_library
from trainer.data.track import Split
from trainer.errors import ManifestError
from trainer.evaluation.bootstrap import LEVEL
from trainer.evaluation.calibration import compute_calibration
from trainer.evaluation.findings import Findings
from trainer.evaluation.genre_pairs import compare_graphs, count_confusions
from trainer.evaluation.markdown import render_markdown
from trainer.evaluation.measure import ScoredSplit, measure_split
from trainer.evaluation.page import render_html
from trainer.evaluation.predict import predict
from trainer.features.cache import Cache
from trainer.features.extract import Extractor, decoder_pool, report_left_out

JSON_FILE, MARKDOWN_FILE, PAGE_FILE = "report.json", "report.md", "report.html"

log = logging.getLogger(__name__)


def evaluate(
    checkpoint_folder: Path,
    source: Path,
    split: Split,
    out: Path,
    data_set: str | None,
    resamples: int,
    seed: int,
    cache: Path | None = None,
) -> Findings:
    """Measure a checkpoint on a split of the library at `source`, and write the folder `out`.

    The same arguments give the same results. `data_set` and `cache` are as in `fit`. Raises CogenreError.
    """
    checkpoint = load_checkpoint(checkpoint_folder)
    description, network = checkpoint.description, checkpoint.network
    library = read_library(source, description.genres)
    _require_tracks(library, split)
    with (
        new_folder(out) as folder,
        tempfile.TemporaryDirectory(prefix=".features.", dir=out.parent) as scratch,
    ):
        if torch.cuda.is_available():
            network.cuda()
        # Splits that are assigned again, over other tracks, may put training tracks into the test split.
        trained_on = checkpoint.trained_on if split == "test" else ()
        with decoder_pool() as decoders:
            feature_cache = Cache(cache or Path(scratch) / "cache")
            extractor = Extractor.for_network(network, checkpoint.tokenizer, feature_cache, decoders)
            features = extractor.extract(library, split, Path(scratch), trained_on)
        log.info("classifying %d tracks, with lyrics and with lyrics dropped", len(features))
        scored = ScoredSplit(
            genres=description.genres,
            thresholds=torch.tensor(description.thresholds),
            probabilities=predict(network, features),
            lyrics_dropped=predict(network, features, with_lyrics=False),
            labels=features.labels,
            has_lyrics=torch.from_numpy(features.mask).any(1),
        )
        groups, genres = measure_split(scored, resamples, seed)
        with torch.no_grad():
            vectors = network.genre_vectors().cpu()
        findings = Findings(
            trained_on=description.data_set.name,
            synthetic=description.data_set.synthetic,
            data_set=data_set or library.name,
            split=split,
            tracks=len(features),
            left_out=dict(Counter(features.left_out)),
            resamples=resamples,
            level=LEVEL,
            seed=seed,
            groups=tuple(groups),
            genres=tuple(genres),
            calibration=compute_calibration(scored.probabilities, scored.labels),
            confusions=count_confusions(scored.accepted, scored.labels, description.genres),
            graphs=compare_graphs(torch.tensor(description.correlations), vectors, scored.labels),
        )
        (folder / JSON_FILE).write_text(findings.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / MARKDOWN_FILE).write_text(render_markdown(findings), encoding="utf-8")
        (folder / PAGE_FILE).write_text(render_html(findings), encoding="utf-8")
    missing = [finding.genre.slug for finding in genres if not finding.tracks]
    if missing:
        log.warning(
            "no track of split %s has %s: each counts as 0 in macro_f1 and is left out of map and roc_auc",
            split,
            ", ".join(missing),
        )
    report_left_out([features])
    return findings


def _require_tracks(library: Library, split: Split) -> None:
    count = len(library.in_split(split))
    if count < 2:
        raise ManifestError(
            f"split {split} has {count} of {len(library.tracks)} tracks, and at least two are needed: "
            "assign tracks to this split in the manifest, or choose another with --split"
        )
