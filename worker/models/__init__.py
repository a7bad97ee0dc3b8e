"""Bundles at run time: load, warm up, batch, serve, and follow promotions in the catalog."""
