"""Notify an observer of an ended attempt."""

from __future__ import annotations

from datetime import UTC, datetime

from recvault.models import Check, Failure, Job, MediaObject, Phase, Receipt, Recording, State, Verdict
from recvault.monitoring.observer import Observer

NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
RECORDING = Recording(
    provider="twilio",
    api="2010-04-01",
    account_id="AC1",
    recording_id="RE1",
    created_at=NOW,
    status="completed",
    phase=Phase.COMPLETE,
    formats=("wav",),
)


def settled(
    observer: Observer,
    state: State,
    reason: str | None = None,
    *,
    size: int = 0,
    suspect: bool = False,
    already_archived: bool = False,
) -> None:
    """Notify of a receipt if the state is archived, else of a failure."""
    job = Job(source="main", recording=RECORDING, attempt=1, maybe_archived=False)
    if state is not State.ARCHIVED:
        failure = Failure(
            source="main", recording=RECORDING, verdict=Verdict.RETRY, reason=reason or "", message="it failed"
        )
        observer.settled(job, failure, state)
        return
    medium = MediaObject(
        key="RE1.wav",
        media_format="wav",
        bytes=size,
        sha256="ab" * 32,
        content_type="audio/wav",
        codec=None,
        sample_rate=8000,
        channels=1,
        duration_seconds=1.0,
        check=Check(status="suspect" if suspect else "ok", method="wav sizes"),
    )
    receipt = Receipt(
        source="main",
        recording=RECORDING,
        sidecar_key="RE1.json",
        media=(medium,),
        archived_at=NOW,
        already_archived=already_archived,
    )
    observer.settled(job, receipt, state)
