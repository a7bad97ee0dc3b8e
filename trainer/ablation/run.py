"""`cogenre-train ablate`: what each part of the method adds, on the same tracks and with the same budget.

```
<out>/corpus/              the synthetic corpus, if no other data are given
<out>/lyrics-3f9a…/        the little BERT, trained once and frozen in every run
<out>/runs/full-0.json     a finished run: its configuration and its metrics
<out>/ablation.md, .json   the tables of all finished runs, rewritten after each
<out>/scratch/             features and epochs of the runs in progress
```
A run's file is written atomically. Stopping the command loses only the runs in progress: started again with
the same folder, it does the missing runs. Features are computed once and kept in the cache.
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
from trainer.ablation.rows import Result, Run, planned
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
CROSSING = 0.5
"""Share of crossed tracks: neither sound, nor lyrics, nor their sum separates the crossed genres."""

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
    runs = planned(config, seeds)
    found = {run.name: _read(out, run, tracks) for run in runs}
    results = [result for result in found.values() if result is not None]
    waiting = [run for run in runs if found[run.name] is None]
    processes = processes or (1 if torch.cuda.is_available() else available_cpus())
    about = {
        "data": "a synthetic corpus" if source is None else source.stem,
        "tracks": ", ".join(f"{split} {len(library.in_split(split))}" for split in SPLITS),
        "genres": len(library.genres),
        "machine": _machine(),
        "runs at once": processes,
    }
    bench = _Bench(library, config, out, cache, tracks)
    failed: list[str] = []
    for count, (run, result) in enumerate(_finished(bench, waiting, processes), start=1):
        if isinstance(result, TrainingError):
            log.warning("%s, seed %d: %s", run.row, run.seed, result)
            failed.append(run.name)
            continue
        results.append(result)
        seconds = mean(result.seconds for result in results[-count:])
        left = seconds * (len(waiting) - count) / processes
        log.info(
            "%s, seed %d: accuracy %.3f, F1 %.3f. %d of %d runs done, about %d minutes left",
            *(result.row, result.seed, result.metrics["accuracy"], result.metrics["f1"]),
            *(len(results), len(runs), round(left / 60)),
        )
        _write_tables(out, results, about, config)
    if results:
        _write_tables(out, results, about, config)
    if failed:
        raise TrainingError(
            f"runs failed and are missing from the tables: {', '.join(failed)}. The warnings have the reasons"
        )


def _machine() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{available_cpus()} CPU cores"


def _write_tables(
    out: Path, results: Sequence[Result], about: Mapping[str, Any], config: TrainingConfig
) -> None:
    seconds = [result.seconds for result in results]
    known = {
        **about,
        "epochs": config.fit.epochs,
        "runs": len(results),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "time": f"{sum(seconds) / 60 / int(about['runs at once']):.0f} minutes of runs, "
        f"{mean(seconds):.0f} s each",
    }
    weight = config.fit.contrastive_weight
    write_text(out / TABLES_JSON, as_json(results, known, weight))
    write_text(out / TABLES_MARKDOWN, as_markdown(results, known, weight))


def _read(out: Path, run: Run, tracks: str) -> Result | None:
    path = _file(out, run)
    if not path.exists():
        return None
    try:
        result = Result.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise OutputError(f"{path} is not the result of a run: remove it") from error
    for what, same in (("settings", result.config == run.config), ("tracks", result.tracks == tracks)):
        if not same:
            raise OutputError(
                f"{path} was made with other {what}: choose another folder, or remove {out / RUNS}"
            )
    return result


def _file(out: Path, run: Run) -> Path:
    return out / RUNS / f"{run.name}.json"


class _Bench:
    """Trains and measures the runs in one process, on one library."""

    def __init__(self, library: Library, config: TrainingConfig, out: Path, cache: Path, tracks: str) -> None:
        self.library, self.config, self.out, self.cache, self.tracks = library, config, out, cache, tracks

    @property
    def scratch(self) -> Path:
        return self.out / SCRATCH

    def prepared(self) -> Prepared:
        network = self.config.network
        with lock_folder(self.scratch):
            return prepare(
                self.library, self._lyrics_model(), network, Cache(self.cache), self.scratch / "features"
            )

    def _lyrics_model(self) -> LyricsModel:
        config = self.config.network
        key = content_digest(config.model_dump_json(include={"lyrics_model", "max_tokens"}), self.tracks)
        return load_or_train_lyrics_model(self.library, self.config, self.out / f"lyrics-{key[:12]}")

    def outcome(self, run: Run, prepared: Prepared) -> Result | TrainingError:
        """Return the run's result, or its error: a seed that diverges does not end the other runs."""
        try:
            return self._done(run, prepared)
        except TrainingError as error:
            return error

    def _done(self, run: Run, prepared: Prepared) -> Result:
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
        write_text(_file(self.out, run), result.model_dump_json(indent=2) + "\n")
        return result


Outcome = tuple[Run, Result | TrainingError]


def _finished(bench: _Bench, runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    """Yield the outcomes of the runs as they finish. With several processes each uses one thread."""
    if not runs:
        return
    make_folder(bench.out / RUNS)
    # Left by a killed run.
    shutil.rmtree(bench.scratch, ignore_errors=True)
    bench.scratch.mkdir()
    try:
        # Before the processes start, so that each of them finds the features in the cache.
        prepared = bench.prepared()
        report_left_out(prepared.features.values())
        if processes == 1:
            for run in runs:
                yield run, bench.outcome(run, prepared)
        else:
            yield from _side_by_side(bench, runs, processes)
    finally:
        shutil.rmtree(bench.scratch, ignore_errors=True)


def _side_by_side(bench: _Bench, runs: Sequence[Run], processes: int) -> Iterator[Outcome]:
    # Spawned, not forked: a fork would copy locks that torch's threads hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (bench,)) as pool:
        try:
            waiting = {pool.submit(_run, run): run for run in runs}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process was killed, probably because memory ran out: lower --processes"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_desk: tuple[_Bench, Prepared]
"""A process's own."""


def _start(bench: _Bench) -> None:
    global _desk
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _desk = (bench, bench.prepared())


def _leave_with_parent() -> None:
    """A parent that is killed cannot tell its children, and they would wait for runs for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _run(run: Run) -> Result | TrainingError:
    bench, prepared = _desk
    return bench.outcome(run, prepared)
