"""`cogenre models …` and `cogenre backfill`"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.cli.output import print_rows

app = typer.Typer(no_args_is_help=True, help="Models: shadow, current, retired.")

Model = Annotated[str, typer.Argument(help="NAME:VERSION.", metavar="MODEL")]
Unserved = Annotated[bool, typer.Option("--unserved", help="Proceed even if no worker serves the model.")]


def register(cogenre: typer.Typer) -> None:
    cogenre.add_typer(app, name="models")
    cogenre.command()(backfill)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")] = False,
) -> None:
    """List the models with their coverage and agreement with the current model, as of the last refresh."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.lifecycle import list_models as read_models

    print_rows(read_models(open_catalog()), as_json, "no model is registered")


@app.command()
def add(bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")]) -> None:
    """Register a bundle as a shadow: it classifies, but its labels are not shown.

    The first model of a catalog becomes the current one.
    """
    from schemas.bundle import artefact_sha256, read_bundle
    from worker.catalog.connect import open_catalog
    from worker.catalog.lifecycle import read_model_status
    from worker.catalog.models import register_model

    manifest = read_bundle(bundle)
    engine = open_catalog()
    register_model(engine, manifest, artefact_sha256(bundle))
    Console(highlight=False).print(f"{manifest.label} is {read_model_status(engine, manifest.label)}")


@app.command()
def promote(
    model: Model,
    min_coverage: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Minimum share of classified tracks whose shown input the model has classified.",
        ),
    ] = 0.95,
    unserved: Unserved = False,
) -> None:
    """Show a model's labels instead of those of the current model, for all tracks in one transaction.

    Workers may continue. A track keeps its labels if the model has not classified its newest audio
    and lyrics. If the command is interrupted, run it again to continue.
    """
    from worker.catalog.connect import open_catalog
    from worker.catalog.lifecycle import promote
    from worker.catalog.models import check_served

    engine = open_catalog()
    if not unserved:
        check_served(engine, model)
    promotion = promote(engine, model, min_coverage)
    Console(highlight=False, soft_wrap=True).print(
        f"{model} is current: {promotion.moved:,} tracks show its labels, {promotion.kept:,} those of an "
        "older model; run `cogenre catalog refresh`"
    )


@app.command()
def retire(model: Model) -> None:
    """Retire a shadow: it is no longer backfilled or promoted. Its results are kept."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.lifecycle import retire

    retire(open_catalog(), model)
    Console(highlight=False).print(f"{model} is retired")


def backfill(
    model: Annotated[str, typer.Option(help="NAME:VERSION of the model.")],
    rate: Annotated[float, typer.Option(min=0.1, help="Maximum number of tracks per second.")] = 200,
    max_waiting: Annotated[
        int,
        typer.Option(
            min=1,
            help="Pause while this many jobs wait in the queue, to limit Redis's memory.",
        ),
    ] = 10_000,
    after: Annotated[str, typer.Option(help="Start after this track id.")] = "",
    unserved: Unserved = False,
) -> None:
    """Enqueue all tracks that a model has not classified. New tracks are always served first.

    The command can be interrupted: the next run skips tracks that have been classified.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.jobs import QUEUE_BACKFILL
    from worker.catalog.connect import open_catalog
    from worker.catalog.models import check_served
    from worker.queue.backfill import Backfill
    from worker.queue.broker import check_broker
    from worker.queue.celery_app import celery_app
    from worker.queue.status import QueueMonitor
    from worker.settings import BrokerSettings

    settings = BrokerSettings.load()
    engine = open_catalog()
    run = Backfill(engine, celery_app(settings), model, after)
    if not unserved:
        check_served(engine, model)
    check_broker(settings)
    monitor = QueueMonitor(settings)
    columns = (TextColumn("enqueued"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("enqueued", total=run.count_remaining())
        try:
            total = run.run(
                rate,
                lambda: monitor.read_state().queues[QUEUE_BACKFILL].waiting,
                max_waiting,
                lambda jobs: progress.advance(task, jobs),
            )
        except KeyboardInterrupt:
            console.print(f"interrupted; continue with --after {run.after!r}")
            raise
    console.print(f"enqueued {total:,} tracks for {model}")
