"""Any history: recordings are registered, claimed, settled and retried, while processes end and begin."""

from __future__ import annotations

import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.rows import FEED, NOW, POLICIES, POLICY, failure, receipt, recording, register, rejected
from recvault.ledger import Feed, Ledger
from recvault.models import DRAINED, Job, Phase, State, Verdict

FINAL = {State.ARCHIVED, State.GONE, State.EXTERNAL, State.DEAD}
OLD = Feed("old", "twilio", "AC1")
numbers = st.integers(0, 7)


class AnyHistory(RuleBasedStateMachine):
    """Every registered recording is in a known state, and open ones have a next attempt."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "ledger.db"
        self.now = NOW
        self.ledger = Ledger.open(self.path, self.now)
        self.plain = sqlite3.connect(self.path)
        self.plain.row_factory = sqlite3.Row
        self.jobs: list[Job] = []
        self.seen: set[str] = set()
        self.archived: set[str] = set()
        self.watermark = None

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.plain.close()
            self.ledger.close()
            self.directory.cleanup()

    @rule(page=st.lists(st.tuples(numbers, st.sampled_from(list(Phase)), st.booleans()), max_size=4), old=st.booleans())
    def list_page(self, page: list[tuple[int, Phase, bool]], old: bool) -> None:
        """Two sources list one account; one knows neither statuses nor keys."""
        if old:
            rows = [recording(number, api="2008-08-01", status=None) for number, _, _ in page]
        else:
            rows = [recording(number, phase, encryption={"key": 1} if keyed else None) for number, phase, keyed in page]
        before = set(self.seen)
        new = register(self.ledger, *rows, now=self.now, feed=OLD if old else FEED, rejected=[rejected()])
        self.seen |= {row.recording_id for row in rows}
        assert new.new == len(self.seen - before)

    @rule(limit=st.integers(1, 5), source=st.sampled_from(["main", "old"]))
    def claim(self, limit: int, source: str) -> None:
        claimed = self.ledger.claim(source, self.now, limit)
        held = {job.recording.recording_id for job in self.jobs}
        assert not held & {job.recording.recording_id for job in claimed}
        self.jobs += claimed

    @rule(data=st.data(), counted=st.booleans(), drained=st.booleans())
    def settle(self, data: st.DataObject, counted: bool, drained: bool) -> None:
        if not self.jobs:
            return
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        verdict = data.draw(st.none() | st.sampled_from(list(Verdict)))
        if verdict is None:
            outcome = receipt(job)
            self.archived.add(job.recording.recording_id)
        elif drained:
            outcome = failure(job, reason=DRAINED, counted=False)
        else:
            outcome = failure(job, verdict, counted=counted)
        [state] = self.ledger.settle([outcome], self.now, {**POLICIES, "old": POLICY})
        assert state == self.rows()[job.recording.recording_id]["state"]

    @rule(hours=st.integers(0, 11))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours, minutes=1)
        if hours > 5:
            self.jobs = []  # leases may have expired: held jobs no longer count
            self.reopen()

    @rule()
    def retry(self) -> None:
        self.ledger.retry(None, self.now)

    @rule()
    def reopen(self) -> None:
        """The process ends with its leases, and another begins."""
        self.ledger.close()
        self.ledger = Ledger.open(self.path, self.now)
        self.jobs = []
        assert all(row["lease"] is None for row in self.rows().values())

    @rule(hours=st.none() | st.integers(-48, 48))
    def advance(self, hours: int | None) -> None:
        mark = None if hours is None else NOW + timedelta(hours=hours)
        self.ledger.advance(FEED, mark, self.now)
        self.watermark = max(filter(None, (self.watermark, mark)), default=None)

    def rows(self) -> dict[str, sqlite3.Row]:
        return {row["recording_id"]: row for row in self.plain.execute("SELECT * FROM recordings")}

    @invariant()
    def nothing_registered_is_forgotten(self) -> None:
        """Every registered recording is pending, archived, gone, external, dead or accepted, never forgotten."""
        if not hasattr(self, "ledger"):
            return
        rows = self.rows()
        assert set(rows) == self.seen
        for row in rows.values():
            assert (row["next_attempt_at"] is None) == (State(row["state"]) in FINAL and row["lease"] is None)
            assert row["state"] != "dead" or row["failing_since"] is not None
        assert {name for name, row in rows.items() if row["state"] == "archived"} == self.archived
        listed = self.plain.execute("SELECT recording_id FROM listed JOIN recordings USING (id)")
        assert {name for (name,) in listed} == self.seen - self.archived

    @invariant()
    def tallies_equal_a_count(self) -> None:
        """The counts of `status` equal a count over all rows."""
        if not hasattr(self, "ledger"):
            return
        counted = self.plain.execute("SELECT source, state, count(*) FROM recordings GROUP BY source, state")
        tallied = self.plain.execute("SELECT source, state, count FROM tallies WHERE count <> 0")
        assert {tuple(row) for row in tallied} == {tuple(row) for row in counted}

    @invariant()
    def days_equal_a_count(self) -> None:
        """The counts of days equal a count over all rows, as no row is archived twice."""
        if not hasattr(self, "ledger"):
            return
        counted = self.plain.execute(
            "SELECT source, substr(settled_at, 1, 10) AS day, count(*), sum(bytes), max(settled_at) FROM recordings "
            "WHERE state = 'archived' GROUP BY source, day"
        )
        kept = self.plain.execute("SELECT source, day, recordings, bytes, last_at FROM days")
        assert {tuple(row) for row in kept} == {tuple(row) for row in counted}

    @invariant()
    def the_watermark_is_the_highest_ever(self) -> None:
        """A watermark never moves backward."""
        if hasattr(self, "ledger"):
            assert self.ledger.watermark(FEED) == self.watermark


AnyHistory.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestAnyHistory = AnyHistory.TestCase
