"""`cogenre-train fit`: from a manifest to a checkpoint.

```
<out>.unfinished/    state of a run in progress, from which it resumes; removed when <out> is complete
    run.json         settings and tracks; a run with others is refused
    lyrics/          the little BERT, if the lyrics encoder is one
    features/        features that every process of the run trains on, also after it resumes
    last.ckpt        weights, optimiser and log after the last complete epoch
    best.ckpt        weights of the epoch with the best validation mAP
    metrics.csv      a line per epoch
    tensorboard/     the same for `tensorboard --logdir`
<out>/               the checkpoint
```
Machines that train together must share the parent folder of <out>.
"""

import logging
import shutil
from pathlib import Path

import lightning
from pydantic import BaseModel

from storage.atomic import lock_folder, make_folder, new_folder, refuse_existing, write_text
from storage.errors import OutputError
from trainer.checkpoint import DataSet, Description, save_checkpoint
from trainer.config import TrainingConfig
from trainer.data.library import Library
from trainer.data.read import read_library, require_examples
from trainer.data.splits import artist_digest
from trainer.data.track import SPLITS
from trainer.evaluation.predict import choose_thresholds, measure_with_and_without_lyrics
from trainer.features.cache import Cache
from trainer.features.extract import report_left_out
from trainer.features.prepare import load_or_train_lyrics_model, prepare
from trainer.fit.train import LAST, LOG_FILE, TENSORBOARD_FOLDER, train

RUN_FILE = "run.json"

log = logging.getLogger(__name__)


class Run(BaseModel):
    """The content of `run.json`."""

    config: TrainingConfig
    tracks: str
    """Digest of the tracks, their splits and their genres."""


def fit(
    source: Path,
    config: TrainingConfig,
    out: Path,
    data_set: str | None,
    synthetic: bool,
    cache: Path | None = None,
) -> Description:
    """Train on the library at `source` and write a checkpoint to the new folder `out`, atomically.

    The checkpoint has the weights of the epoch with the best validation mAP. Thresholds are fitted on the
    validation split; the test split is measured once. The same call resumes a stopped run and gives the same
    metrics as an uninterrupted one.

    `data_set` is the data's name; None takes the name of their folder. `cache` is a folder that keeps the
    features computed from files for later runs; with None they are removed at the end. Raises CogenreError.
    """
    refuse_existing(out)
    library = read_library(source)
    data_set = data_set or library.name
    require_examples(library)
    unfinished = out.with_name(f"{out.name}.unfinished")
    _open_run_folder(unfinished, library, config)
    feature_cache = Cache(cache or unfinished / "cache")
    # Of the processes that train together, the first to get the lock computes the features for all.
    with lock_folder(unfinished):
        lyrics_model = load_or_train_lyrics_model(library, config, unfinished / "lyrics")
        prepared = prepare(library, lyrics_model, config.network, feature_cache, unfinished / "features")
    report_left_out(prepared.features.values(), f"; to include files repaired since, remove {unfinished}")
    lightning.seed_everything(config.fit.seed, verbose=False)
    network, features = prepared.build_network(config.network), prepared.features
    if not train(network, features["train"], features["valid"], config.fit, unfinished):
        # Lightning started this process for another device; the first process writes the checkpoint.
        raise SystemExit(0)
    log.info("measuring %d tracks of split test", len(features["test"]))
    thresholds = choose_thresholds(network, features["valid"], config.fit.threshold)
    description = Description(
        config=config,
        genres=library.genres,
        thresholds=tuple(thresholds.tolist()),
        correlations=tuple(tuple(row) for row in prepared.correlation.tolist()),
        data_set=DataSet(
            name=data_set, synthetic=synthetic, tracks={split: len(features[split]) for split in SPLITS}
        ),
        measurements=measure_with_and_without_lyrics(
            network, features["test"], "test", thresholds, library.genres, data_set
        ),
    )
    used_splits = (features["train"], features["valid"])
    trained_on = {digest for split in used_splits for digest in split.digests}
    trained_on |= {
        artist for split in used_splits for track in split.tracks if (artist := artist_digest(track))
    }
    with new_folder(out) as folder:
        shutil.copy(unfinished / LOG_FILE, folder)
        shutil.copytree(unfinished / TENSORBOARD_FOLDER, folder / TENSORBOARD_FOLDER)
        save_checkpoint(folder, description, network.cpu(), lyrics_model.tokenizer, trained_on)
    # Errors are ignored: some file systems (NFS) keep files that are still memory-mapped.
    shutil.rmtree(unfinished, ignore_errors=True)
    report_left_out(features.values())
    return description


def _open_run_folder(unfinished: Path, library: Library, config: TrainingConfig) -> None:
    """Create or check `unfinished`. Raises OutputError if it holds a run of other settings or tracks."""
    run = Run(config=config, tracks=library.identity).model_dump_json(indent=2) + "\n"
    file = unfinished / RUN_FILE
    if not file.exists():
        make_folder(unfinished)
        write_text(file, run)
    elif file.read_text() != run:
        raise OutputError(
            f"{unfinished} holds an unfinished run with other settings or other tracks: "
            "resume it with those, or remove the folder"
        )
    elif (unfinished / LAST).exists():
        log.info("resuming the run in %s after its last complete epoch", unfinished)
