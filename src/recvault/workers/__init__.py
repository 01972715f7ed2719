"""Processes that work for this one: transfers side by side, and questions to the bucket."""
