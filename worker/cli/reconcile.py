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
        typer.Option(min=1, help="Repeat after this many seconds, until interrupted; default: once."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the tracks that are due; enqueue none.")
    ] = False,
) -> None:
    """Enqueue tracks that were registered or postponed, are not finished, and are due."""
    from redis import RedisError
    from sqlalchemy.exc import SQLAlchemyError

    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog
    from worker.queue.broker import check_broker
    from worker.queue.reconcile import count_overdue, reconcile
    from worker.queue.status import QueueMonitor
    from worker.settings import BrokerSettings

    settings = BrokerSettings.load()
    engine = open_catalog()
    check_broker(settings)
    monitor = QueueMonitor(settings)
    console = Console(highlight=False)
    if not dry_run:
        from worker.queue.celery_app import celery_app

        app = celery_app(settings)
    while True:
        try:
            if dry_run:
                console.print(f"{count_overdue(engine, monitor)} tracks are due")
                return
            console.print(f"enqueued {reconcile(engine, app, monitor)} tracks that were due")
        except (RedisError, SQLAlchemyError) as error:
            cause = " ".join(str(getattr(error, "orig", None) or error).split())
            reason = f"the broker or the catalog does not answer: {cause}"
            if every is None:
                raise ConfigError(
                    f"{reason} (run the command again; tracks that were not enqueued are due in an hour)"
                ) from None
            console.print(f"{reason}; next run in {every:g} s", markup=False)
        if every is None:
            return
        sleep(every)
