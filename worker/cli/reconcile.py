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
    from redis import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    from schemas.errors import ConfigError
    from worker.catalog.connect import connect_migrated
    from worker.queue.broker import check_broker
    from worker.queue.celery_app import celery_app
    from worker.queue.reconcile import count_overdue, reconcile
    from worker.queue.status import QueueMonitor
    from worker.settings import BrokerSettings, CatalogSettings

    settings = BrokerSettings.load()
    engine = connect_migrated(CatalogSettings.load())
    check_broker(settings)
    monitor = QueueMonitor(settings)
    console = Console(highlight=False)
    app = celery_app(settings)
    while True:
        try:
            if dry_run:
                console.print(f"{count_overdue(engine, monitor)} tracks are due")
                return
            console.print(f"enqueued {reconcile(engine, app, monitor)} tracks that were due")
        except (RedisError, SQLAlchemyError) as error:
            said = " ".join(str(getattr(error, "orig", None) or error).split())
            why = f"the broker or the catalog does not answer: {said}"
            if every is None:
                raise ConfigError(f"{why} (run it again: what was not enqueued is due in an hour)") from None
            console.print(f"{why}; again in {every:g} s", markup=False)
        if every is None:
            return
        sleep(every)
