"""The data dictionary: the comments of every table, view and column of a migrated catalog.

`cogenre catalog dictionary` prints it; docs/data-dictionary.md is its output.
"""

from sqlalchemy import Connection, text

RELATIONS = text("""
    select n.nspname as schema, c.relname as name, c.relkind as kind,
           obj_description(c.oid, 'pg_class') as comment,
           a.attname as column, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as required,
           col_description(c.oid, a.attnum) as column_comment
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname in ('analytics', 'public') and c.relkind in ('r', 'v', 'm')
      and c.relname <> 'alembic_version'
    order by n.nspname, c.relname, a.attnum
""")

KINDS = {"r": "table", "v": "view", "m": "materialised view"}

HEAD = """\
# Data dictionary

Generated from the comments in the database by `cogenre catalog dictionary`; do not edit. Analysts read the
views of schema `analytics`, which come first. Workers write the tables of schema `public`. Queries for common
questions: [analyse](analyse.md).
"""


def render_dictionary(connection: Connection) -> str:
    """Return the data dictionary of a migrated catalog, in Markdown."""
    parts = [HEAD]
    previous = None
    for row in connection.execute(RELATIONS):
        relation = f"{row.schema}.{row.name}"
        if relation != previous:
            parts.append(f"\n## {relation}\n\n{KINDS[row.kind].capitalize()}. {row.comment}\n")
            parts.append("\n| column | type | meaning |\n|---|---|---|\n")
            previous = relation
        optional = "" if row.required or row.kind != "r" else ", or null"
        parts.append(f"| {row.column} | {row.type}{optional} | {row.column_comment} |\n")
    return "".join(parts)
