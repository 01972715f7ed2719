"""Discovery alone: a simulator's list and a ledger, without a bucket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recvault.discovery.scan import Discovery, Found
from recvault.discovery.watermark_bound import Scanned
from recvault.http import AddressRule, Clients, Limits, Session, Timing
from recvault.ledger import Feed, Ledger
from recvault.models import ACCOUNT
from recvault.providers import provider_class
from recvault.providers.base import Provider
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, SimRecording, Simulator

NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
LOOKBACK = timedelta(hours=26)
DAY = timedelta(days=1)


@dataclass
class Scans:
    """One source of one simulated account; `scan` is one discovery of it."""

    simulator: Simulator
    ledger: Ledger
    account: SimAccount
    provider: Provider
    authorization: str
    clock: Callable[[], datetime]
    start_from: datetime | None = None
    found: list[Found] = field(default_factory=list)
    scanned: Scanned | None = None  # result of the last scan
    stop: Stop = field(default_factory=Stop)
    between: Callable[[int], None] = lambda page: None  # called with each page's number, after it

    def __post_init__(self) -> None:
        self.clients = Clients(AddressRule.of(self.simulator.base_url, ()), 5.0)
        self.limits = Limits(100_000, 32)

    @property
    def feed(self) -> Feed:
        return Feed("main", self.provider.provider, self.provider.account_id)

    @property
    def session(self) -> Session:
        timing = Timing(tries=2, backoff_base=0.001)
        return Session(self.simulator.base_url, self.authorization, self.clients, self.limits, self.stop, timing)

    def scan(self) -> Found:
        """Run one discovery; return its result."""
        self.found = []
        self.scanned = Discovery(
            feed=self.feed,
            provider=self.provider,
            session=self.session,
            ledger=self.ledger,
            scope=ACCOUNT,
            start_from=self.start_from,
            lookback=LOOKBACK,
            recheck_every=timedelta(minutes=2),
            clock=self.clock,
            on_page=self._saw,
        ).run()
        return Found(*map(sum, zip(*map(astuple, self.found), strict=True)))

    def _saw(self, found: Found) -> None:
        self.found.append(found)
        self.between(len(self.found))

    @property
    def watermark(self) -> datetime | None:
        return self.ledger.watermark(self.feed)

    @property
    def registered(self) -> set[str]:
        """Return the ids in the ledger."""
        rows = self.ledger._connection._db.query("SELECT recording_id FROM recordings")
        return {row["recording_id"] for row in rows}

    @property
    def listed(self) -> int:
        """Count the requested list pages."""
        return self.simulator.count(lambda each: "ecordings" in each.path and each.method == "GET")

    def close(self) -> None:
        self.clients.close()


MORE = {"plivo": ("plivo", "plivo"), "bandwidth": ("bandwidth", "bandwidth")}
PROVIDERS = {
    "voice": ("twilio", "twilio"),
    "legacy": ("twilio-legacy", "twilio"),
    "video": ("twilio-video", "twilio"),
    "telnyx": ("telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire"),
}
APIS: dict[str, Any] = {name: "voice" if name == "legacy" else name for name in (*PROVIDERS, *MORE)}


def scans_of(name: str, simulator: Simulator, directory: Path, *, page_size: int = 3) -> Scans:
    """Make scans of a new account, with small pages."""
    word, kind = (PROVIDERS | MORE)[name]
    account = simulator.add_account(kind)  # type: ignore[arg-type]
    known = provider_class(word)
    small: Any = type(f"Small{known.__name__}", (known,), {"page_size": page_size, "__slots__": ()})
    values = {**account.credentials, "base_url": simulator.base_url}
    provider: Provider = small.from_settings("main", values)
    path = directory / "ledger.db"
    return Scans(
        simulator=simulator,
        ledger=Ledger.open(path, simulator.now),
        account=account,
        provider=provider,
        authorization=provider.authorization(values),
        clock=lambda: simulator.now,
    )


def fill(
    scans: Scans, name: str, count: int, *, end: datetime = NOW - 2 * DAY, every: timedelta = timedelta(minutes=7)
) -> list[SimRecording]:
    """Add recordings, the last one created at `end`."""
    return scans.simulator.populate(
        scans.account, APIS[name], count=count, start=end - (count - 1) * every, every=every, durations=(1, 1)
    )


def ids(recordings: list[SimRecording]) -> set[str]:
    return {recording.recording_id for recording in recordings}
