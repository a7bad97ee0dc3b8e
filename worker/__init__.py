"""The service: pulls jobs from Redis, labels tracks, commits to the catalog. And its command line."""
