"""The queues of jobs in Redis: messages, enqueueing, leases, dead letters, reconciler, backfill, status."""
