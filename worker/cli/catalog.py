"""`cogenre catalog …`: the catalog itself. What it is asked is in `worker.cli.queries`."""

from pathlib import Path
from time import sleep
from typing import Annotated, Literal

import typer
from rich.console import Console

from worker.cli import queries

app = typer.Typer(no_args_is_help=True, help="The catalog of labels.")


@app.command()
def migrate() -> None:
    """Create the catalog, or bring it to this release's schema. Workers may go on meanwhile."""
    from schemas.catalog.migrate import migrate
    from worker.catalog.connect import connect
    from worker.settings import CatalogSettings

    done = migrate(connect(CatalogSettings.load()))
    before = f", before {done.before or 'empty'}" if done.before != done.after else ""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"catalog at revision {done.after}{before}")
    for note in done.notes:
        console.print(f"note: {note}", markup=False)


@app.command()
def grant(
    group: Annotated[Literal["analyst", "writer"], typer.Argument(help="What the login may do.")],
    login: Annotated[str, typer.Argument(help="An existing login of the database server.")],
) -> None:
    """Let a login read as an analyst, or write as a worker. Needs a login that may grant."""
    from sqlalchemy.exc import ProgrammingError

    from schemas.catalog.access import ROLES, grant
    from schemas.errors import ConfigError
    from worker.catalog.connect import connect_migrated
    from worker.settings import CatalogSettings

    with connect_migrated(CatalogSettings.load()).connect() as connection:
        connection.rollback()
        try:
            grant(connection, group, login)
        except ProgrammingError as error:
            raise ConfigError(f"cannot grant: {str(error.orig).splitlines()[0]}") from None
    Console(highlight=False).print(f"{login} is a member of {ROLES[group]}", markup=False)


@app.command()
def refresh(
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Again after so many seconds, until interrupted; default: once."),
    ] = None,
) -> None:
    """Bring what analysts see as of the last refresh up to date; run it by the clock."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.refresh import refresh
    from worker.settings import CatalogSettings

    console = Console(highlight=False)
    engine = connect_migrated(CatalogSettings.load())
    while True:
        refresh(engine, lambda view, seconds: console.print(f"{view} {seconds:.1f} s"))
        if every is None:
            return
        sleep(every)


@app.command()
def dictionary() -> None:
    """Print what every table, view and column means, in Markdown."""
    from schemas.catalog.dictionary import dictionary
    from worker.catalog.connect import connect_migrated
    from worker.settings import CatalogSettings

    with connect_migrated(CatalogSettings.load()).connect() as connection:
        typer.echo(dictionary(connection), nl=False)


@app.command()
def export(
    view: Annotated[str, typer.Argument(help="A view of schema analytics, such as track or track_label.")],
    file: Annotated[Path, typer.Argument(help="Ends in .parquet, .csv or .jsonl.")],
) -> None:
    """Write a view to a file, of any size. Parquet needs the extra `analyse`."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.export import export
    from worker.settings import CatalogSettings

    count = export(connect_migrated(CatalogSettings.load()), view, file)
    Console(highlight=False, soft_wrap=True).print(f"{count:,} rows in {file}", markup=False)


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="The page to write.")] = Path("catalog.html"),
) -> None:
    """Write the catalog's report, one page that needs nothing else. Needs the extra `analyse`."""
    from worker.catalog.connect import connect_migrated
    from worker.catalog.report import write_report
    from worker.settings import CatalogSettings

    write_report(connect_migrated(CatalogSettings.load()), file)
    Console(highlight=False, soft_wrap=True).print(f"{file}", markup=False)


queries.register(app)
