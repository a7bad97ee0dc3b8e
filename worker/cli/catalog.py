"""`cogenre catalog …`: migrate, grant, refresh, export. Its queries are in `worker.cli.queries`."""

from pathlib import Path
from time import sleep
from typing import Annotated, Literal

import typer
from rich.console import Console

from worker.cli import queries

app = typer.Typer(no_args_is_help=True, help="The catalog of labels.")


@app.command()
def migrate() -> None:
    """Create the catalog, or migrate it to the schema of this release. Workers may continue."""
    from schemas.catalog.migrate import migrate
    from worker.catalog.connect import connect
    from worker.settings import CatalogSettings

    migration = migrate(connect(CatalogSettings.load()))
    is_new = migration.before != migration.after
    before = f", before {migration.before or 'empty'}" if is_new else ""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"catalog at revision {migration.after}{before}")
    for note in migration.notes:
        console.print(f"note: {note}", markup=False)


@app.command()
def grant(
    group: Annotated[
        Literal["analyst", "writer"],
        typer.Argument(help="analyst = may read the views; writer = may read and write the tables."),
    ],
    login: Annotated[str, typer.Argument(help="An existing login of the database server.")],
) -> None:
    """Make a login an analyst or a writer. The login in COGENRE_CATALOG_URL must be allowed to grant."""
    from sqlalchemy.exc import ProgrammingError

    from schemas.catalog.access import ROLES, grant
    from schemas.errors import ConfigError
    from worker.catalog.connect import open_catalog

    with open_catalog().connect() as connection:
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
        typer.Option(min=1, help="Repeat after this many seconds, until interrupted; default: once."),
    ] = None,
) -> None:
    """Refresh the materialised views, which analysts see as of the last refresh. Run it on a schedule."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.refresh import refresh

    console = Console(highlight=False)
    engine = open_catalog()
    while True:
        refresh(engine, lambda view, seconds: console.print(f"{view} {seconds:.1f} s"))
        if every is None:
            return
        sleep(every)


@app.command()
def dictionary() -> None:
    """Print the data dictionary in Markdown: every table, view and column with its meaning."""
    from schemas.catalog.dictionary import render_dictionary
    from worker.catalog.connect import open_catalog

    with open_catalog().connect() as connection:
        typer.echo(render_dictionary(connection), nl=False)


@app.command()
def export(
    view: Annotated[str, typer.Argument(help="View of schema analytics, such as track or track_label.")],
    file: Annotated[Path, typer.Argument(help="File to write; must end in .parquet, .csv or .jsonl.")],
) -> None:
    """Export a view to a file. Rows are streamed. Parquet needs the extra `analyse`."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.export import export

    count = export(open_catalog(), view, file)
    Console(highlight=False, soft_wrap=True).print(f"{count:,} rows in {file}", markup=False)


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("catalog.html"),
) -> None:
    """Write the catalog's report, a self-contained HTML page. Needs the extra `analyse`."""
    from worker.catalog.connect import open_catalog
    from worker.catalog.report import write_report

    write_report(open_catalog(), file)
    Console(highlight=False, soft_wrap=True).print(f"{file}", markup=False)


queries.register(app)
