"""Jobs in Redis: broker, message format, enqueueing, leases, dead letters, reconciler, backfill, status."""
