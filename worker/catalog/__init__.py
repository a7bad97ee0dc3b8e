"""The catalog as the service writes and reads it. Its tables are `schemas.catalog.tables`."""
