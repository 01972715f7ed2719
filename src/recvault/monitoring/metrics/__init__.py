"""Prometheus metrics: the only module that uses prometheus_client.

Counters are incremented as things happen; the state of feeds and providers is read at each scrape. What cannot be read
is left out, and `recvault_scrape_error` reports it; the rest of the scrape still works.
"""

from recvault.monitoring.metrics.catalogue import CONTENT_TYPE, NAMES
from recvault.monitoring.metrics.metrics import Metrics

__all__ = ["CONTENT_TYPE", "NAMES", "Metrics"]
