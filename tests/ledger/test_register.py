"""Registering pages, the watermark, and the quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.rows import FEED, NOW, POLICIES, RECHECK, failure, many, receipt, recording, register, rejected, row
from recvault.ledger import Feed, FeedStatus, Ledger, Policy, Registered, StateCounts
from recvault.ledger.book import LEASE
from recvault.models import Phase, Recording, State, Verdict, stamp

LATER = NOW + timedelta(hours=1)
LATER_STILL = timedelta(days=9)


@pytest.mark.parametrize(
    ("phase", "state", "next_attempt_after"),
    [
        (Phase.COMPLETE, State.PENDING, timedelta()),
        (Phase.UNFINISHED, State.NOT_READY, RECHECK),
        (Phase.GONE, State.GONE, None),
        (Phase.EXTERNAL, State.EXTERNAL, None),
    ],
)
def test_a_phase_decides_where_a_new_recording_stands(
    ledger: Ledger, phase: Phase, state: State, next_attempt_after: timedelta | None
) -> None:
    """Complete recordings are due at once, unfinished ones are re-read later, others are never due."""
    register(ledger, recording(1, phase))

    standing = row(ledger)
    due_at = None if next_attempt_after is None else stamp(NOW + next_attempt_after)
    assert (standing["state"], standing["next_attempt_at"]) == (state, due_at)
    assert (standing["settled_at"] is None) == (due_at is not None)
    assert [job.recording for job in ledger.claim("main", LATER, 10)] == ([recording(1, phase)] if due_at else [])


def test_registering_again_changes_nothing(ledger: Ledger) -> None:
    """A known row stays unchanged, however often its page is listed."""
    register(ledger, *many(3))
    before = [row(ledger, f"RE{number}") for number in range(3)]

    again = register(ledger, *many(3), now=LATER)

    assert again == Registered()
    assert [row(ledger, f"RE{number}") for number in range(3)] == before


@pytest.mark.parametrize("ending", ["archived", "dead", "failing", "not_ready", "leased"])
def test_a_known_row_is_never_disturbed(ledger: Ledger, ending: str) -> None:
    """A recording listed with another status keeps its state, next attempt and lease."""
    register(ledger, recording(1))
    [job] = ledger.claim("main", NOW, 1)
    outcomes = {
        "archived": receipt(job),
        "dead": failure(job, Verdict.FATAL),
        "failing": failure(job),
        "not_ready": failure(job, Verdict.NOT_READY),
    }
    if ending in outcomes:
        ledger.settle([outcomes[ending]], NOW, POLICIES)
    before = row(ledger)

    for phase in Phase:
        assert register(ledger, recording(1, phase), now=LATER) == Registered()

    assert row(ledger) == before


@pytest.mark.parametrize("location", [None, "https://acme.example/RE1"])
def test_what_is_listed_as_kept_elsewhere_no_more_is_due(ledger: Ledger, location: str | None) -> None:
    """An external recording listed without a location is due; one still listed with it is not."""
    register(ledger, recording(1))
    ledger.settle([failure(job, Verdict.EXTERNAL) for job in ledger.claim("main", NOW, 1)], NOW, POLICIES)
    register(ledger, recording(1, external_location=location), now=LATER)
    assert len(ledger.claim("main", LATER, 1)) == (location is None)


def test_one_page_may_hold_a_recording_twice(ledger: Ledger) -> None:
    """A recording twice on a page of the 2008 list is registered once."""
    assert register(ledger, recording(1), recording(1)) == Registered(ids=("RE1",))
    assert ledger.ask.standing("main", "AC1") == StateCounts(pending=1)


def test_identity_is_provider_account_and_id(ledger: Ledger) -> None:
    """The same id at another account or provider is another recording; through another list it is not."""
    register(ledger, recording(1))
    assert register(ledger, recording(1, account_id="AC2")) == Registered(ids=("RE1",))
    assert register(ledger, recording(1, provider="signalwire")) == Registered(ids=("RE1",))
    legacy = Feed("old", "twilio", "AC1")
    assert register(ledger, recording(1, api="2008-08-01", status=None), feed=legacy) == Registered()
    assert {found["source"] for found in ledger.ask.find("RE1")} == {"main"}


def test_registering_counts_what_is_new(ledger: Ledger) -> None:
    """The result counts new rows, and those of them with nothing to archive."""
    page = [recording(1), recording(2, Phase.GONE), recording(3, Phase.EXTERNAL), recording(4, Phase.UNFINISHED)]
    assert register(ledger, *page) == Registered(ids=("RE1", "RE2", "RE3", "RE4"), gone=1, external=1)


def test_registering_names_what_is_new(ledger: Ledger) -> None:
    """The result has the new ids, in the list's order."""
    register(ledger, recording(2))
    page = [recording(3), recording(2), recording(1), recording(3)]
    assert register(ledger, *page) == Registered(ids=("RE3", "RE1"))


def test_a_crash_inside_a_page_leaves_nothing_of_it(ledger: Ledger, path: Path) -> None:
    """A page is one transaction: after a crash neither its rows nor its quarantine remain."""
    register(ledger, recording(1))

    def broken() -> Iterator[Recording]:
        yield recording(2)
        raise KeyboardInterrupt

    def broken_rejects() -> Iterator[object]:
        yield rejected('{"sid": "RE9"}', "RE9")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.register(FEED, broken(), [], NOW, RECHECK)
    with pytest.raises(KeyboardInterrupt):
        ledger.register(FEED, many(50), broken_rejects(), NOW, RECHECK)  # type: ignore[arg-type]

    other = Ledger.open(path, NOW)
    assert other.ask.standing("main", "AC1") == StateCounts(pending=1)
    assert other.ask.quarantined() == []
    other.close()
    assert register(ledger, recording(2)) == Registered(ids=("RE2",))  # the connection still works


def gone(ledger: Ledger) -> None:
    register(ledger, recording(1))
    ledger.settle([failure(job, Verdict.GONE) for job in ledger.claim("main", NOW, 1)], NOW, POLICIES)


def test_a_gone_recording_listed_as_complete_was_never_gone(ledger: Ledger) -> None:
    """A gone recording that is listed as complete is due again."""
    gone(ledger)

    register(ledger, recording(1), now=LATER)

    assert (row(ledger)["state"], row(ledger)["settled_at"]) == (State.PENDING, None)
    assert [job.recording.recording_id for job in ledger.claim("main", LATER, 1)] == ["RE1"]


@pytest.mark.parametrize("phase", [Phase.GONE, Phase.UNFINISHED, Phase.EXTERNAL])
def test_a_gone_recording_listed_otherwise_stays_gone(ledger: Ledger, phase: Phase) -> None:
    """A gone recording stays gone until a list shows it as complete."""
    gone(ledger)
    register(ledger, recording(1, phase), now=LATER)
    assert (row(ledger)["state"], row(ledger)["next_attempt_at"]) == (State.GONE, None)


def test_a_list_without_statuses_does_not_revive_what_another_list_calls_gone(ledger: Ledger) -> None:
    """The 2008 list does not revive a recording that the 2010 list shows as absent."""
    register(ledger, recording(1, Phase.GONE))
    register(ledger, recording(1, api="2008-08-01", status=None), feed=Feed("old", "twilio", "AC1"), now=LATER)
    assert row(ledger)["state"] == State.GONE


def test_a_list_without_statuses_revives_its_own(ledger: Ledger) -> None:
    """The 2008 list alone revives a gone recording that it lists."""
    listed = recording(1, api="2008-08-01", status=None)
    register(ledger, listed)
    ledger.settle([failure(job, Verdict.GONE) for job in ledger.claim("main", NOW, 1)], NOW, POLICIES)
    register(ledger, listed, now=LATER)
    assert row(ledger)["state"] == State.PENDING


OLD = Feed("old", "twilio", "AC1")
KEYS = {"encryption_cek": "wrapped", "encryption_iv": "nonce"}


def plain(number: int = 1) -> Recording:
    """Return the row as the 2008 list shows it."""
    return recording(number, api="2008-08-01", status=None)


@pytest.mark.parametrize("ending", ["pending", "failing", "dead"])
def test_a_list_that_knows_a_recording_s_keys_takes_it_over(ledger: Ledger, ending: str) -> None:
    """When the 2010 list shows an encrypted recording of the 2008 list with its keys, it is due there."""
    register(ledger, plain(), feed=OLD)
    if ending != "pending":
        verdict = Verdict.FATAL if ending == "dead" else Verdict.RETRY
        ledger.settle(
            [failure(job, verdict) for job in ledger.claim("old", NOW, 1)], NOW, {**POLICIES, "old": Policy()}
        )

    assert register(ledger, recording(1, encryption=KEYS), now=LATER) == Registered()

    assert ledger.claim("old", LATER + LATER_STILL, 1) == []
    [job] = ledger.claim("main", LATER, 1)
    assert (job.source, job.recording.encryption) == ("main", KEYS)
    assert (ledger.ask.standing("main", "AC1"), ledger.ask.standing("old", "AC1")) == (
        StateCounts(pending=1),
        StateCounts(),
    )


@pytest.mark.parametrize(
    ("phase", "state"),
    [(Phase.GONE, State.GONE), (Phase.EXTERNAL, State.EXTERNAL), (Phase.UNFINISHED, State.NOT_READY)],
)
def test_a_list_that_knows_the_status_settles_what_another_could_not_tell(
    ledger: Ledger, phase: Phase, state: State
) -> None:
    """The 2010 list's absent, external or unfinished replaces the 2008 list's missing status."""
    register(ledger, plain(), feed=OLD)
    ledger.settle([failure(job) for job in ledger.claim("old", NOW, 1)], NOW, {"old": Policy()})
    register(ledger, recording(1, phase), now=LATER)
    assert (row(ledger)["state"], row(ledger)["source"], row(ledger)["failing_since"]) == (state, "main", None)


def test_an_attempt_under_way_does_not_take_the_keys_away_again(ledger: Ledger) -> None:
    """If a transfer without keys fails after they were listed, the next listing restores them."""
    register(ledger, plain(), feed=OLD)
    [job] = ledger.claim("old", NOW, 1)
    keyed = recording(1, encryption=KEYS)
    register(ledger, keyed)
    ledger.settle([failure(job)], NOW, {"old": Policy()})

    register(ledger, keyed, now=LATER)

    [job] = ledger.claim("main", LATER, 1)
    assert job.recording.encryption == KEYS


# -- the watermark -----------------------------------------------------------------------------------------------------


def test_there_is_no_watermark_before_the_first_scan(ledger: Ledger) -> None:
    """Without a scan the watermark is None: all history is listed."""
    assert ledger.watermark(FEED) is None


def test_a_watermark_never_moves_backward(ledger: Ledger) -> None:
    """An earlier watermark, or an empty scan, does not change it."""
    ledger.advance(FEED, NOW, NOW)
    for mark in (NOW - timedelta(days=1), None, NOW):
        ledger.advance(FEED, mark, LATER)
        assert ledger.watermark(FEED) == NOW
    ledger.advance(FEED, NOW + timedelta(microseconds=1), LATER)
    assert ledger.watermark(FEED) == NOW + timedelta(microseconds=1)


def test_an_empty_first_scan_leaves_the_watermark_unset(ledger: Ledger) -> None:
    """A feed may succeed without a watermark, and get one later."""
    ledger.advance(FEED, None, NOW)
    assert ledger.watermark(FEED) is None
    ledger.advance(FEED, NOW, LATER)
    assert ledger.watermark(FEED) == NOW


def test_a_failed_scan_is_noted_and_the_watermark_stays(ledger: Ledger) -> None:
    """A scan's error stays in `status` until a complete scan."""
    ledger.note_scan_error(FEED, "the provider is down", NOW)
    assert ledger.watermark(FEED) is None
    ledger.advance(FEED, NOW, NOW)
    assert statuses(ledger) == [(None, NOW)]
    ledger.note_scan_error(FEED, "the provider is down", LATER)
    assert statuses(ledger) == [("the provider is down", NOW)]
    ledger.advance(FEED, None, LATER)
    assert statuses(ledger) == [(None, NOW)]


def statuses(ledger: Ledger) -> list[tuple[str | None, object]]:
    return [(status.error, status.watermark) for status in ledger.ask.feeds()]


def test_each_account_and_source_has_its_own_watermark(ledger: Ledger) -> None:
    """Each account of each source has its own watermark."""
    ledger.advance(FEED, NOW, NOW)
    for feed in (Feed("main", "twilio", "AC2"), Feed("old", "twilio", "AC1")):
        assert ledger.watermark(feed) is None


def test_a_feed_tells_how_it_stands(ledger: Ledger) -> None:
    """A feed's status has the oldest waiting recording, the next attempt, and the counts."""
    register(ledger, recording(1), recording(2, Phase.UNFINISHED), recording(3, Phase.EXTERNAL))
    ledger.advance(FEED, NOW, LATER)
    expected = FeedStatus(
        feed=FEED,
        watermark=NOW,
        last_success_at=LATER,
        standing=StateCounts(pending=1, not_ready=1, external=1),
        oldest_pending_at=NOW + timedelta(seconds=1),
        waiting_since=NOW,
        next_attempt_at=NOW,
    )
    assert ledger.ask.feeds() == [expected]


def test_a_scan_s_time_is_kept_however_it_ends(ledger: Ledger) -> None:
    """A running scan has a start; an ended one has its duration instead."""
    ledger.note_scan_started(FEED, NOW)
    assert scans(ledger) == [(NOW, None, None)]
    ledger.advance(FEED, NOW, NOW + timedelta(seconds=90.25))
    assert scans(ledger) == [(None, 90.25, None)]
    ledger.note_scan_started(FEED, LATER)
    assert scans(ledger) == [(LATER, 90.25, None)]
    ledger.note_scan_error(FEED, "the provider is down", LATER + timedelta(seconds=7))
    assert scans(ledger) == [(None, 7.0, LATER + timedelta(seconds=7))]


def test_a_scan_that_was_broken_off_is_overwritten_by_the_next(ledger: Ledger) -> None:
    """An interrupted scan's start is overwritten by the next scan."""
    ledger.note_scan_started(FEED, NOW)
    ledger.note_scan_started(FEED, LATER)
    ledger.advance(FEED, NOW, LATER + timedelta(seconds=2))
    assert scans(ledger) == [(None, 2.0, None)]


def test_a_scan_that_was_not_noted_has_no_time(ledger: Ledger) -> None:
    """An error before a scan began keeps the last duration; a clock set back gives 0."""
    ledger.note_scan_error(FEED, "no list of accounts", NOW)
    assert scans(ledger) == [(None, None, NOW)]
    ledger.note_scan_started(FEED, LATER)
    ledger.advance(FEED, NOW, NOW)
    assert scans(ledger) == [(None, 0.0, None)]
    ledger.note_scan_error(FEED, "no list of accounts", LATER)
    assert scans(ledger) == [(None, 0.0, LATER)]


def scans(ledger: Ledger) -> list[tuple[object, ...]]:
    return [(status.scan_started_at, status.scan_seconds, status.error_at) for status in ledger.ask.feeds()]


def waiting(ledger: Ledger) -> tuple[object, ...]:
    [status] = ledger.ask.feeds()
    return (status.oldest_pending_at, status.waiting_since)


def test_waiting_since_is_when_the_oldest_that_could_be_archived_was_registered(ledger: Ledger) -> None:
    """Unfinished recordings do not count as waiting for us."""
    ledger.advance(FEED, NOW, NOW)
    assert waiting(ledger) == (None, None)
    register(ledger, recording(1, Phase.UNFINISHED), recording(5, Phase.EXTERNAL))
    assert waiting(ledger) == (NOW + timedelta(seconds=1), None)
    register(ledger, recording(3), now=NOW + timedelta(minutes=1))
    register(ledger, recording(2), recording(0, account_id="AC2"), now=LATER)
    assert waiting(ledger) == (NOW + timedelta(seconds=1), LATER)
    jobs = ledger.claim("main", LATER, 9)  # leased ones still wait
    assert waiting(ledger) == (NOW + timedelta(seconds=1), LATER)
    ledger.settle(
        [failure(job) if job.recording.recording_id == "RE3" else receipt(job) for job in jobs], LATER, POLICIES
    )
    assert waiting(ledger) == (NOW + timedelta(seconds=3), NOW + timedelta(minutes=1))


def test_the_next_due_is_the_soonest_of_the_sources_asked_about(ledger: Ledger) -> None:
    """The next due time is the soonest of these sources, including ends of leases."""
    other = Feed("other", "twilio", "AC1")
    assert ledger.ask.next_due(["main"]) is None
    register(ledger, recording(1), now=LATER)
    register(ledger, recording(2), feed=other)
    assert ledger.ask.next_due(["main", "other", "none"]) == NOW
    assert ledger.ask.next_due({"main"}) == LATER
    assert ledger.ask.next_due([]) is None
    ledger.claim("main", LATER, 1)
    assert ledger.ask.next_due(["main"]) == LATER + LEASE


# -- quarantine --------------------------------------------------------------------------------------------------------


def test_a_rejected_row_is_kept_with_its_body(ledger: Ledger) -> None:
    """An unreadable row is quarantined with its body and counts as open; seen again it is still one row."""
    body = '{"sid": "RE1", "date_created": "yesterday", "note": "\ufeff\\u0000"}'
    register(ledger, recording(2), rejected=[rejected(body)])
    register(ledger, recording(2), rejected=[rejected(body)], now=LATER)

    [kept] = ledger.ask.quarantined()
    assert (kept["body"], kept["reason"], kept["recording_id"]) == (body, "ValueError: no date", "RE1")
    assert kept["first_seen_at"] < kept["last_seen_at"]
    assert ledger.ask.standing("main", "AC1") == StateCounts(pending=1, quarantined=1)


def test_a_row_that_can_be_read_by_now_is_released(ledger: Ledger) -> None:
    """Once its row can be read, a recording is registered and leaves the quarantine."""
    register(ledger, rejected=[rejected("a"), rejected("b", "RE2"), rejected("c", None)])
    register(ledger, recording(1), now=LATER)
    assert [(kept["body"], kept["recording_id"]) for kept in ledger.ask.quarantined()] == [("b", "RE2"), ("c", None)]


def test_a_rejected_row_that_changes_stays_one_and_is_released_whole(ledger: Ledger) -> None:
    """A bad row that changes stays one quarantined row, with its latest body."""
    for body in ("a", "b", "a", "c"):
        register(ledger, rejected=[rejected(body)])
    assert [kept["body"] for kept in ledger.ask.quarantined()] == ["c"]
    register(ledger, recording(1))
    assert ledger.ask.quarantined() == []


def test_a_page_of_rejected_rows_keeps_each_once(ledger: Ledger) -> None:
    """Bad rows that stay, change, or repeat on a page are one quarantined row each; without an id, one per body."""
    page = [rejected("a", "RE1"), rejected("b", "RE2"), rejected("b", "RE2"), rejected("c", None), rejected("d", None)]
    register(ledger, rejected=page)
    register(ledger, rejected=[rejected("a", "RE1"), rejected("b2", "RE2"), rejected("c", None)], now=LATER)
    kept = [(row["recording_id"], row["body"], row["last_seen_at"] == stamp(LATER)) for row in ledger.ask.quarantined()]
    assert kept == [("RE1", "a", True), ("RE2", "b2", True), (None, "c", True), (None, "d", False)]


def test_another_account_releases_nothing(ledger: Ledger) -> None:
    """A readable row releases only its own account's row."""
    register(ledger, rejected=[rejected()])
    register(ledger, recording(1, account_id="AC2"), feed=Feed("main", "twilio", "AC2"))
    assert len(ledger.ask.quarantined()) == 1


def test_an_account_that_is_no_more_is_closed_and_may_come_back(ledger: Ledger) -> None:
    """An account is closed when first missing and opened when back; other sources' accounts are unaffected."""
    feeds = [Feed("main", "twilio", "AC1"), Feed("main", "twilio", "AC2"), Feed("other", "twilio", "AC2")]
    for feed in feeds:
        ledger.advance(feed, NOW, NOW)

    def closed() -> list[object]:
        return [status.closed_at for status in ledger.ask.feeds()]

    ledger.note_accounts("main", ["AC1"], NOW)
    ledger.note_accounts("main", ["AC1"], NOW + timedelta(days=1))
    assert closed() == [None, NOW, None]
    ledger.note_accounts("main", ["AC1", "AC2"], NOW + timedelta(days=2))
    assert closed() == [None, None, None]
