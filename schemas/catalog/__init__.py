"""The catalog, a Postgres database of labels: its tables, migrations, privileges and views."""
