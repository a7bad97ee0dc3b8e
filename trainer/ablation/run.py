"""`cogenre-train ablate`: measures the gain of each part of the method, with equal tracks and epochs.

```
<out>/corpus/              the synthetic corpus, if no other data are given
<out>/lyrics-3f9a…/        the little BERT, trained once and frozen in every run
<out>/runs/full-0.json     a finished run: its configuration and its metrics
<out>/ablation.md, .json   the tables of all finished runs, rewritten after each
<out>/scratch/             features and epochs of the runs in progress
```
A run's file is written atomically. If the command is stopped, only the runs in progress are lost. Start it
again with the same folder, and it does the missing runs. Features are computed once and kept in the cache.
"""

import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from statistics import mean
from typing import Any

import lightning
import torch
from pydantic import ValidationError

from media.cpus import available_cpus
from schemas.errors import ConfigError
from storage.atomic import lock_folder, make_folder, write_text
from storage.errors import OutputError
from trainer.ablation.rows import Result, Run, plan_runs
from trainer.ablation.tables import as_json, as_markdown
from trainer.config import TrainingConfig
from trainer.corpus.build import MANIFEST, build_corpus
from trainer.data.digest import content_digest
from trainer.data.library import Library
from trainer.data.read import read_library, require_examples
from trainer.data.track import SPLITS
from trainer.errors import TrainingError
from trainer.evaluation.metrics import accept_genres, compute_metrics
from trainer.evaluation.predict import choose_thresholds, predict
from trainer.features.cache import Cache
from trainer.features.extract import report_left_out
from trainer.features.prepare import Prepared, load_or_train_lyrics_model, prepare
from trainer.fit.train import train
from trainer.network.lyrics_model import LyricsModel

RUNS, CORPUS, SCRATCH = "runs", "corpus", "scratch"
TABLES_MARKDOWN, TABLES_JSON = "ablation.md", "ablation.json"

TRACKS, CORPUS_SEED = 8000, 12
"""Size and seed of the synthetic corpus."""
CROSSING = 0.5
"""Share of crossed tracks, whose genres can be identified only from the combination of sound and lyrics."""

log = logging.getLogger(__name__)


def ablate(
    source: Path | None, config: TrainingConfig, out: Path, seeds: int, cache: Path, processes: int | None
) -> None:
    """Do the runs missing in `out`, on the tracks of `source`, or of a synthetic corpus if it is None.

    Raises OutputError if `out` holds runs with other settings or other tracks, and TrainingError, after all
    other runs are done, if some runs failed.
    """
    if config.fit.devices not in ("auto", 1) or config.fit.nodes != 1:
        raise ConfigError("each run of an ablation uses one device: remove fit.devices and fit.nodes")
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"devices": 1})})
    if source is None:
        if not (out / CORPUS).exists():
            build_corpus(out / CORPUS, TRACKS, CORPUS_SEED, crossing=CROSSING)
        library = read_library(out / CORPUS / MANIFEST)
    else:
        library = read_library(source)
    require_examples(library)
    tracks = library.identity
    runs = plan_runs(config, seeds)
    stored = {run.name: _read_result(out, run, tracks) for run in runs}
    results = [result for result in stored.values() if result is not None]
    missing = [run for run in runs if stored[run.name] is None]
    processes = processes or (1 if torch.cuda.is_available() else available_cpus())
    about = {
        "data": "a synthetic corpus" if source is None else source.stem,
        "tracks": ", ".join(f"{split} {len(library.in_split(split))}" for split in SPLITS),
        "genres": len(library.genres),
        "machine": _describe_machine(),
        "runs at once": processes,
    }
    runner = _Runner(library, config, out, cache, tracks)
    failed: list[str] = []
    for count, (run, result) in enumerate(_do_runs(runner, missing, processes), start=1):
        if isinstance(result, TrainingError):
            log.warning("%s, seed %d failed: %s; the other runs continue", run.row, run.seed, result)
            failed.append(run.name)
            continue
        results.append(result)
        seconds = mean(result.seconds for result in results[-count:])
        seconds_left = seconds * (len(missing) - count) / processes
        log.info(
            "%s, seed %d: accuracy %.3f, F1 %.3f. %d of %d runs done, about %d minutes left",
            *(result.row, result.seed, result.metrics["accuracy"], result.metrics["f1"]),
            *(len(results), len(runs), round(seconds_left / 60)),
        )
        _write_tables(out, results, about, config)
    if results:
        _write_tables(out, results, about, config)
    if failed:
        raise TrainingError(
            f"runs failed and are missing from the tables: {', '.join(failed)}. "
            "The warnings above name the reasons and the remedies"
        )


def _describe_machine() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{available_cpus()} CPU cores"


def _write_tables(
    out: Path, results: Sequence[Result], about: Mapping[str, Any], config: TrainingConfig
) -> None:
    seconds = [result.seconds for result in results]
    facts = {
        **about,
        "epochs": config.fit.epochs,
        "runs": len(results),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "time": f"{sum(seconds) / 60 / int(about['runs at once']):.0f} minutes of runs, "
        f"{mean(seconds):.0f} s each",
    }
    weight = config.fit.contrastive_weight
    write_text(out / TABLES_JSON, as_json(results, facts, weight))
    write_text(out / TABLES_MARKDOWN, as_markdown(results, facts, weight))


def _read_result(out: Path, run: Run, tracks: str) -> Result | None:
    """Return the stored result of a run; None if it has not been done.

    Raises OutputError if the file is damaged, or was made with other settings or tracks.
    """
    path = _result_file(out, run)
    if not path.exists():
        return None
    try:
        result = Result.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(f"{path} is not the result of a run: remove it, and the run is repeated") from error
    for what, is_equal in (("settings", result.config == run.config), ("tracks", result.tracks == tracks)):
        if not is_equal:
            raise OutputError(
                f"{path} was made with other {what}: choose another folder, or remove {out / RUNS}"
            )
    return result


def _result_file(out: Path, run: Run) -> Path:
    """Return the file of a run's result."""
    return out / RUNS / f"{run.name}.json"


class _Runner:
    """Trains and measures the runs in one process, on one library."""

    def __init__(self, library: Library, config: TrainingConfig, out: Path, cache: Path, tracks: str) -> None:
        self.library, self.config, self.out, self.cache, self.tracks = library, config, out, cache, tracks

    @property
    def scratch(self) -> Path:
        """Folder of features and epochs."""
        return self.out / SCRATCH

    def prepare_library(self) -> Prepared:
        """Return the library with its features, computed or from the cache."""
        network = self.config.network
        with lock_folder(self.scratch):
            return prepare(
                self.library, self._lyrics_model(), network, Cache(self.cache), self.scratch / "features"
            )

    def _lyrics_model(self) -> LyricsModel:
        config = self.config.network
        key = content_digest(config.model_dump_json(include={"lyrics_model", "max_tokens"}), self.tracks)
        return load_or_train_lyrics_model(self.library, self.config, self.out / f"lyrics-{key[:12]}")

    def do_run(self, run: Run, prepared: Prepared) -> Result | TrainingError:
        """Return the run's result, or its error: a seed that diverges does not end the other runs."""
        try:
            return self._train_and_measure(run, prepared)
        except TrainingError as error:
            return error

    def _train_and_measure(self, run: Run, prepared: Prepared) -> Result:
        """Train and measure a network, and store the result. Raises TrainingError."""
        started = time.monotonic()
        features, fit = prepared.features, run.config.fit
        lightning.seed_everything(run.seed, verbose=False)
        network = prepared.build_network(run.config.network)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            train(network, features["train"], features["valid"], fit, Path(folder), show_progress=False)
        thresholds = choose_thresholds(network, features["valid"], fit.threshold)
        probabilities = predict(network, features["test"])
        accepted = accept_genres(probabilities, thresholds, self.library.genres)
        result = Result(
            row=run.row,
            seed=run.seed,
            config=run.config,
            tracks=self.tracks,
            metrics=compute_metrics(probabilities, accepted, features["test"].labels),
            seconds=round(time.monotonic() - started, 1),
        )
        write_text(_result_file(self.out, run), result.model_dump_json(indent=2) + "\n")
        return result


Outcome = tuple[Run, Result | TrainingError]
"""A run with its result, or with the error that ended it."""


def _do_runs(runner: _Runner, runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    """Yield the outcome of each run when it ends. With several processes, each process uses one thread."""
    if not runs:
        return
    make_folder(runner.out / RUNS)
    # Remove what a killed command left.
    shutil.rmtree(runner.scratch, ignore_errors=True)
    runner.scratch.mkdir()
    try:
        # Before the processes start, so that they load the features from the cache.
        prepared = runner.prepare_library()
        report_left_out(prepared.features.values())
        if processes == 1:
            for run in runs:
                yield run, runner.do_run(run, prepared)
        else:
            yield from _do_runs_in_processes(runner, runs, processes)
    finally:
        shutil.rmtree(runner.scratch, ignore_errors=True)


def _do_runs_in_processes(runner: _Runner, runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    """Yield the outcomes of runs in parallel processes, in the order in which they end."""
    # Spawned, not forked: a fork would copy locks that torch's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _init_process, (runner,)) as pool:
        try:
            run_of = {pool.submit(_run, run): run for run in runs}
            for future in as_completed(run_of):
                yield run_of[future], future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process was killed, probably because memory ran out: lower --processes"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_process_state: tuple[_Runner, Prepared]
"""Runner and prepared library of this process; set by `_init_process` in each process of the pool."""


def _init_process(runner: _Runner) -> None:
    """Prepare a process of the pool for `_run`."""
    global _process_state
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _process_state = (runner, runner.prepare_library())


def _exit_with_parent() -> None:
    """Exit when the parent process ends: if it is killed, its children would wait for runs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(run: Run) -> Result | TrainingError:
    runner, prepared = _process_state
    return runner.do_run(run, prepared)
