"""`cogenre worker` and `cogenre status`"""

import json
import logging
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from worker.queue.status import Status

REFRESH_SECONDS = 2


def register(app: typer.Typer) -> None:
    app.command()(worker)
    app.command()(status)


def worker() -> None:
    """Label tracks until SIGTERM. Settings are COGENRE_* variables (docs/settings.md)."""
    from worker.service import run_worker
    from worker.settings import WorkerSettings

    for name in ("worker", "celery.worker"):
        logging.getLogger(name).setLevel(logging.INFO)
    # In a container the worker is PID 1, to which Linux delivers no signal without a handler. Celery installs
    # its own handler only after the models are loaded.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    raise typer.Exit(run_worker(WorkerSettings.load()))


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every two seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line instead of a table.")] = False,
) -> None:
    """Show queue depths, jobs in flight, rate and failures, from Redis and the catalog."""
    from worker.catalog.connect import open_catalog
    from worker.queue.broker import check_broker
    from worker.queue.status import QueueMonitor, read_status
    from worker.settings import BrokerSettings

    settings = BrokerSettings.load()
    engine = open_catalog()
    check_broker(settings)
    monitor = QueueMonitor(settings)
    with ExitStack() as stack:
        live = None if as_json else stack.enter_context(Live(console=Console(), auto_refresh=False))
        while True:
            current = read_status(monitor, engine)
            if live:
                live.update(status_table(current), refresh=True)
            else:
                typer.echo(json.dumps(asdict(current)))
            if not watch:
                return
            sleep(REFRESH_SECONDS)


def status_table(status: "Status") -> Table:
    """Return the status as a table for people."""
    table = Table(show_header=False)
    for name, queue in status.broker.queues.items():
        oldest = "" if queue.oldest_seconds is None else f"oldest: {format_duration(queue.oldest_seconds)}"
        table.add_row(f"waiting in {name}", f"{queue.waiting:,}", oldest)
    table.add_row("in flight", f"{status.broker.in_flight:,}")
    table.add_row("classified in the last minute", f"{status.catalog.last_minute:,}")
    table.add_row("tracks registered", _format_count(status.catalog.registered))
    table.add_row("tracks classified", _format_count(status.catalog.classified))
    table.add_row("overdue, for `cogenre reconcile`", f"{status.overdue:,}")
    failures = sorted(status.catalog.failures.items(), key=lambda failure: (-failure[1], failure[0]))
    table.add_row(
        "open failures",
        f"{sum(status.catalog.failures.values()):,}",
        ", ".join(f"{error_class} {count:,}" for error_class, count in failures),
    )
    table.add_row("dead letters", f"{status.broker.dead_letters:,}")
    return table


def _format_count(count: int) -> str:
    from worker.catalog.status import COUNTED_BELOW

    return f"{count:,}" if count < COUNTED_BELOW else f"about {count:,}"


def format_duration(seconds: float) -> str:
    """Return a duration as text: `3 h 20 min`, `20 min 5 s` or `5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
