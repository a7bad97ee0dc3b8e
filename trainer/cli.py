"""`cogenre-train`: from labelled tracks to a checkpoint."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from schemas.errors import CogenreError
from storage.atomic import refuse_existing
from trainer.command import run
from trainer.config import PresetName, preset
from trainer.data.track import Split
from trainer.errors import ManifestError
from trainer.features.cache import user_cache

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Trains a genre model."
)
console = Console(stderr=True)


@app.callback()
def _train() -> None:
    """Trains a genre model."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    logging.getLogger("trainer").setLevel(logging.INFO)


@app.command()
def fit(
    source: Annotated[
        Path,
        typer.Argument(
            help="Labelled tracks: a manifest (.csv, .jsonl, .parquet), or a folder in Music4All's layout."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; must not exist yet.")],
    preset_: Annotated[PresetName, typer.Option("--preset", help="Where the settings start from.")] = "paper",
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set fit.epochs=N.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Short for --set fit.seed=N.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. fit.batch=32.")
    ] = None,
    data_set: Annotated[
        str | None,
        typer.Option(help="The data's name in the model card; the folder's if not given."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what is computed of the files; the user's cache if not given."),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="The music was made by a program; the model card says so.")
    ] = False,
) -> None:
    """Train on labelled tracks and write a checkpoint."""
    overrides = list(set_ or [])
    overrides += [
        f"fit.{key}={value}" for key, value in (("epochs", epochs), ("seed", seed)) if value is not None
    ]
    config = preset(preset_, overrides)
    refuse_existing(out)
    if not source.exists():
        raise ManifestError(f"there is no {source}: give a manifest, or a folder in Music4All's layout")
    # Torch takes seconds to import: not for a wrong setting.
    from trainer.fit.run import fit as run_fit

    description = run_fit(source, config, out, data_set, synthetic, cache or user_cache())
    with_lyrics, without = description.measurements
    table = Table("on the test split", "with lyrics", "lyrics withheld")
    for name, value in with_lyrics.metrics.items():
        table.add_row(name, f"{value:.3f}", f"{without.metrics[name]:.3f}")
    Console().print(table, f"checkpoint written to {out}")


@app.command()
def ablate(
    out: Annotated[Path, typer.Argument(help="Folder of the results; a folder begun before is carried on.")],
    source: Annotated[
        Path | None, typer.Option(help="Labelled tracks, as for fit; the preset is then paper.")
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="On a corpus made for it; the preset is then ablation.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every row; the sweep of λ has one.")] = 3,
    preset_: Annotated[PresetName | None, typer.Option("--preset", help="Where the settings start.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. fit.epochs=3.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; one a CPU if not given, one where a GPU is.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is computed of the files; else the user's.")
    ] = None,
) -> None:
    """Measure what each part of the method adds: its eight combinations, two baselines, a sweep of λ."""
    if (source is None) != synthetic:
        raise typer.BadParameter("give either --synthetic or --source")
    config = preset(preset_ or ("ablation" if synthetic else "paper"), list(set_ or []))
    from trainer.ablation import run as ablation

    ablation.ablate(source, config, out, seeds, cache or user_cache(), processes)
    Console().print(f"tables written to {out / ablation.TABLES_MARKDOWN}")


@app.command()
def corpus(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not exist yet.")],
    tracks: Annotated[int, typer.Option(min=1, help="How many tracks.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 7,
    crossing: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of tracks whose genres only sound and words together tell."),
    ] = 0.0,
) -> None:
    """Synthesise a labelled corpus: audio, lyrics and a manifest to fit on."""
    from trainer.corpus.build import build_corpus

    build_corpus(out, tracks, seed, crossing=crossing)
    console.print(f"{tracks} tracks written: fit on {out / 'manifest.jsonl'}")


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that cogenre-train fit wrote.")],
    source: Annotated[Path, typer.Argument(help="Labelled tracks, as for fit, of the checkpoint's genres.")],
    out: Annotated[Path, typer.Option(help="Folder of the report; must not exist yet.")],
    split: Annotated[Split, typer.Option(help="Which of the tracks are measured.")] = "test",
    resamples: Annotated[
        int, typer.Option(min=1, help="Bootstrap resamples of the tracks behind each interval.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples: the same gives the same.")] = 0,
    data_set: Annotated[
        str | None, typer.Option(help="The data's name in the report; the folder's if not given.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps what is computed of the files; the user's cache if not given."),
    ] = None,
) -> None:
    """Measure a checkpoint: metrics with intervals, by genre, with lyrics and without, as a report."""
    refuse_existing(out)
    # Torch takes seconds to import: not for a folder that exists.
    from trainer.evaluation import run as evaluation
    from trainer.evaluation.page import SHOWN
    from trainer.evaluation.wording import interval_text, value_text

    found = evaluation.evaluate(
        checkpoint, source, split, out, data_set, resamples, seed, cache or user_cache()
    )
    table = Table(f"{found.level:.0%} intervals", *SHOWN)
    for group in found.groups:
        estimates = [group.metrics[name] for name in SHOWN]
        table.add_row(group.name, *(f"{value_text(one.value)}\n{interval_text(one)}" for one in estimates))
    Console().print(table, f"report written to {out / evaluation.PAGE_FILE}")


def main() -> None:
    """The console script."""
    run(app, "cogenre-train", CogenreError)
