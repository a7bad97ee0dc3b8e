"""Compares graphs and `cogenre classify` with the checkpoint, and measures the cost of precisions."""
