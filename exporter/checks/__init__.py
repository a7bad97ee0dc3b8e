"""Checks of an exported graph against the checkpoint: graph, product, cost of a precision."""
