"""What operators see of a worker: metrics, probes, logs and spans. None of it changes what a worker does."""
