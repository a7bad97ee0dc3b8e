"""The catalog: where labels live in Postgres. Tables, migrations, and the views that analysts read."""
