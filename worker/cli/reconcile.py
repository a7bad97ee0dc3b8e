"""`cogenre reconcile`"""

from time import sleep
from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    app.command()(reconcile)


def reconcile(
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Again after so many seconds, until interrupted; default: once."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the tracks that are due; enqueue none.")
    ] = False,
) -> None:
    """Enqueue again the tracks that were registered or postponed and have not come to an end."""
    from worker.broker import celery_app
    from worker.catalog.connect import connect_migrated
    from worker.consume import check_broker
    from worker.reconcile import due, reconcile
    from worker.settings import BrokerSettings, CatalogSettings
    from worker.status import Broker

    settings = BrokerSettings.load()
    engine = connect_migrated(CatalogSettings.load())
    check_broker(settings)
    broker = Broker(settings)
    console = Console(highlight=False)
    if dry_run:
        console.print(f"{due(engine, broker)} tracks are due")
        return
    app = celery_app(settings)
    while True:
        console.print(f"enqueued {reconcile(engine, app, broker)} tracks that were due")
        if every is None:
            return
        sleep(every)
