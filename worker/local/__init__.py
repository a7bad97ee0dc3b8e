"""The local stack: PostgreSQL, Redis and an S3 server from wheels, and the demo that runs on it."""
