"""Plan a backfill: list like a backfill and count, but store nothing.

Sizes are estimated by each provider's `bytes_per_second`, unless a row states its size. What cannot be estimated is
counted separately, never guessed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from recvault.discovery.history import History, Walk, unbounded
from recvault.discovery.poll import Listing
from recvault.discovery.source import Source
from recvault.dispatch.backfill import Asked
from recvault.dispatch.thread_pool import Threads, finish
from recvault.errors import MediaRejected
from recvault.ledger import Feed, Registered
from recvault.ledger.expected import Archived
from recvault.models import JSON, Phase, Recording, Rejected
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report, iso
from recvault.shutdown import Stop
from recvault.transfer.fetch import formats

SCHEMA = "recvault/backfill-plan/v1"
UNKNOWN = "unknown"  # the format of a recording whose row names none
_LISTS = 4


@dataclass(slots=True)
class Total:
    """Totals of media that are not archived yet; archived ones and unknown sizes are counted separately."""

    recordings: int = 0
    seconds: float = 0.0
    estimated_bytes: int = 0
    unknown_sizes: int = 0
    archived: int = 0

    def add(self, recording: Recording, size: int | None) -> None:
        """Add a recording that is not archived yet."""
        self.recordings += 1
        self.seconds += recording.duration_seconds or 0.0
        self.estimated_bytes += size or 0
        self.unknown_sizes += size is None

    def document(self) -> JSON:
        """Return the JSON document; `estimated_bytes` is null if no size is known at all."""
        size = None if self.recordings and self.unknown_sizes == self.recordings else self.estimated_bytes
        return {
            "recordings": self.recordings,
            "seconds": round(self.seconds, 3),
            "estimated_bytes": size,
            "unknown_sizes": self.unknown_sizes,
            "archived": self.archived,
        }


@dataclass(slots=True)
class Account:
    """One account: its recordings, each counted once, and its media by month and format."""

    total: Total = field(default_factory=Total)
    not_ready: int = 0  # recordings that are not final at the provider yet
    gone: int = 0  # nothing can be archived of these
    external: int = 0
    unreadable: int = 0
    months: dict[tuple[str, str], Total] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """Accepts listed recordings like the ledger, but only counts them. Thread-safe."""

    archived: Archived
    wanted: tuple[str, ...]  # formats
    rates: Mapping[str, tuple[int, int]]  # the provider's `bytes_per_second`
    accounts: dict[str, Account] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def register(
        self,
        feed: Feed,
        recordings: Iterable[Recording],
        rejected: Iterable[Rejected],
        now: datetime,
        recheck: timedelta,
    ) -> Registered:
        """Count a page. A recording that is listed again counts once."""
        listed = list(recordings)
        with self._lock:
            account = self.accounts.setdefault(feed.account_id, Account())
            for row in rejected:
                name = row.recording_id or row.body
                account.unreadable += name not in account.met
                account.met.add(name)
            new = {each.recording_id: each for each in listed if each.recording_id not in account.met}
            account.met.update(new)
            archived = {
                (owner, name)
                for owner in {each.account_id for each in new.values()}
                for name in self.archived.of(feed.provider, owner, new)
            }
            for each in new.values():
                _count(account, each, (each.account_id, each.recording_id) in archived, self.wanted, self.rates)
        return Registered()

    def note_scan_started(self, feed: Feed, now: datetime) -> None: ...

    def advance(self, feed: Feed, watermark: datetime | None, now: datetime) -> None: ...

    def reach(self, feed: Feed, watermark: datetime) -> None: ...

    def watermark(self, feed: Feed) -> datetime | None:
        return None

    def note_scan_error(self, feed: Feed, error: str, now: datetime) -> None: ...

    def note_accounts(self, source: str, active: Collection[str], now: datetime) -> None: ...

    def fact(self, name: str) -> str | None:
        return None

    def remember(self, name: str, value: str) -> None: ...

    def retry(self, row_ids: Iterable[int] | None, now: datetime) -> int:
        return 0

    @property
    def ask(self) -> Nothing:
        return Nothing()


class Nothing:
    """Answers as an empty ledger does."""

    def accounts(self, source: str) -> list[str]:
        return []

    def find(self, recording_id: str, source: str | None = None) -> list[dict[str, Any]]:
        return []


def _count(
    account: Account,
    recording: Recording,
    is_archived: bool,
    wanted: tuple[str, ...],
    rates: Mapping[str, tuple[int, int]],
) -> None:
    if recording.phase is Phase.GONE:
        account.gone += 1
        return
    if recording.phase is Phase.EXTERNAL:
        account.external += 1
        return
    chosen = _formats(recording, wanted)
    month = recording.created_at.strftime("%Y-%m")
    totals = [account.months.setdefault((month, media_format), Total()) for media_format in chosen]
    if is_archived:
        for total in [account.total, *totals]:
            total.archived += 1
        return
    account.not_ready += recording.phase is Phase.UNFINISHED
    sizes = [estimate(recording, rates.get(media_format)) for media_format in chosen]
    for total, size in zip(totals, sizes, strict=True):
        total.add(recording, size)
    account.total.add(recording, None if None in sizes else sum(filter(None, sizes)))


def _formats(recording: Recording, wanted: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return formats(wanted, recording.formats)
    except MediaRejected:
        return (UNKNOWN,)


def estimate(recording: Recording, rates: tuple[int, int] | None) -> int | None:
    """Estimate the bytes of media; None if that is impossible. A row without channels counts as mono."""
    if recording.size_bytes is not None:
        return recording.size_bytes
    if rates is None or recording.duration_seconds is None:
        return None
    return round(recording.duration_seconds * rates[(recording.channels or 1) > 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPlan:
    """What was counted, and whether everything could be listed."""

    source: Source
    asked: Asked
    notebook: Notebook
    report: Report  # of the listing: errors and their exit code

    @property
    def rows(self) -> list[tuple[str, str, str, Total]]:
        """Account, month, format and their total, in order."""
        found = self.notebook.accounts.items()
        return sorted(
            ((name, *key, total) for name, account in found for key, total in account.months.items()),
            key=lambda row: row[:3],
        )

    def total(self) -> Total:
        """Return the total of all accounts."""
        every = [account.total for account in self.notebook.accounts.values()]
        return Total(*(sum(getattr(each, name) for each in every) for name in Total.__dataclass_fields__))

    def document(self) -> JSON:
        """Return the JSON document that `--json` prints."""
        window = self.asked.of(self.source) if not self.asked.is_named else self.asked.window
        return {
            "schema": SCHEMA,
            "source": self.source.name,
            "provider": self.source.provider,
            "since": iso(window.since),
            "until": iso(window.until),
            "names": [*map(str, self.asked.scopes), *(f"recording:{each}" for each in self.asked.recordings)],
            "outcome": self.report.outcome,
            "ledger": "read" if self.notebook.archived.is_known else "none",
            "total": self.total().document(),
            "accounts": [self._account(name) for _, name in self.report.accounts],
            "months": [
                {"account_id": name, "month": month, "format": media_format, **total.document()}
                for name, month, media_format, total in self.rows
            ],
        }

    def _account(self, account_id: str) -> JSON:
        account = self.notebook.accounts.get(account_id, Account())
        names = ("not_ready", "gone", "external", "unreadable")
        return {
            "account_id": account_id,
            **account.total.document(),
            **{name: getattr(account, name) for name in names},
            "error": self.report.accounts[self.source.name, account_id].error,
        }


def make(
    source: Source,
    asked: Asked,
    *,
    ledger: Archived,
    stop: Stop,
    clock: Callable[[], datetime],
    observer: Observer | None = None,
) -> BackfillPlan:
    """List what a backfill would list, several lists in parallel."""
    report = Report(command="backfill", started_at=clock())
    report.account(source.name, source.provider, source.account_id)
    line = source.line(source.account_id)
    notebook = Notebook(archived=ledger, wanted=line.formats, rates=line.provider.bytes_per_second)
    listing = Listing(ledger=notebook, clock=clock, report=report, observer=observer or Observer())
    accounts = listing.accounts(source)
    if asked.is_named:
        for scope in asked.scopes:
            listing.named(unbounded(source), accounts, scope)
        for recording_id in asked.recordings:
            listing.recording(unbounded(source), accounts, recording_id)
    else:
        _walk(listing, source, accounts, asked, stop)
    report.interrupted = stop.asked.is_set()
    report.finished_at = clock()
    return BackfillPlan(source=source, asked=asked, notebook=notebook, report=report)


def _walk(listing: Listing, source: Source, accounts: list[str], asked: Asked, stop: Stop) -> None:
    now, newest_first = listing.clock(), not asked.oldest_first
    histories = [
        History.of(
            account_id,
            asked.of(source),
            now,
            [],
            page_size=source.line(account_id).provider.page_size,
            newest_first=newest_first,
        )
        for account_id in accounts
    ]
    walk = Walk(
        listing=listing,
        source=unbounded(source),
        histories=histories,
        stop=stop,
        on_read=lambda history, slice_, scanned, begun: None,
    )
    with Threads(_LISTS, "discover", stop) as threads:
        finish([threads.submit(walk.read) for _ in range(_LISTS)], stop)
