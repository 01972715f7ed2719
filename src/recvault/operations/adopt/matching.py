"""Match foreign objects to the recordings of a source, by the ids in their keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from recvault.app.runtime import Runtime
from recvault.discovery.history import unbounded
from recvault.discovery.scan import by_id
from recvault.dispatch.thread_pool import Threads
from recvault.errors import ConfigError, CredentialsRefused, Denied, NotFound, Refused, Unavailable
from recvault.models import Recording, State, Window
from recvault.monitoring.observer import Observer
from recvault.monitoring.report import Report
from recvault.operations.adopt.names import ids_in, written_ids
from recvault.store import Listed

Row = dict[str, Any]
_REFUSED = {77: CredentialsRefused, 78: ConfigError}


@dataclass(slots=True, kw_only=True)
class Match:
    """A recording, and the objects that are named after it."""

    recording_id: str
    row_id: int | None  # None: not in the ledger, in a dry run
    is_archived: bool = False
    recording: Recording | None = None  # as the ledger has it, or as the provider told it now
    keys: list[str] = field(default_factory=list)
    matched_by: str = "id"


class Matching:
    """For one run over one source."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime, self._name = runtime, name

    def groups(self, objects: Iterable[Listed], *, may_register: bool) -> tuple[list[Match], list[Listed]]:
        """Return the recordings that objects are named after, and the objects without one.

        What the ledger does not know is listed at the provider and registered; or, if it must not be, asked for by id.
        """
        groups: dict[object, Match] = {}
        left = [each for each in objects if not self._add(groups, each)]
        if left and may_register:
            self._register()
            left = [each for each in left if not self._add(groups, each)]
        elif left:
            left = [each for each in left if not self._add_asked(groups, each)]
        return list(groups.values()), left

    def _add(self, groups: dict[object, Match], found: Listed) -> bool:
        row = self._row(found.key)
        if row is None:
            return False
        if row["id"] not in groups:
            is_archived = row["state"] == State.ARCHIVED
            groups[row["id"]] = Match(
                recording_id=row["recording_id"],
                row_id=row["id"],
                is_archived=is_archived,
                recording=None if is_archived or not row["recording"] else Recording.from_json(row["recording"]),
            )
        groups[row["id"]].keys.append(found.key)
        return True

    def _row(self, key: str) -> Row | None:
        """Return the ledger's row of the first id in a key that it has; of several accounts', the one in the key."""
        for each in ids_in(key):
            rows = self._runtime.ledger.ask.find(each, self._name)
            if len(rows) > 1:
                rows = [row for row in rows if row["account_id"] in key]
            if len(rows) == 1:
                return rows[0]
        return None

    def _add_asked(self, groups: dict[object, Match], found: Listed) -> bool:
        line = self._runtime.lines(self._name)
        own = line(line.provider.account_id)
        for each in written_ids(found.key):
            if each not in groups:
                try:
                    told = by_id(own.provider, own.session, each)
                except (NotFound, Refused, Denied):
                    continue
                groups[each] = Match(recording_id=told.recording_id, row_id=None, recording=told)
            groups[each].keys.append(found.key)
            return True
        return False

    def _register(self) -> None:
        """List all of the source, and register what the ledger does not know. Raises if a list cannot be read."""
        runtime = self._runtime
        report = Report(command="adopt", started_at=runtime.clock())
        for source in runtime.usable([self._name], report):
            with Threads(1, "adopt", runtime.stop) as listers:
                listing = runtime.work([source], listers, report, Observer(), asks_calls=False).listing
                for account_id in listing.accounts(source):
                    runtime.stop.check()
                    listing.window(unbounded(source), account_id, Window())
        runtime.stop.check()
        errors = [row.error for row in report.accounts.values() if row.error]
        if errors:
            raise _REFUSED.get(report.exit_code, Unavailable)(f"{self._name} could not be listed: {errors[0]}")
