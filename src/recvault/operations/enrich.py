"""Ask who called whom for recordings that are archived already, and put the answers under `calls/`.

The bucket says what is missing: sidecars without a call, and no line under `calls/`. No sidecar is changed. After a
kill the same command continues: what was put is not asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from recvault.app.runtime import Runtime
from recvault.archive import Sidecar, escape
from recvault.archive.late_calls import LateCall, calls_root, read_calls
from recvault.discovery.call_facts import CallsTold, Wanted, ask_calls, ask_participants
from recvault.dispatch.calls_writer import LateCalls
from recvault.errors import Cold, KeyRefused, TooLarge, UnknownName
from recvault.log.lines import get_logger
from recvault.models import JSON, Recording, Window
from recvault.monitoring.report import PARTIAL, iso
from recvault.providers.calls import call_in_row, lists_calls, lists_participants
from recvault.store import Reader

log = get_logger("recvault.operations.enrich")

SCHEMA = "recvault/enrich/v1"
TOGETHER = 20_000  # sidecars read between two questions to the list of calls
_MOST_BYTES = 64 << 20  # of an object under `calls/`

Identity = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Enriched:
    """The result."""

    source: str
    started_at: datetime
    finished_at: datetime | None = None
    sidecars: int = 0  # read
    known: int = 0  # the sidecar or an earlier run tells
    told: int = 0  # put under `calls/` now
    unknown: int = 0  # the provider does not list the call, or the recording has none
    unreadable: int = 0
    requests: int = 0  # to lists of calls
    keys: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """3 if a sidecar could not be read."""
        return PARTIAL if self.unreadable else 0

    def document(self) -> JSON:
        """Return the report as JSON."""
        names = ("source", "sidecars", "known", "told", "unknown", "unreadable", "requests", "keys")
        times = {"started_at": iso(self.started_at), "finished_at": iso(self.finished_at)}
        outcome = "partial" if self.unreadable else "ok"
        return {"schema": SCHEMA, "outcome": outcome, **times, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class _Found:
    """A sidecar that tells of no call."""

    recording: Recording
    in_row: JSON | None = field(repr=False)


class Enrich:
    """Made for one run over one source."""

    def __init__(self, runtime: Runtime, name: str, window: Window) -> None:
        self._runtime, self._name, self._window = runtime, name, window
        self._line = runtime.lines(name)
        self._reader: Reader = runtime.store.reader()
        self._writer = LateCalls(store=runtime.store, prefix=runtime.keys.prefix, clock=runtime.clock)
        self._enriched = Enriched(source=name, started_at=runtime.clock())

    def run(self) -> Enriched:
        """Enrich each account of the source. Raises what provider and bucket raise: what was put stays."""
        provider = self._line.provider
        if not (lists_calls(provider) or lists_participants(provider) or provider.provider == "telnyx"):
            raise UnknownName(f"{self._name}: {provider.name} has no list of calls", "there is nothing to enrich")
        known = self._runtime.ledger.ask.accounts(self._name)
        for account_id in dict.fromkeys([provider.account_id, *known]):
            self._account(account_id)
        self._enriched.finished_at = self._runtime.clock()
        return self._enriched

    def _account(self, account_id: str) -> None:
        provider = self._line.provider.provider
        told = self._told(provider, account_id)
        with ThreadPoolExecutor(self._runtime.settings.transfer.workers, thread_name_prefix="sidecars") as readers:
            keys = self._keys(provider, account_id)
            while page := list(islice(keys, TOGETHER)):
                self._runtime.stop.check()
                self._enriched.sidecars += len(page)
                read = list(readers.map(self._read, page))
                self._enriched.known += read.count("known")
                self._enriched.unreadable += read.count("unreadable")
                found = {each.recording.identity: each for each in read if isinstance(each, _Found)}
                lacking = {identity: each for identity, each in found.items() if identity not in told}
                self._enriched.known += len(found) - len(lacking)
                self._tell(account_id, lacking)
                told.update(lacking)

    def _told(self, provider: str, account_id: str) -> set[Identity]:
        """Return the recordings that an object under `calls/` tells of."""
        told: set[Identity] = set()
        for listed in self._reader.listed(self._runtime.keys.prefix + calls_root(provider, account_id)):
            body = self._reader.get(listed.key, _MOST_BYTES)
            if body is not None:
                try:
                    told.update(each.identity for each in read_calls(body.content))
                except ValueError as error:
                    log.warning("enrich.unreadable", key=listed.key, error=str(error))
        return told

    def _keys(self, provider: str, account_id: str) -> Iterator[str]:
        """Return the keys of the account's sidecars in the window, in key order."""
        keys, fields = self._runtime.keys, {"provider": escape(provider), "account": escape(account_id)}
        begun, _ = keys.beginning(**fields)
        for listed in self._reader.listed(begun):
            parts = keys.read(listed.key)
            if parts is None or not parts.is_sidecar or (parts.provider, parts.account) != tuple(fields.values()):
                continue
            if parts.date is None or self._may_be_within(parts.date):
                yield listed.key

    def _may_be_within(self, day: str) -> bool:
        since, until = self._window.since, self._window.until
        return (since is None or f"{since:%Y-%m-%d}" <= day) and (until is None or day <= f"{until:%Y-%m-%d}")

    def _read(self, key: str) -> _Found | str:
        """Return a sidecar in the window that tells of no call; of any other, what is to be counted."""
        try:
            body = self._reader.get(key)
            if body is None:
                return "deleted"
            sidecar = Sidecar.read(body.content)
            if not sidecar.is_v1:
                raise ValueError("it is not a sidecar v1")
            recording = sidecar.recording
        except (Cold, KeyRefused, TooLarge, ValueError) as error:
            log.warning("enrich.unreadable", key=key, error=str(error))
            return "unreadable"
        if recording.created_at not in self._window:
            return "outside"
        if sidecar.has_call:
            return "known"
        return _Found(sidecar.listed, call_in_row(sidecar.listed, self._runtime.clock()))

    def _tell(self, account_id: str, lacking: dict[Identity, _Found]) -> None:
        """Ask for these calls, and put what is told."""
        facts = {identity: each.in_row for identity, each in lacking.items() if each.in_row is not None}
        left = [each.recording for identity, each in lacking.items() if identity not in facts]
        if left:
            asked = self._asked(account_id, left)
            self._enriched.requests += asked.requests
            facts.update(asked.facts)
        self._enriched.told += len(facts)
        self._enriched.unknown += len(lacking) - len(facts)
        late = [_late(identity, call) for identity, call in facts.items()]
        self._enriched.keys += self._writer.put(late)
        self._runtime.ledger.uncalled.told(facts)

    def _asked(self, account_id: str, left: list[Recording]) -> CallsTold:
        """Ask the list of calls, or the participants of each Video room."""
        provider, now = self._line(account_id).provider, self._runtime.clock()
        rate = self._runtime.source(self._name).requests_per_second
        session = self._line.calls(account_id, rate, self._runtime.stop)
        if lists_participants(provider):
            tracks = [each for each in left if each.api == provider.api]
            return ask_participants(provider, session, tracks, now)
        wanted = [found for each in left if (found := Wanted.of(each)) is not None]
        if wanted and lists_calls(provider):
            told = ask_calls(provider, session, wanted, now)
            self._runtime.ledger.call_lists.answered(self._name, account_id)  # so that passes ask again at once
            return told
        return CallsTold({}, 0)


def _late(identity: Identity, call: JSON) -> LateCall:
    provider, account_id, recording_id = identity
    return LateCall(provider=provider, account_id=account_id, recording_id=recording_id, call=call)
