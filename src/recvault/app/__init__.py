"""The composition root: a configuration becomes clients, limits and sources."""
