"""Write the catalog once a day, after the manifests, so that their numbers are in it.

It disturbs nothing else: if the bucket is unreachable or the ledger locked, the next check retries.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from recvault.app.runtime import Runtime
from recvault.catalog import spawned
from recvault.errors import Interrupted, RecvaultError
from recvault.ledger.uncatalogued import CATALOG_WRITTEN_AT
from recvault.log.lines import get_logger
from recvault.models import unstamp
from recvault.monitoring.metrics import Metrics
from recvault.operations.catalog import Catalog

log = get_logger("recvault.daemon.catalog_job")

THROUGH = "catalog.through"  # the fact that says for which day the daemon wrote it last
_THREADS = 2  # for reading sidecars: transfers come first


class CatalogJob:
    """Checks whether the catalog is due. For one thread at a time."""

    def __init__(self, runtime: Runtime, listed_through: Callable[[], date | None], metrics: Metrics) -> None:
        self._runtime, self._metrics = runtime, metrics
        self._listed_through = listed_through  # the last day for which manifests list everything
        self._is_on = runtime.settings.catalog.enabled
        if self._is_on and not spawned.is_installed():
            self._is_on = False
            log.warning("catalog.not_installed", message="pip install 'recvault[catalog]'")
        if runtime.settings.catalog.enabled:
            noted = runtime.ledger.fact(CATALOG_WRITTEN_AT)
            metrics.catalog_written(unstamp(noted) if noted else runtime.ledger.born_at)

    def look(self) -> None:
        """Write what is due: once for each day, when the manifests are through with it."""
        through = self._listed_through()
        if not self._is_on or through is None:
            return
        try:
            if self._runtime.ledger.fact(THROUGH) != str(through):
                Catalog.of(self._runtime, threads=_THREADS).write()
                self._metrics.catalog_written(self._runtime.clock())
                self._runtime.ledger.remember(THROUGH, str(through))
        except Interrupted:
            return
        except RecvaultError as error:
            log.warning("catalog.failed", error=str(error))
