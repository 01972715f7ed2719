"""What the report calls a gap, what needs attention, and when everything is here and proven."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from recvault.reporting.figures import Cell, Failing, FromLedger, Gap
from reporting.made import FIRST, FULL, LAST, Cells, judged, month, sums, weeks_before

WEDNESDAY, SUNDAY = date(2026, 10, 14), date(2026, 10, 18)
LEDGER = FromLedger()


def without(*days: date, source: str = "voice") -> Cells:
    return {
        where: each for where, each in month("voice", "telnyx").items() if where not in {(day, source) for day in days}
    }


def test_everything_is_here_and_proven() -> None:
    """Only with a ledger that knows of no failure, without gaps and flags, and with all in manifests."""
    found = judged(sums(month("voice"), weeks_before("voice")), ledger=LEDGER)
    assert (found.headline, found.concerns, found.gaps) == ("Everything is here and proven", (), ())
    assert {found.cell(day, "voice") for day in found.days} == {Cell.PROVEN}
    assert (found.days[0], found.days[-1], len(found.days)) == (FIRST, LAST, 31)


def test_without_a_ledger_it_claims_less() -> None:
    """What could not be archived is in no bucket: without a ledger only what is there is called proven."""
    assert judged(sums(month("voice"))).headline == "Everything in the archive is proven"


def test_a_day_whose_like_have_recordings_is_a_gap() -> None:
    """A Wednesday without recordings is a gap of that source alone, with what is usual there."""
    found = judged(sums(without(WEDNESDAY), weeks_before("voice", "telnyx")), ledger=LEDGER)
    assert found.gaps == (Gap(WEDNESDAY, "voice", 40),)
    assert (found.cell(WEDNESDAY, "voice"), found.cell(WEDNESDAY, "telnyx")) == (Cell.GAP, Cell.PROVEN)
    assert found.concerns == ("1 day without recordings where there usually are some",)
    assert found.headline == "1 thing needs attention"


def test_a_day_that_is_always_empty_is_no_gap() -> None:
    """A source that never records on Sundays has no gap on one."""
    sundays = [FIRST + timedelta(days=day) for day in range(31) if (FIRST + timedelta(days=day)).weekday() == 6]
    before = {where: count for where, count in weeks_before("voice").items() if where[0].weekday() != 6}
    found = judged(sums(without(*sundays), before), ledger=LEDGER)
    assert (found.gaps, found.cell(SUNDAY, "voice")) == ((), Cell.EMPTY)


def test_a_source_that_began_or_is_seldom_used_has_no_gaps() -> None:
    """Days before a source's first recording, and those of one used on few days, are no gaps."""
    begun = {where: each for where, each in month("new").items() if where[0] >= WEDNESDAY}
    seldom = {(day, "seldom"): FULL for day in (FIRST, WEDNESDAY, LAST)}
    assert judged(sums({**begun, **seldom}), ledger=LEDGER).gaps == ()


def test_a_source_that_stopped_has_gaps_to_the_end() -> None:
    """A source without any recording in the range, but with eight weeks before it, is shown, with gaps."""
    found = judged(sums(month("telnyx"), weeks_before("voice", "telnyx")), ledger=LEDGER)
    assert found.sources == ("telnyx", "voice")
    stopped = [gap.day for gap in found.gaps if gap.source == "voice"]
    assert stopped[:14] == [FIRST + timedelta(days=day) for day in range(14)]
    assert {gap.source for gap in found.gaps} == {"voice"}


def test_a_day_that_the_catalog_may_lack_is_not_judged() -> None:
    """The day of the report and the one before are no gaps yet: the catalog is written once a day."""
    made = datetime(2026, 10, 15, 20, tzinfo=UTC)
    cells = {where: each for where, each in month("voice").items() if where[0] < WEDNESDAY}
    before = weeks_before("voice")
    assert judged(sums(cells, before), ledger=LEDGER, made_at=made).gaps == ()
    later = judged(sums(cells, before), ledger=LEDGER, made_at=made + timedelta(hours=4))
    assert [gap.day for gap in later.gaps] == [WEDNESDAY]


def test_nothing_new_is_told() -> None:
    """An archive that received nothing for days is not called proven, even if no day can be compared."""
    cells = {where: each for where, each in month("voice").items() if where[0] <= date(2026, 10, 2)}
    assert judged(sums(cells), ledger=LEDGER).concerns == ("no recording since 02 October 2026",)
    assert judged(sums({}), ledger=LEDGER).concerns == ("no recording in these days",)


def test_flags_and_manifests_are_told() -> None:
    """Flagged recordings, and those in no manifest two days after, need attention; the newest may wait for theirs."""
    cells = month("voice")
    cells[WEDNESDAY, "voice"] = replace(FULL, suspect=2)
    cells[SUNDAY, "voice"] = replace(FULL, unlisted=4, overdue=3)
    cells[LAST, "voice"] = replace(FULL, unlisted=7)
    found = judged(sums(cells), ledger=LEDGER, made_at=datetime(2026, 11, 2, 8, tzinfo=UTC))
    assert found.concerns == (
        "2 recordings flagged: short, damaged or not decryptable",
        "3 recordings in no manifest two days after being archived",
    )
    states = [found.cell(day, "voice") for day in (WEDNESDAY, SUNDAY, LAST)]
    assert states == [Cell.FLAGGED, Cell.OPEN, Cell.OPEN]


def test_the_newest_may_wait_for_their_manifest() -> None:
    """What is in no manifest yet, but was archived just now, is no concern; its day is not shown as proven."""
    cells = month("voice")
    cells[LAST, "voice"] = replace(FULL, unlisted=7)
    found = judged(sums(cells), ledger=LEDGER)
    assert (found.concerns, found.headline) == ((), "Everything is here and proven")
    assert found.cell(LAST, "voice") == Cell.OPEN


def test_what_the_catalog_lacks_is_told() -> None:
    """A recording that the ledger calls archived, long ago, and the catalog does not have is not here."""
    known = sums(month("voice"))
    settled = known.total.settled
    assert judged(known, ledger=FromLedger(settled=settled)).concerns == ()
    (concern,) = judged(known, ledger=FromLedger(settled=settled + 2)).concerns
    assert concern == "2 archived recordings not in the catalog: `recvault verify` says which is missing"


def test_without_any_manifest_nothing_is_proven() -> None:
    """However new all recordings are."""
    cells = {where: replace(FULL, unlisted=FULL.recordings) for where in month("voice")}
    (concern,) = judged(sums(cells), ledger=LEDGER).concerns
    assert concern.startswith("no recording is in a manifest yet")


def test_the_ledgers_failures_come_first() -> None:
    """What could not be archived, and why not all is safe, is the first concern."""
    failing = Failing(source="voice", reason="media.not_found", state="dead", count=3)
    ledger = FromLedger(failing=(failing,), risks=("voice AC1: no complete scan for 26 h",))
    assert judged(sums(month("voice")), ledger=ledger).concerns == (
        "3 recordings could not be archived yet",
        "voice AC1: no complete scan for 26 h",
    )
