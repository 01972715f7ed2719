"""Delete at the provider what is proven archived and older than a source's `prune_after`.

It disturbs nothing else: if the bucket or the provider is unreachable, the next look tries again.
"""

from __future__ import annotations

from datetime import timedelta

from recvault.app.runtime import Runtime
from recvault.errors import Interrupted, LedgerLocked, RecvaultError
from recvault.ledger.pruned import LastPrune, note_prune
from recvault.log.lines import get_logger
from recvault.monitoring.metrics import Metrics
from recvault.operations.prune import Prune

log = get_logger("recvault.daemon.prune_job")

PRUNE_EVERY = timedelta(hours=1)


class PruneJob:
    """Prunes one source. For one thread at a time."""

    def __init__(self, runtime: Runtime, metrics: Metrics, name: str, older_than: timedelta) -> None:
        self._runtime, self._metrics, self._name, self._older_than = runtime, metrics, name, older_than
        metrics.pruned(name, 0, failed=0)

    def look(self) -> None:
        """Prune once, as far as a run goes; note for `status` what came of it."""
        try:
            summary = Prune(self._runtime, self._name, self._older_than).run()
        except (Interrupted, LedgerLocked):  # by a stop; or `recvault prune` runs now
            return
        except RecvaultError as error:
            log.warning("prune.failed", source=self._name, error=str(error))
            self._note(0, 0, str(error))
            return
        if summary.interrupted:
            return
        errors = [*(each["message"] for each in summary.errors), *(each["message"] for each in summary.failures)]
        self._note(summary.deleted, summary.failed, errors[0] if errors else None)
        log.info(
            "prune.done",
            source=self._name,
            deleted=summary.deleted,
            failed=summary.failed,
            bytes=summary.bytes,
            skipped=dict(summary.skipped),
        )

    def _note(self, deleted: int, failed: int, error: str | None) -> None:
        self._metrics.pruned(self._name, deleted, failed=failed or int(error is not None))
        note_prune(
            self._runtime.ledger,
            self._name,
            LastPrune(at=self._runtime.clock(), deleted=deleted, failed=failed, error=error),
        )
