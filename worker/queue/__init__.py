"""Jobs in Redis: the broker, the message format, enqueueing, leases, dead letters, the reconciler."""
