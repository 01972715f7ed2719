"""What Prometheus is shown: the one owner of prometheus_client.

Counters are pushed as things happen; how feeds and providers stand is asked for at each scrape. What cannot be asked
then is left out, and `recvault_scrape_error` says so: it never costs the rest of the scrape.
"""

from recvault.monitoring.metrics.catalogue import CONTENT_TYPE, NAMES
from recvault.monitoring.metrics.metrics import Metrics

__all__ = ["CONTENT_TYPE", "NAMES", "Metrics"]
