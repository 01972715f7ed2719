"""`recvault backfill`: all history or named parts, read once, resumed after interruptions, continued by polls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recvault.dispatch.backfill import Asked
from recvault.errors import ConfigError
from recvault.ledger import Feed
from recvault.ledger.expected import Archived
from recvault.models import Scope, Window
from recvault.monitoring.progress import Progress
from recvault.monitoring.report import Report
from recvault.operations import backfill_plan
from recvault.operations.backfill_plan import BackfillPlan
from recvault.providers.telnyx import Telnyx
from recvault.providers.twilio import Twilio
from recvault.simulator import SimAccount, SimRecording, Simulator
from rig import SOURCES, START, Rig
from strict_s3 import Bucket

APIS: dict[str, Any] = {
    "voice": "voice",
    "legacy": "voice",
    "video": "video",
    "telnyx": "telnyx",
    "signalwire": "signalwire",
}
DAY = timedelta(days=1)
LOOKBACK = timedelta(hours=26)
LISTS = ("/Recordings.json", "/Recordings", "/recordings")


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault without sources; its clock and the providers' are frozen."""
    simulator.set_now(START)
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)


def opened(rig: Rig, name: str = "voice", count: int = 0, every: timedelta = DAY, **options: Any) -> SimAccount:
    """Make a source with that many recordings at regular times, the last one two days old."""
    provider, kind = SOURCES[name]
    account = rig.simulator.add_account(kind)
    if count:
        start = START - 2 * DAY - (count - 1) * every
        rig.simulator.populate(account, APIS[name], count, start, every, durations=(1.0, 1.0))
    rig.add_source(name, provider, account, **options)
    return account


def backfill(rig: Rig, name: str = "voice", now: datetime = START, since: Any = None, until: Any = None, **asked: Any):
    with rig.runtime(lambda: now) as runtime:
        return runtime.backfill(name, Asked(window=Window(since, until), **asked))


def planned(rig: Rig, name: str = "voice", since: Any = None, until: Any = None, **asked: Any) -> BackfillPlan:
    with rig.runtime(lambda: START) as runtime:
        ledger = Archived(runtime.settings.ledger.path)
        wanted = Asked(window=Window(since, until), **asked)
        return backfill_plan.make(runtime.listed(name), wanted, ledger=ledger, stop=runtime.stop, clock=runtime.clock)


def watermark(rig: Rig, name: str = "voice", account_id: str | None = None) -> datetime | None:
    with rig.runtime(lambda: START) as runtime:
        provider = runtime.provider(name)
        return runtime.ledger.watermark(Feed(name, provider.provider, account_id or provider.account_id))


def listed(simulator: Simulator) -> list[str]:
    """Return the requests for lists of recordings so far."""
    return [f"{each.path}?{each.query}" for each in simulator.requests if each.path.endswith(LISTS)]


def downloads(simulator: Simulator) -> Counter[str]:
    media = (".wav", ".mp3", "/Media")
    return Counter(each.path for each in simulator.requests if each.path.endswith(media))


def ids(recordings: Iterable[SimRecording]) -> set[str]:
    return {each.recording_id for each in recordings}


def only(report: Report) -> Any:
    (row,) = report.accounts.values()
    return row


ORDERS = [*((name, False) for name in SOURCES), ("voice", True), ("telnyx", True)]


@pytest.mark.parametrize(("name", "oldest_first"), ORDERS, ids=str)
def test_all_history_is_brought_home_and_polls_go_on_from_there(rig: Rig, name: str, oldest_first: bool) -> None:
    """For each provider everything listed is archived once, and the watermark is where a poll would leave it."""
    account = opened(rig, name, 15, every=40 * DAY)
    report = backfill(rig, name, oldest_first=oldest_first)
    assert (report.exit_code, report.command, only(report).archived) == (0, "backfill", 15), report.document()
    assert set(rig.sidecars()) == ids(rig.simulator.truth(account))
    mark = only(report).watermark
    assert START - 3 * DAY <= mark <= START - LOOKBACK
    assert watermark(rig, name) == mark

    rig.simulator.clear_requests()
    assert rig.sync(lambda: START).exit_code == 0
    assert len(listed(rig.simulator)) == 1
    assert downloads(rig.simulator) == Counter()


@pytest.mark.parametrize("name", SOURCES)
def test_a_window_is_half_open_and_nothing_beside_it_comes(rig: Rig, name: str) -> None:
    """--since is inclusive and --until exclusive, to the second, whatever the provider's filter supports."""
    account = opened(rig, name, 12, every=timedelta(hours=7))
    created = sorted(each.created_at for each in rig.simulator.recordings(account))
    since, until = created[3], created[8]
    assert backfill(rig, name, since=since, until=until).exit_code == 0
    wanted = ids(each for each in rig.simulator.recordings(account) if since <= each.created_at < until)
    assert (set(rig.sidecars()), len(wanted)) == (wanted, 5)
    assert watermark(rig, name) is None


SCOPES = [
    ("voice", "call"),
    ("voice", "conference"),
    ("video", "room"),
    ("telnyx", "call"),
    ("telnyx", "conference"),
    ("signalwire", "call"),
    ("signalwire", "conference"),
]


@pytest.mark.parametrize(("name", "kind"), SCOPES, ids=lambda each: str(each))
def test_a_named_list_brings_its_recordings_and_no_other(rig: Rig, name: str, kind: str) -> None:
    """The recordings of a call, conference or room are archived, of any date, regardless of start_from."""
    account = opened(rig, name, 6, every=300 * DAY, start_from="2026-09-30")
    named = f"CF{'7' * 32}" if name != "video" else f"RM{'7' * 32}"
    wanted = [
        rig.simulator.add(account, APIS[name], **{f"{kind}_id": named, "created_at": START - days * DAY})
        for days in (3, 900)
    ]
    report = backfill(rig, name, scopes=(Scope(kind, named),))
    assert (report.exit_code, set(rig.sidecars())) == (0, ids(wanted)), report.document()
    assert watermark(rig, name) is None


@pytest.mark.parametrize("name", SOURCES)
def test_a_named_recording_is_brought_without_any_list(rig: Rig, name: str) -> None:
    """A named recording is fetched by id, at each provider."""
    account = opened(rig, name, 4, every=300 * DAY)
    wanted = rig.simulator.recordings(account)[1]
    report = backfill(rig, name, recordings=(wanted.recording_id,))
    assert (report.exit_code, set(rig.sidecars())) == (0, {wanted.recording_id})
    assert listed(rig.simulator) == []


def test_an_unknown_recording_exits_2_and_the_others_come(rig: Rig) -> None:
    """An unknown recording is reported, and the other named ones are archived."""
    account = opened(rig, count=3)
    wanted, unknown = rig.simulator.recordings(account)[0], "RE" + "9" * 32
    report = backfill(rig, recordings=(unknown, wanted.recording_id))
    assert (report.exit_code, set(rig.sidecars())) == (2, {wanted.recording_id})
    assert f"voice has no recording {unknown}" in only(report).error


@pytest.mark.parametrize(("name", "kind"), [("voice", "room"), ("legacy", "call"), ("video", "conference")])
def test_a_list_that_the_provider_has_not_is_refused_before_anything_begins(rig: Rig, name: str, kind: str) -> None:
    """A kind of list that the provider lacks is refused with exit 78: it might answer with the whole account."""
    opened(rig, name)
    with rig.runtime() as runtime, pytest.raises(ConfigError, match=f"not by {kind}"):
        Asked(scopes=(Scope(kind, "X1"),)).check(runtime.provider(name))


def test_an_explicit_since_goes_before_start_from(rig: Rig) -> None:
    """A backfill begins at start_from, unless an earlier --since is given."""
    account = opened(rig, count=10, start_from=(START - 5 * DAY).strftime("%Y-%m-%d"))
    recordings = rig.simulator.recordings(account)
    assert backfill(rig).exit_code == 0
    later = {each.recording_id for each in recordings if each.created_at >= START.replace(hour=0) - 5 * DAY}
    assert set(rig.sidecars()) == later and 0 < len(later) < 10
    assert watermark(rig) is not None
    assert backfill(rig, since=START - 400 * DAY).exit_code == 0
    assert set(rig.sidecars()) == ids(recordings)


# -- the watermark ---------------------------------------------------------------------------------------------------


def test_the_watermark_never_moves_backward(rig: Rig) -> None:
    """A backfill of old years leaves a daemon's later watermark."""
    opened(rig, count=10)
    rig.sync(lambda: START)
    before = watermark(rig)
    for asked in ({"until": START - 6 * DAY}, {"since": START - 8 * DAY, "until": START - 5 * DAY}, {}):
        assert backfill(rig, now=START - timedelta(hours=1), **asked).exit_code == 0
        assert watermark(rig) == before
    assert before is not None


def test_years_that_adjoin_hand_over_the_watermark_step_by_step(rig: Rig) -> None:
    """Adjoining backfills move the watermark step by step; with a gap between them it stays."""
    opened(rig, count=10)
    first, second = START - 7 * DAY, START - 4 * DAY
    backfill(rig, since=second)
    assert watermark(rig) is None
    backfill(rig, until=first)
    assert watermark(rig) == first
    backfill(rig, since=first + timedelta(seconds=1), until=second)
    assert watermark(rig) == first
    backfill(rig, since=first, until=second)
    assert watermark(rig) == second


def test_an_empty_account_moves_no_watermark(rig: Rig) -> None:
    """An empty list moves no watermark: polls begin as they would have."""
    opened(rig)
    assert backfill(rig).exit_code == 0
    assert watermark(rig) is None


def test_a_slow_clock_at_the_provider_is_believed(rig: Rig) -> None:
    """If our clock is hours ahead, the watermark is the lookback before the provider's clock."""
    opened(rig, count=5)
    backfill(rig, now=START + timedelta(hours=9))
    mark = watermark(rig)
    assert mark is not None and mark <= START - LOOKBACK


@pytest.mark.parametrize("whole", [True, False], ids=["after a whole one", "after one that was cut short"])
def test_late_rows_near_the_end_are_read_by_a_rerun(rig: Rig, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """The time in which rows may still be listed late does not count as read."""
    account = opened(rig, count=40)
    late = rig.simulator.add(
        account, "voice", created_at=START - timedelta(hours=20), visible_at=START + timedelta(hours=1)
    )
    if not whole:
        fail_a_slice(rig, monkeypatch)
    backfill(rig)
    assert late.recording_id not in rig.sidecars()
    rig.simulator.set_now(START + timedelta(hours=2))
    rig.simulator.faults.clear_plans()
    assert backfill(rig, now=START + timedelta(hours=2)).exit_code == 0
    assert late.recording_id in rig.sidecars()


# -- slices ----------------------------------------------------------------------------------------------------------


def fail_a_slice(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second page of a slice link back to the first."""
    monkeypatch.setattr(Twilio, "page_size", 2)
    rig.simulator.faults.plan("page_loop", times=1, kind="list")


def test_a_slice_that_fails_is_read_by_the_rerun_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed slice exits 75 and keeps the watermark; the rerun lists only it and the last days."""
    opened(rig, count=40)
    fail_a_slice(rig, monkeypatch)
    report = backfill(rig)
    assert rig.simulator.faults.unfired() == []
    assert (report.exit_code, watermark(rig)) == (75, None)
    assert "same page twice" in only(report).error
    assert 30 <= len(rig.sidecars()) <= 40
    everything = len(listed(rig.simulator))

    rig.simulator.clear_requests()
    assert backfill(rig).exit_code == 0
    assert len(rig.sidecars()) == 40
    assert len(listed(rig.simulator)) < everything / 3
    assert watermark(rig) is not None


def test_an_account_that_fails_again_and_again_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account is abandoned after a few failed slices; the others are read."""
    monkeypatch.setattr(Twilio, "page_size", 2)
    parent = opened(rig, count=30, subaccounts=True)
    child = rig.simulator.add_account("twilio", parent=parent)
    rig.simulator.populate(child, "voice", 30, START - 40 * DAY, DAY, durations=(1.0, 1.0))
    rig.simulator.faults.plan("page_loop", match=child.account_id, times=10_000, kind="list")
    report = backfill(rig)
    assert report.exit_code == 75
    loops = rig.simulator.faults.fired["page_loop"]
    assert 3 <= loops <= 7  # plus those that ran beside the third
    assert ids(rig.simulator.recordings(parent)) <= set(rig.sidecars())
    assert watermark(rig) is not None
    assert watermark(rig, account_id=child.account_id) is None

    rig.simulator.faults.clear_plans()
    rig.simulator.clear_requests()
    assert backfill(rig).exit_code == 0
    mine = [each for each in listed(rig.simulator) if parent.account_id in each]
    theirs = [each for each in listed(rig.simulator) if child.account_id in each]
    assert len(mine) <= 4 < len(theirs)
    assert len(rig.sidecars()) == 60


def test_a_stop_in_the_middle_of_a_slice_does_not_count_it_as_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted slice does not count as read; the rerun archives the rest."""
    monkeypatch.setattr(Twilio, "page_size", 2)
    account = opened(rig, count=40)
    with rig.runtime(lambda: START) as runtime:
        counted = Stopping(runtime.stop.asked.set, pages=3)
        report = runtime.backfill("voice", Asked(), counted)
    assert (report.outcome, watermark(rig)) == ("interrupted", None)
    assert len(rig.sidecars()) < 40
    assert backfill(rig).exit_code == 0
    assert set(rig.sidecars()) == ids(rig.simulator.recordings(account))


class Stopping(Progress):
    """Requests a stop after that many pages with rows."""

    def __init__(self, stop: Callable[[], None], pages: int) -> None:
        super().__init__()
        self.stop, self.pages = stop, pages

    def changed(self, report: Report) -> None:
        self.pages -= any(row.listed for row in report.accounts.values())
        if self.pages <= 0:
            self.stop()


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("name", ["voice", "telnyx"])
def test_years_are_listed_in_few_requests_and_no_page_twice(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str, oldest_first: bool
) -> None:
    """2,000 recordings over five years need hardly more requests than pages, none of them repeated."""
    for provider in (Twilio, Telnyx):
        monkeypatch.setattr(provider, "page_size", 100)
    opened(rig, name, 2000, every=timedelta(hours=22))
    made = planned(rig, name, oldest_first=oldest_first)
    asked = listed(rig.simulator)
    assert made.total().recordings == 2000
    assert len(asked) == len(set(asked)) <= 110


def test_a_busy_year_after_quiet_ones_is_cut_finer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide slice that reaches a busy year is divided, not read in one piece."""
    monkeypatch.setattr(Twilio, "page_size", 10)
    opened(rig, "voice", 600, every=timedelta(hours=8))
    made = planned(rig, oldest_first=True)
    assert made.total().recordings == 600
    longest = Counter(each.split("DateCreated%3C")[-1].split("&")[0] for each in listed(rig.simulator))
    assert max(count for end, count in longest.items() if end.startswith("=")) <= 12


def test_a_filter_that_is_ignored_costs_a_few_whole_lists(rig: Rig) -> None:
    """If a list ignores its filter, slicing stops after a few complete lists."""
    rig.simulator.switches = replace(rig.simulator.switches, signalwire_date_filter="ignored")
    account = opened(rig, "signalwire", 60, every=20 * DAY)
    report = backfill(rig, "signalwire", since=START - 700 * DAY)
    wanted = ids(each for each in rig.simulator.recordings(account) if each.created_at >= START - 700 * DAY)
    assert (report.exit_code, set(rig.sidecars())) == (0, wanted)
    assert len(listed(rig.simulator)) <= 6


def test_what_was_read_of_other_years_stays_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small backfill in between does not reset an interrupted one."""
    opened(rig, count=40)
    fail_a_slice(rig, monkeypatch)
    backfill(rig)
    everything = len(listed(rig.simulator))
    assert backfill(rig, since=START - 3 * DAY).exit_code == 0
    rig.simulator.clear_requests()
    assert backfill(rig).exit_code == 0
    assert len(listed(rig.simulator)) < everything / 3


# -- sub-accounts, and what is known already -------------------------------------------------------------------------


def family(rig: Rig) -> tuple[SimAccount, SimAccount]:
    parent = opened(rig, count=3, subaccounts=True)
    child = rig.simulator.add_account("twilio", parent=parent)
    rig.simulator.populate(child, "voice", 3, START - 500 * DAY, 30 * DAY, durations=(1.0, 1.0))
    return parent, child


def test_sub_accounts_are_brought_each_with_its_own_watermark(rig: Rig) -> None:
    """Active sub-accounts are archived, each with its own watermark."""
    parent, child = family(rig)
    report = backfill(rig)
    assert (report.exit_code, {row.archived for row in report.accounts.values()}) == (0, {3})
    assert all(watermark(rig, account_id=each.account_id) for each in (parent, child))


def test_what_is_named_is_looked_for_in_sub_accounts_too(rig: Rig) -> None:
    """A call or recording of a sub-account is found by its id only."""
    _, child = family(rig)
    first, second, _ = rig.simulator.recordings(child)
    named = rig.simulator.add(child, "voice", call_id="CA" + "7" * 32, created_at=START - DAY)
    report = backfill(rig, scopes=(Scope("call", named.call_id or ""),), recordings=(first.recording_id,))
    assert (report.exit_code, set(rig.sidecars())) == (0, ids([named, first]))
    assert second.recording_id not in rig.sidecars()


@pytest.mark.parametrize("by", ["recording", "call"])
@pytest.mark.parametrize("state", ["failing", "dead"])
def test_what_is_named_has_its_turn_now(rig: Rig, by: str, state: str) -> None:
    """A named recording that failed or was given up is tried at once; others wait."""
    rig.transfer = {"retry_base": "9h", "retry_max": "9h", "max_attempts": 1 if state == "dead" else 5}
    account = opened(rig, count=2)
    recording, other = rig.simulator.recordings(account)
    rig.simulator.faults.plan("error_body_200", times=2, kind="media")
    assert backfill(rig).exit_code == 3
    assert rig.sidecars() == {}
    rig.simulator.faults.clear_plans()
    asked: dict[str, Any] = {"recordings": (recording.recording_id,)}
    if by == "call":
        asked = {"scopes": (Scope("call", recording.call_id or ""),)}
    report = backfill(rig, **asked)
    assert (report.exit_code, set(rig.sidecars())) == (3, {recording.recording_id})
    assert [each["recording_id"] for each in report.failures] == [other.recording_id]


def test_what_is_archived_already_is_not_transferred_again(rig: Rig) -> None:
    """An archived recording that is named by id or call is not transferred again."""
    account = opened(rig, count=2)
    backfill(rig)
    rig.simulator.clear_requests()
    recording = rig.simulator.recordings(account)[0]
    scope = Scope("call", recording.call_id or "")
    report = backfill(rig, scopes=(scope,), recordings=(recording.recording_id,))
    assert (report.exit_code, only(report).listed, only(report).archived) == (0, 2, 0)
    assert downloads(rig.simulator) == Counter()


# -- the dry run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
def test_a_dry_run_tells_what_a_backfill_then_does(rig: Rig, name: str) -> None:
    """A dry run's count is exact and its bytes within 5 %, and it writes nothing."""
    formats = ["wav", "mp3"]
    opened(rig, name, 12, every=20 * DAY, formats=formats)
    told = planned(rig, name).document()
    assert (rig.objects(), (rig.root / "ledger.db").exists(), (rig.root / "spool").exists()) == ({}, False, False)
    assert (told["outcome"], told["ledger"], downloads(rig.simulator)) == ("ok", "none", Counter())
    report = backfill(rig, name)
    assert told["total"]["recordings"] == only(report).archived == 12
    if name != "legacy":  # whose rows have no channels
        assert told["total"]["estimated_bytes"] == pytest.approx(only(report).bytes, rel=0.05)
    by_format = Counter(dict.fromkeys(formats, 0))
    for row in told["months"]:
        by_format[row["format"]] += row["recordings"]
    media = Counter(key.rpartition(".")[2] for key in rig.objects() if not key.endswith((".json", ".jsonl")))
    assert {name for name, count in by_format.items() if count} == set(media)
    assert {each: by_format[each] for each in media} == dict(media)
    assert len({row["month"] for row in told["months"]}) > 5


def test_a_dry_run_reads_an_existing_ledger_and_changes_nothing_of_it(rig: Rig) -> None:
    """A dry run changes no byte of an existing ledger and its files, and counts archived recordings separately."""
    opened(rig, count=6)
    backfill(rig, until=START - 4 * DAY)
    before = {path.name: path.read_bytes() for path in rig.root.iterdir() if path.is_file()}
    objects = rig.objects()
    told = planned(rig).document()
    assert {path.name: path.read_bytes() for path in rig.root.iterdir() if path.is_file()} == before
    assert rig.objects() == objects
    done = len(rig.sidecars())
    assert (told["ledger"], told["total"]["archived"], told["total"]["recordings"]) == ("read", done, 6 - done)
    assert 0 < done < 6


def test_a_dry_run_reads_what_a_running_process_has_just_settled(rig: Rig) -> None:
    """A dry run also sees what a running daemon has only in the WAL."""
    opened(rig, count=6)
    with rig.runtime(lambda: START) as runtime:
        runtime.backfill("voice", Asked())
        assert planned(rig).total().archived == 6


def test_a_dry_run_counts_apart_what_has_no_size_or_no_media(rig: Rig) -> None:
    """Recordings that are not final, gone or unreadable are counted separately; one with a foreign host is not."""
    account = opened(rig)
    add = rig.simulator.add
    old = {"created_at": START - 3 * DAY, "visible_at": START - 3 * DAY}
    add(account, "voice", status_final="absent", **old)
    add(account, "voice", external_location="https://theirs.example.com/a.wav", **old)
    add(account, "voice", malformed="bad_date", **old)
    add(account, "voice", completed_at=START + DAY, **old)
    add(account, "voice", duration_seconds=10.0, channels=2, **old)
    told = planned(rig).document()
    (row,) = told["accounts"]
    assert {name: row[name] for name in ("not_ready", "gone", "external", "unreadable", "recordings")} == {
        "not_ready": 1,
        "gone": 1,
        "external": 0,
        "unreadable": 1,
        "recordings": 3,
    }
    assert (row["estimated_bytes"], row["unknown_sizes"]) == (320_000 + 16_000, 1)


def test_a_dry_run_counts_apart_what_only_its_owner_s_bucket_holds(rig: Rig) -> None:
    """Recordings whose rows state external media are counted separately, as they would not be archived."""
    account = opened(rig, "video", count=1)
    old = {"created_at": START - 3 * DAY, "visible_at": START - 3 * DAY}
    rig.simulator.add(account, "video", external_location="https://theirs.example.com/a.mka", **old)
    (row,) = planned(rig, "video").document()["accounts"]
    assert (row["external"], row["recordings"]) == (1, 1)


def test_a_dry_run_that_cannot_list_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run that cannot list everything says that its totals are incomplete."""
    opened(rig, count=40)
    fail_a_slice(rig, monkeypatch)
    made = planned(rig)
    assert (made.report.exit_code, made.document()["outcome"]) == (75, "failed")
    assert "same page twice" in made.document()["accounts"][0]["error"]


def test_a_dry_run_of_what_is_named(rig: Rig) -> None:
    """A named call and a named recording are each counted once."""
    account = opened(rig, count=4)
    first, second, *_ = rig.simulator.recordings(account)
    scope = Scope("call", first.call_id or "")
    told = planned(rig, scopes=(scope,), recordings=(first.recording_id, second.recording_id)).document()
    assert told["total"]["recordings"] == 2
    assert told["names"] == [str(scope), f"recording:{first.recording_id}", f"recording:{second.recording_id}"]
