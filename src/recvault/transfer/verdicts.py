"""What an error means for a recording: one table, from exception to verdict.

A failure is data, so that it can be sent and settled; only bugs are raised.
"""

from __future__ import annotations

from collections.abc import Mapping

from recvault.errors import (
    Cold,
    ConfigError,
    CredentialsRefused,
    Denied,
    Interrupted,
    KeyConflict,
    KeyRefused,
    MediaExpired,
    MediaRejected,
    NotFound,
    ProtocolError,
    RecvaultError,
    Refused,
    Resting,
    StoreRefused,
    StoreUnavailable,
    Unavailable,
    UnsafeAddress,
)
from recvault.log.masking import mask
from recvault.models import (
    CREDENTIALS_REFUSED,
    DRAINED,
    MISSING,
    UNSAFE_ADDRESS,
    Doubt,
    Failure,
    Job,
    Recording,
    Verdict,
)
from recvault.transfer.spool import SpoolFull, SpoolTooSmall

# Reasons that concern more than one recording: the pass acts on them.
STORE_REFUSED = "store.refused"
STORE_UNAVAILABLE = "store.unavailable"
CONFIG_WRONG = "config.wrong"
SPOOL_FULL = "spool.full"
RESTING = "provider.resting"
WORKER_UNSTARTED = "worker.unstarted"  # no thread or process could be started for it
UNEXPECTED = "unexpected"  # a bug of ours


class Settled(Exception):
    """There are no media to archive now: the row says so or is missing, or the media are incomplete."""

    def __init__(
        self, recording: Recording, verdict: Verdict, reason: str, message: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(recording, verdict, reason, message)
        self.recording, self.verdict, self.reason, self.message = recording, verdict, reason, message
        self.retry_after = retry_after  # seconds, at least


VERDICTS: Mapping[type[RecvaultError], tuple[Verdict, str, bool]] = {
    # Error: verdict, reason, and whether it counts as an attempt.
    Interrupted: (Verdict.RETRY, DRAINED, False),
    StoreRefused: (Verdict.RETRY, STORE_REFUSED, False),
    CredentialsRefused: (Verdict.RETRY, CREDENTIALS_REFUSED, False),
    Denied: (Verdict.RETRY, "provider.denied", True),
    StoreUnavailable: (Verdict.RETRY, STORE_UNAVAILABLE, False),
    SpoolTooSmall: (Verdict.RETRY, "spool.too_small", True),
    SpoolFull: (Verdict.RETRY, SPOOL_FULL, False),
    ConfigError: (Verdict.RETRY, CONFIG_WRONG, False),
    Cold: (Verdict.RETRY, "store.cold", False),
    KeyRefused: (Verdict.RETRY, "store.key_refused", True),
    KeyConflict: (Verdict.FATAL, "store.key_conflict", True),
    UnsafeAddress: (Verdict.RETRY, UNSAFE_ADDRESS, True),
    MediaExpired: (Verdict.RETRY, "media.expired", True),
    NotFound: (Verdict.RETRY, "media.not_found", True),
    Refused: (Verdict.RETRY, "provider.refused", True),
    Resting: (Verdict.RETRY, RESTING, False),
    Unavailable: (Verdict.RETRY, "provider.unavailable", True),
}


# Answers that other recordings of the source may get, too.
_ANSWERED = (Denied, MediaExpired, ProtocolError, Refused, UnsafeAddress)
_DOCUMENT = "media.document"  # e.g. a gateway's page instead of media
_AWAY = frozenset({None, 429, 502, 503, 504})  # statuses; None: no answer


def _doubt(error: RecvaultError) -> Doubt | None:
    """Why the service may be the cause; None if it cannot be."""
    if isinstance(error, SpoolTooSmall):
        return None
    if isinstance(error, Unavailable) and not isinstance(error, ProtocolError):
        return Doubt.AWAY if error.status in _AWAY else Doubt.ANSWERED
    if isinstance(error, MediaRejected):
        return Doubt.ANSWERED if error.reason == _DOCUMENT else None
    return Doubt.ANSWERED if isinstance(error, _ANSWERED) else None


def failure_of(job: Job, error: RecvaultError | Settled) -> Failure:
    """Return the failure for a transfer's error. Errors that are not in the table are retried."""
    if isinstance(error, Settled):
        if error.reason == MISSING and job.confirms:
            message = f"{error.message}, as hours ago: deleted at the provider"
            return failure(job, Verdict.GONE, "recording.gone", message, recording=error.recording)
        return failure(
            job,
            error.verdict,
            error.reason,
            error.message,
            recording=error.recording,
            retry_after=error.retry_after,
        )
    if isinstance(error, MediaRejected):
        return failure(job, Verdict.RETRY, error.reason, str(error), doubt=_doubt(error))
    for kind, (verdict, reason, counted) in VERDICTS.items():
        if isinstance(error, kind):
            retry_after = error.retry_after if isinstance(error, Unavailable) else None
            doubt = _doubt(error) if counted else None
            return failure(job, verdict, reason, str(error), retry_after=retry_after, counted=counted, doubt=doubt)
    return failure(job, Verdict.RETRY, UNEXPECTED, str(error))


def failure(
    job: Job,
    verdict: Verdict,
    reason: str,
    message: str,
    *,
    recording: Recording | None = None,
    retry_after: float | None = None,
    counted: bool = True,
    doubt: Doubt | None = None,
) -> Failure:
    """Make a job's failure, with its recording as last read."""
    return Failure(
        source=job.source,
        recording=recording or job.recording,
        verdict=verdict,
        reason=reason,
        message=mask(message),
        retry_after=retry_after,
        counted=counted,
        doubt=doubt,
    )
