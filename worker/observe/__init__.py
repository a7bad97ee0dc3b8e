"""Observability of a worker: metrics, probes, logs, traces. It does not change what the worker does."""
