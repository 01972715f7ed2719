"""Recordings, outcomes and ledgers for the ledger's own tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from recvault.ledger import Feed, Ledger, Policy, Registered
from recvault.models import Check, Failure, Job, MediaObject, Phase, Receipt, Recording, Rejected, Verdict

NOW = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
FEED = Feed("main", "twilio", "AC1")
RECHECK = timedelta(minutes=2)
POLICY = Policy(max_attempts=3)
POLICIES = {"main": POLICY}


def recording(number: int = 1, phase: Phase = Phase.COMPLETE, **values: Any) -> Recording:
    standing: dict[str, Any] = {
        "provider": "twilio",
        "api": "2010-04-01",
        "account_id": "AC1",
        "recording_id": f"RE{number}",
        "created_at": NOW + timedelta(seconds=number),
        "status": {Phase.COMPLETE: "completed", Phase.UNFINISHED: "in-progress"}.get(phase, "absent"),
        "phase": phase,
        "formats": ("wav",),
        "raw": {"sid": f"RE{number}"},
    }
    return Recording(**{**standing, **values})


def many(count: int, start: int = 0) -> list[Recording]:
    return [recording(number) for number in range(start, start + count)]


def register(
    ledger: Ledger, *recordings: Recording, now: datetime = NOW, feed: Feed = FEED, rejected: Iterable[Rejected] = ()
) -> Registered:
    return ledger.register(feed, recordings, rejected, now, RECHECK)


def rejected(body: str = "{}", recording_id: str | None = "RE1") -> Rejected:
    return Rejected(body=body, reason="ValueError: no date", recording_id=recording_id)


def receipt(job: Job) -> Receipt:
    medium = MediaObject(
        key=f"recordings/{job.recording.recording_id}.wav",
        media_format="wav",
        bytes=44,
        sha256="00" * 32,
        content_type="audio/wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=1,
        duration_seconds=1.0,
        check=Check(status="ok", method="wav sizes"),
    )
    return Receipt(
        source=job.source,
        recording=job.recording,
        sidecar_key=f"recordings/{job.recording.recording_id}.json",
        media=(medium,),
        archived_at=NOW,
    )


def failure(about: Job | Recording, verdict: Verdict = Verdict.RETRY, **values: Any) -> Failure:
    found = about.recording if isinstance(about, Job) else about
    standing: dict[str, Any] = {
        "source": about.source if isinstance(about, Job) else "main",
        "recording": found,
        "verdict": verdict,
        "reason": "provider.unavailable",
        "message": "the provider answered 503",
    }
    return Failure(**{**standing, **values})


def row(ledger: Ledger, recording_id: str = "RE1") -> dict[str, Any]:
    [found] = ledger.ask.find(recording_id)
    return found
