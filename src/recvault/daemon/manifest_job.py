"""Write the manifests of ended days, once a day.

It disturbs nothing else: if the bucket is unreachable or the ledger locked, the next check retries.
"""

from __future__ import annotations

from datetime import date, timedelta

from recvault.app.runtime import Runtime
from recvault.errors import Interrupted, RecvaultError
from recvault.log.lines import get_logger
from recvault.monitoring.metrics import Metrics
from recvault.operations.manifests import SETTLING, Manifests, complete_at, last_ended, note_complete

log = get_logger("recvault.daemon.manifest_job")

LOOK_EVERY = timedelta(minutes=10)
_THREADS = 2  # for reading sidecars: transfers come first


class ManifestJob:
    """Checks whether manifests are due. For one thread at a time."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._runtime = runtime
        self._metrics = metrics
        self._since = runtime.clock()
        self._through: date | None = None  # the last day for which all is listed
        metrics.manifests_since(complete_at(runtime.ledger) or runtime.ledger.born_at)

    @property
    def through(self) -> date | None:
        """The last day for which this process saw everything listed."""
        return self._through

    def look(self) -> None:
        """Write what is due. Not right after a start: interrupted work is settled first."""
        now = self._runtime.clock()
        through = last_ended(now)
        if through == self._through or timedelta() <= now - self._since < SETTLING:
            return
        try:
            troubles = self._write()
        except Interrupted:
            return
        except RecvaultError as error:
            log.warning("manifest.failed", error=str(error))
            return
        self._through = through
        note_complete(self._runtime.ledger, now)
        self._metrics.manifests_complete(now, troubles)

    def _write(self) -> int:
        """Write what is due; return the number of problems. Until something was archived, send no request."""
        manifests = Manifests.of(self._runtime, threads=_THREADS)
        return sum(manifests.write().counts.values()) if manifests.are_due else 0
