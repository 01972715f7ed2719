"""Compare the provider's list of calls with the recordings that the ledger knows. Changes nothing.

What it finds is put under `events/`, without numbers, and nowhere else.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from recvault.app.runtime import Runtime
from recvault.custody.events import tell
from recvault.discovery.call_facts import listed_calls
from recvault.discovery.call_gaps import CallGap, CallRecording, GapKind, GapRule, call_ids, families, gaps, is_over
from recvault.errors import Interrupted, RecvaultError, UnknownName
from recvault.ledger import Feed
from recvault.ledger.rows import media_of
from recvault.log.lines import get_logger
from recvault.models import JSON, Window
from recvault.monitoring.report import PARTIAL, iso
from recvault.providers.calendar import moment_before
from recvault.providers.calls import CallRow, lists_calls

log = get_logger("recvault.operations.gaps")

SCHEMA = "recvault/gaps/v1"
_LISTED_LATE = timedelta(hours=1)  # after a call's end its recording may be listed so late
_AROUND = timedelta(hours=4)  # a call is dialled at most so long after the one that dials it
_CLOCKS_DIFFER = timedelta(minutes=1)  # of the lists of calls and recordings
_TOGETHER = 1_000  # families for which the ledger is asked at once


@dataclass(slots=True, kw_only=True)
class GapsReport:
    """What was found."""

    source: str
    since: datetime
    until: datetime
    calls: int = 0  # of the window
    waiting: int = 0  # not over for long enough
    erased: int = 0  # without a recording, but one of that time is erased: of which call is not known any more
    found: list[tuple[str, CallGap]] = field(default_factory=list, repr=False)  # with their account
    errors: list[JSON] = field(default_factory=list)
    exit_code: int = 0

    def document(self) -> JSON:
        """Return it with the numbers of calls."""
        listed = [{"account_id": account_id, **gap.document()} for account_id, gap in self.found]
        return {"schema": SCHEMA, **self._counts(), "gaps": listed, "errors": self.errors}

    def facts(self) -> list[JSON]:
        """Return it without numbers, a line for each gap."""
        counts = {**self._counts(), "errors": len(self.errors), "found": len(self.found)}
        return [counts, *({"account_id": account_id, **gap.facts()} for account_id, gap in self.found)]

    def _counts(self) -> JSON:
        window = {"source": self.source, "since": iso(self.since), "until": iso(self.until)}
        return {**window, "calls": self.calls, "waiting": self.waiting, "erased": self.erased}


class Gaps:
    """Made for one run over one source."""

    def __init__(self, runtime: Runtime, name: str, window: Window) -> None:
        settings, now = runtime.source(name), runtime.clock()
        since = window.since or moment_before(now, settings.reconcile_window)
        since = max(since, settings.start_from) if settings.start_from else since
        self._runtime, self._name, self._line = runtime, name, runtime.lines(name)
        self._window = Window(since, window.until or now)
        self._rule = GapRule(
            direction=settings.gaps.direction,
            numbers=settings.gaps.numbers,
            min_seconds=settings.gaps.min_seconds,
            tolerance=settings.gaps.tolerance.total_seconds(),
            late_start=settings.gaps.late_start.total_seconds(),
        )
        self._erased: list[datetime] = []
        self._report = GapsReport(source=name, since=since, until=window.until or now)

    def run(self) -> GapsReport:
        """Compare each account. One whose list cannot be read does not stop the others. Raises UnknownName for a
        provider without a list of calls."""
        provider = self._line.provider
        if not lists_calls(provider):
            raise UnknownName(
                f"{self._name}: {provider.name} has no list of calls, so that what was never recorded cannot be told",
                "quiet_after tells when a source falls silent",
            )
        known = self._runtime.ledger.ask.accounts(self._name)
        for account_id in dict.fromkeys([provider.account_id, *known]):
            try:
                self._account(account_id)
            except Interrupted:
                raise
            except RecvaultError as error:
                log.warning("gaps.failed", source=self._name, account_id=account_id, error=str(error))
                self._report.errors.append({"account_id": account_id, "message": str(error)})
                self._report.exit_code = max(self._report.exit_code, error.exit_code)
        if self._report.found:
            self._report.exit_code = self._report.exit_code or PARTIAL
        return self._report

    def tell(self) -> str:
        """Put the record of the run; return its path."""
        runtime = self._runtime
        return tell(runtime.records, "gaps", now=runtime.clock(), facts=self._report.facts())

    def _account(self, account_id: str) -> None:
        provider, ask = self._line(account_id).provider, self._runtime.ledger.ask
        scanned = ask.last_success(Feed(self._name, provider.provider, account_id))
        if scanned is None:
            raise UnknownName(
                f"{self._name}: the recordings of {account_id} were never listed completely",
                f"run `recvault sync --source {self._name}` first",
            )
        if self._runtime.ledger.fact("calls.incomplete") and ask.has_uncalled(
            self._name, account_id, self._report.since, self._report.until
        ):
            raise UnknownName(
                f"{self._name}: the ledger does not know the calls of recordings that an earlier version archived",
                "make the ledger anew with `recvault rebuild`, or choose a later --since",
            )
        self._erased = ask.erased_at(self._name, account_id)
        whole = self._families(account_id)
        while some := list(islice(whole, _TOGETHER)):
            self._judge(account_id, some, scanned - _LISTED_LATE)

    def _families(self, account_id: str) -> Iterator[list[CallRow]]:
        """Yield the families whose first call began in the window."""
        rate = self._runtime.source(self._name).requests_per_second
        session = self._line.calls(account_id, rate, self._runtime.stop)
        since, until = self._report.since, self._report.until
        provider = self._line(account_id).provider
        pages = listed_calls(provider, session, moment_before(since, _AROUND), until + _AROUND)
        for family in families(row for page in pages for row in page):
            began = min((row.started_at for row in family if row.started_at), default=None)
            if began is not None and began in self._window:
                yield family

    def _judge(self, account_id: str, some: list[list[CallRow]], before: datetime) -> None:
        ids = {each for family in some for each in call_ids(family)}
        of: defaultdict[str, list[CallRecording]] = defaultdict(list)
        for row in self._runtime.ledger.ask.of_calls(self._line.provider.provider, account_id, ids):
            media = media_of(row["media"], row["sidecar_key"]) if row["media"] else ()
            seconds = max((each.duration_seconds for each in media if each.duration_seconds is not None), default=None)
            of[row["call_id"]].append(
                CallRecording(call_id=row["call_id"], recording_id=row["recording_id"], seconds=seconds)
            )
        for family in some:
            self._report.calls += len(family)
            if not is_over(family, before):
                self._report.waiting += len(family)
                continue
            recordings = [each for call_id in sorted(call_ids(family)) for each in of.get(call_id, ())]
            for gap in gaps(family, recordings, self._rule):
                if gap.kind is GapKind.MISSING and self._may_be_erased(family):
                    self._report.erased += 1
                else:
                    self._report.found.append((account_id, gap))

    def _may_be_erased(self, family: list[CallRow]) -> bool:
        """Whether a recording was made during these calls that is erased: the ledger has forgotten of which call."""
        began = min((row.started_at for row in family if row.started_at), default=None)
        ended = max((row.ended_at for row in family if row.ended_at), default=began)
        if began is None or ended is None:
            return False
        first = bisect_left(self._erased, began - _CLOCKS_DIFFER)
        return first < len(self._erased) and self._erased[first] <= ended + _CLOCKS_DIFFER
