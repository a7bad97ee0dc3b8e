"""Observability of a worker: metrics, probes, logs, traces. None of it changes what the worker does."""
