"""S3 and the file system: client and settings, object reads, bundle push and pull, atomic writes, locks."""
