"""`cogenre failures …`"""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

MAX_ID = 2**63 - 1
"""PostgreSQL's largest bigint."""

app = typer.Typer(no_args_is_help=True, help="Jobs that failed.")

Stage = Annotated[str | None, typer.Option(help="Only failures of this stage, such as decode.")]
ErrorClass = Annotated[str | None, typer.Option(help="Only failures with this error, such as CorruptAudio.")]


@app.command("list")
def list_(
    stage: Stage = None,
    error_class: ErrorClass = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines instead of a table.")] = False,
) -> None:
    """List open failures, newest first, and count the messages that could not be decoded."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.failures import read_open_failures
    from worker.queue.dead_letters import read_dead_letters
    from worker.settings import BrokerSettings

    failures = read_open_failures(open_catalog(), stage=stage, error_class=error_class, limit=limit)
    if as_json:
        for failure in failures:
            fields = {
                "id": failure.id,
                "track_id": failure.track_id,
                "stage": failure.stage,
                "error_class": failure.error_class,
                "reason": failure.reason,
                "failed_at": failure.failed_at.isoformat(),
            }
            typer.echo(json.dumps(fields, ensure_ascii=False))
        return
    console = Console()
    table = Table("id", "track", "stage", "class", "reason", "when")
    for failure in failures:
        when = f"{failure.failed_at:%Y-%m-%d %H:%M}"
        table.add_row(
            str(failure.id), failure.track_id, failure.stage, failure.error_class, failure.reason, when
        )
    console.print(table if failures else "no open failure")
    dead = read_dead_letters(BrokerSettings.load())
    if dead:
        console.print(
            f"and {len(dead)} dead letters (messages that could not be decoded); the newest: {dead[0].reason}"
        )


@app.command()
def show(
    failure: Annotated[
        int, typer.Argument(min=1, max=MAX_ID, help="Id of the failure, as `failures list` prints it.")
    ],
) -> None:
    """Show a failure with its message as received."""
    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog
    from worker.catalog.failures import read_open_failures

    found = read_open_failures(open_catalog(), ids=[failure])
    if not found:
        raise ConfigError(f"there is no open failure {failure}: see `cogenre failures list`")
    (row,) = found
    table = Table(show_header=False)
    for name in ("id", "track_id", "stage", "error_class", "reason", "failed_at"):
        table.add_row(name, str(getattr(row, name)))
    console = Console()
    console.print(table)
    console.print_json(row.payload)


@app.command()
def replay(
    failures: Annotated[
        list[int] | None, typer.Argument(min=1, max=MAX_ID, help="Ids, as `failures list` prints them.")
    ] = None,
    stage: Stage = None,
    error_class: ErrorClass = None,
    everything: Annotated[bool, typer.Option("--all", help="Replay every open failure.")] = False,
    dead: Annotated[
        bool, typer.Option(help="Move all dead letters back to the queues that they came from.")
    ] = False,
) -> None:
    """Enqueue failed jobs again. A failure stays open until its track is classified."""
    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog
    from worker.catalog.failures import read_open_failures
    from worker.queue.celery_app import celery_app
    from worker.queue.dead_letters import requeue_dead_letters
    from worker.queue.enqueue import enqueue, parse_failed_jobs
    from worker.settings import BrokerSettings

    if not (failures or stage or error_class or everything or dead):
        raise ConfigError("nothing to replay is selected: give ids, --stage, --error-class, --all or --dead")
    if everything and (failures or stage or error_class):
        raise ConfigError(
            "--all selects every open failure, so it cannot be combined with ids, --stage or --error-class"
        )
    broker = BrokerSettings.load()
    console = Console(highlight=False)
    if dead:
        console.print(f"moved {requeue_dead_letters(broker)} dead letters back to their queues")
    if failures or stage or error_class or everything:
        engine = open_catalog()
        chosen = read_open_failures(engine, ids=failures, stage=stage, error_class=error_class)
        jobs, invalid = parse_failed_jobs(chosen)
        console.print(f"enqueued {enqueue(engine, celery_app(broker), jobs)} of {len(chosen)} failed jobs")
        if invalid:
            console.print(f"{invalid} are not valid jobs: their producer must send them again")
