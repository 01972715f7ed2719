"""Log lines, counts, and what neither may contain. Importing this package loads nothing."""
