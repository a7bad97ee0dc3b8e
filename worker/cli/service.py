"""`cogenre worker` and `cogenre status`"""

import logging

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    app.command()(worker)
    app.command()(status)


def worker() -> None:
    """Label tracks until SIGTERM. Settings come from COGENRE_* variables (docs/settings.md)."""
    from worker.consume import run_worker
    from worker.settings import WorkerSettings

    for name in ("worker", "celery.worker"):
        logging.getLogger(name).setLevel(logging.INFO)
    raise typer.Exit(run_worker(WorkerSettings.load()))


def status() -> None:
    """Queue depth, jobs in flight, rate and failures."""
    from worker.catalog.connect import connect_migrated
    from worker.consume import check_broker
    from worker.settings import BrokerSettings, CatalogSettings
    from worker.status import read_status

    broker = BrokerSettings.load()
    engine = connect_migrated(CatalogSettings.load())
    check_broker(broker)
    now = read_status(broker, engine)
    table = Table(show_header=False)
    for queue, waiting in now.waiting.items():
        table.add_row(f"waiting in {queue}", f"{waiting:,}")
    table.add_row("in flight", f"{now.in_flight:,}")
    table.add_row("labelled in the last minute", f"{now.catalog.last_minute:,}")
    table.add_row("tracks registered", f"{now.catalog.registered:,}")
    table.add_row("tracks labelled", f"{now.catalog.labelled:,}")
    table.add_row("open failures", f"{now.catalog.failed:,}")
    Console().print(table)
