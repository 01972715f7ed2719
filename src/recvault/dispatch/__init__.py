"""Give due recordings to an executor, and store their outcomes."""
