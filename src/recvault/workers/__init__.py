"""Worker processes: parallel transfers, and queries to the bucket."""
