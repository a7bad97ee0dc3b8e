"""`cogenre models …` and `cogenre backfill`"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.cli.output import show

app = typer.Typer(no_args_is_help=True, help="Models, from shadow to current to retired.")

Model = Annotated[str, typer.Argument(help="NAME:VERSION.", metavar="MODEL")]
Unserved = Annotated[bool, typer.Option("--unserved", help="Even if no worker serves the model.")]


def register(cogenre: typer.Typer) -> None:
    cogenre.add_typer(app, name="models")
    cogenre.command()(backfill)


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
) -> None:
    """The models with their coverage, and how far they agree with the current one; as of the last refresh."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.lifecycle import models
    from worker.settings import CatalogSettings

    show(models(connect_migrated(CatalogSettings.load())), as_json, "no model is registered yet")


@app.command()
def add(bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")]) -> None:
    """Make a bundle known to the catalog as a shadow: it classifies, and is not shown.

    The first model of a catalog is the current one.
    """
    from schemas.bundle import artefact_sha256, read_bundle
    from worker.catalog.connect import connect_migrated
    from worker.catalog.lifecycle import status
    from worker.catalog.models import register_model
    from worker.settings import CatalogSettings

    manifest = read_bundle(bundle)
    engine = connect_migrated(CatalogSettings.load())
    register_model(engine, manifest, artefact_sha256(bundle))
    Console(highlight=False).print(f"{manifest.label} is {status(engine, manifest.label)}")


@app.command()
def promote(
    model: Model,
    least_coverage: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the labelled tracks that it must have classified as they are now."
        ),
    ] = 0.95,
    unserved: Unserved = False,
) -> None:
    """Show a model's labels instead of the current one's: all at once, in one transaction.

    Workers go on meanwhile. A track of which the model has not classified the newest master keeps its labels.
    If it is broken off, the same command takes it up.
    """
    from worker.catalog.connect import connect_migrated
    from worker.catalog.lifecycle import promote
    from worker.catalog.models import check_served
    from worker.settings import CatalogSettings

    engine = connect_migrated(CatalogSettings.load())
    if not unserved:
        check_served(engine, model)
    done = promote(engine, model, least_coverage)
    Console(highlight=False, soft_wrap=True).print(
        f"{model} is current: {done.moved:,} tracks show its labels, {done.left:,} those of an older model; "
        "run `cogenre catalog refresh`"
    )


@app.command()
def retire(model: Model) -> None:
    """Let a shadow go: it is neither promoted nor backfilled any more."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.lifecycle import retire
    from worker.settings import CatalogSettings

    retire(connect_migrated(CatalogSettings.load()), model)
    Console(highlight=False).print(f"{model} is retired")


def backfill(
    model: Annotated[str, typer.Option(help="NAME:VERSION of the model that is to label the catalog.")],
    rate: Annotated[float, typer.Option(min=0.1, help="Tracks a second, at most.")] = 200,
    most_waiting: Annotated[
        int, typer.Option(min=1, help="Pause while as many wait in the queue; the broker's memory is finite.")
    ] = 10_000,
    after: Annotated[str, typer.Option(help="Go on after this track id.")] = "",
    unserved: Unserved = False,
) -> None:
    """Enqueue all tracks that a model has not classified. New tracks are served first, always.

    It may be broken off: the next run passes over what has been classified.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from schemas.jobs import QUEUE_BACKFILL
    from worker.catalog.connect import connect_migrated
    from worker.catalog.models import check_served
    from worker.queue.backfill import Backfill
    from worker.queue.broker import check_broker
    from worker.queue.celery_app import celery_app
    from worker.queue.status import QueueMonitor
    from worker.settings import BrokerSettings, CatalogSettings

    settings = BrokerSettings.load()
    engine = connect_migrated(CatalogSettings.load())
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
                most_waiting,
                lambda jobs: progress.advance(task, jobs),
            )
        except KeyboardInterrupt:
            console.print(f"broken off; go on with --after {run.after!r}")
            raise
    console.print(f"enqueued {total:,} tracks for {model}")
