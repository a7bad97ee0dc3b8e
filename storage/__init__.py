"""S3 and the file system: clients, bounded reads, bundles in S3, files that appear complete or not at all."""
