"""A recvault whose provider is behind a front that may answer in its place."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.app import wiring
from recvault.http import Timing
from recvault.monitoring.report import AccountReport, Report
from recvault.simulator import SimAccount, SimRecording, Simulator
from recvault.simulator.exchange import Request
from recvault.store.s3.clients import make_client
from recvault.testing import Answer, Front
from recvault.testing.front import forward
from rig import Rig
from strict_s3 import StrictS3

T0 = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
REFUSED = b'{"code": 20403, "message": "Forbidden", "status": 403}'


@functools.cache
def _client(**arguments: Any) -> Any:
    """Share one boto3 client, which takes longer to build than a pass."""
    return make_client(**arguments)


class Troubled:
    """One Twilio account behind a front; `answer` gives a status for paths that contain a text."""

    def __init__(self, rig: Rig, front: Front, account: SimAccount) -> None:
        self.rig, self.front, self.account = rig, front, account
        self._instead: dict[str, int] = {}
        front.spoil = self._spoil

    def answer(self, **instead: int) -> None:
        """Replace all such answers: `wav=503` for all media, `RE1=404` for requests about one recording."""
        self._instead = instead

    def _spoil(self, request: Request, answer: Answer) -> Answer:
        for text, status in self._instead.items():
            if text.replace("__", ".") in request.path:
                return Answer(status=status, body=REFUSED)
        return answer

    def add(self, count: int = 1, **details: Any) -> list[SimRecording]:
        """Add recordings of a second, by default created an hour before T0."""
        standing = {"created_at": T0 - HOUR, **details}
        return [self.rig.simulator.add(self.account, "voice", **standing) for _ in range(count)]

    def sync(self, moment: datetime) -> AccountReport:
        """Run a pass; return its row."""
        [row] = self.report(moment).accounts.values()
        return row

    def report(self, moment: datetime) -> Report:
        """Run a pass at a time; return its report."""
        return self.rig.sync_at(moment)

    def asked(self, text: str) -> int:
        """Count the requests whose path contains this."""
        return sum(text in request.path for request in self.front.seen)

    def row(self, recording: SimRecording) -> dict[str, Any]:
        """Return a recording's row in the ledger."""
        with self.rig.runtime() as runtime:
            return runtime.find(recording.recording_id)[0]

    def retry(self, moment: datetime, *recordings: SimRecording) -> int:
        """Run `recvault retry` for these."""
        with self.rig.runtime() as runtime:
            rows = [row["id"] for each in recordings for row in runtime.find(each.recording_id)]
            return runtime.ledger.retry(rows, moment)


@contextmanager
def troubled(root: Path, simulator: Simulator, strict_s3: StrictS3, **transfer: Any) -> Iterator[Troubled]:
    """Its clock, like the provider's, is frozen at T0."""
    simulator.set_now(T0)
    rig = Rig(root=root, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    rig.transfer = {"workers": 4, **transfer}
    account = simulator.add_account("twilio")
    with Front(forward(simulator.base_url, {})) as front:
        rig.add_source("voice", "twilio", account, base_url=front.origin)
        yield Troubled(rig, front, account)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed requests are retried at once; passes share their S3 client."""
    monkeypatch.setattr(wiring, "Timing", functools.partial(Timing, backoff_base=0.001, tries=2))
    monkeypatch.setattr("recvault.store.s3.clients.make_client", _client)
