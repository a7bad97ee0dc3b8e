"""Reads and writes of the catalog. Its tables are in `schemas.catalog.tables`."""
