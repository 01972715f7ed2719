"""Is a feed well? One pure judgement, shared by `status`, /healthz, metrics and alarms through `verdict`.

The watermark's lag is not considered: an empty scan leaves the watermark, so it also grows on a quiet account.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from recvault.ledger import Feed, FeedStatus, Ledger, Stranded
from recvault.models import CREDENTIALS_REFUSED
from recvault.monitoring.risks import Reason, Risk
from recvault.timefmt import span, when


class Condition(enum.StrEnum):
    """A feed's condition, best first. Stale is an alarm; failing and slow should be looked at."""

    OK = "ok"  # with a message if the account was closed or failed recordings are retried
    NEW = "new"  # nothing was listed yet
    SLOW = "slow"  # a scan takes longer than the time between two polls, or a transfer does not end
    ATTENTION = "attention"  # recordings are dead or misconfigured, rows cannot be read, or nothing new comes
    FAILING = "failing"  # the last scan failed
    STALE = "stale"  # too long without a complete scan, or without an archived recording although some wait


@dataclass(frozen=True, slots=True)
class Health:
    """A feed's condition, with a message for the operator unless all is well."""

    condition: Condition
    words: str = ""
    reasons: tuple[Reason, ...] = field(default=(), compare=False)  # why recordings of it may be lost, worst first


_UNSEEN = "not scanned yet"


def judge(
    feed: FeedStatus,
    *,
    now: datetime,
    watched_since: datetime | None,
    poll_every: timedelta,
    stale_after: timedelta,
    slow_after: timedelta = timedelta(minutes=5),
    quiet: str | None = None,
) -> Health:
    """The worst condition of a feed, and why recordings of it may be lost.

    `watched_since` is when the daemon started to watch; None: no daemon is known. Reports transfers that run longer
    than `slow_after`; `quiet` says that an account has no new recordings although it normally has some.
    """
    unscanned = None if feed.closed_at else _unscanned(feed, now, watched_since, stale_after)
    unarchived = _unarchived(feed, now, watched_since, stale_after)
    transfer = _transfer(feed, now, slow_after)
    quiet = None if feed.closed_at else quiet
    reasons = tuple(_reasons(feed, unscanned, unarchived, quiet, is_watched=watched_since is not None))
    beside = [_recordings(feed), transfer]
    if unscanned or unarchived:
        late = [unscanned, unarchived and f"{unarchived}; `recvault failures` says why"]
        words = _all(*late, feed.error and f"the last scan failed: {feed.error}", *beside)
        return Health(Condition.STALE, words, reasons)
    if feed.error:
        return Health(Condition.FAILING, _all(_failing(feed), *beside), reasons)
    refused = _by_configuration(feed)
    if feed.standing.dead or feed.standing.quarantined or quiet or refused:
        return Health(Condition.ATTENTION, _all(quiet, refused, *beside), reasons)
    slow = None if feed.closed_at else _slow(feed, now, poll_every)
    if slow or transfer:
        return Health(Condition.SLOW, _all(slow, *beside), reasons)
    if feed.closed_at:
        words = (
            f"account not active since {when(feed.closed_at)}: it is read until its list is closed; the archive stays"
        )
        return Health(Condition.OK, _all(words, *beside))
    if _is_new(feed):
        scanned = feed.last_success_at is not None
        words = "scanned, but nothing was listed yet" if scanned else _UNSEEN
        return Health(Condition.NEW, words, reasons)
    # After a rebuild, or a backfill of single recordings, only a scan tells whether there are others.
    return Health(Condition.OK, _all(_UNSEEN if feed.last_success_at is None else None, *beside), reasons)


def _is_new(feed: FeedStatus) -> bool:
    return feed.watermark is None and not any(asdict(feed.standing).values())


def _reasons(
    feed: FeedStatus, unscanned: str | None, unarchived: str | None, quiet: str | None, *, is_watched: bool
) -> Iterator[Reason]:
    """Why recordings of it may be lost, each with the command that shows more or helps, worst first."""
    source, account_id, standing = feed.feed.source, feed.feed.account_id, feed.standing
    scan, look = f"recvault sync --source {source}", f"recvault failures --source {source}"

    def because(risk: Risk, message: str, command: str) -> Reason:
        return Reason(risk=risk, message=message, command=command, source=source, account_id=account_id)

    if unscanned:
        yield because(Risk.STALE, unscanned, "recvault check" if is_watched or feed.error else scan)
    if unarchived:
        yield because(Risk.STALE, unarchived, look)
    if feed.error:
        yield because(Risk.FAILING, _failing(feed), "recvault check")
    if refused := _by_configuration(feed):
        yield because(Risk.CONFIGURATION, refused, look)
    if standing.dead:
        yield because(Risk.DEAD, f"{_count(standing.dead, 'recording')} dead (given up)", look)
    if standing.quarantined:
        yield because(Risk.QUARANTINED, f"{_count(standing.quarantined, 'row')} in quarantine", look)
    if quiet:
        yield because(Risk.QUIET, quiet, f"recvault status {source}")
    if not (unscanned or feed.error or feed.closed_at) and feed.last_success_at is None:
        yield because(Risk.UNSEEN, _UNSEEN, f"recvault status {source}" if is_watched else scan)


def _all(*said: str | None) -> str:
    return "; ".join(words for words in said if words)


def _unscanned(feed: FeedStatus, now: datetime, watched_since: datetime | None, stale_after: timedelta) -> str | None:
    """Return the message if there was no complete scan for too long."""
    since = feed.last_success_at or watched_since
    if since is None or now - since < stale_after:
        return None
    last = f"the last one ended {when(since)}" if feed.last_success_at else f"none since {when(since)}"
    words = f"no complete scan for {_length(now - since)}: {last}"
    if feed.scan_started_at is None:
        return words
    return f"{words}; one has been running for {_length(now - feed.scan_started_at)}"


def _unarchived(feed: FeedStatus, now: datetime, watched_since: datetime | None, stale_after: timedelta) -> str | None:
    """Return the message if nothing was archived for too long although recordings are ready."""
    if feed.waiting_since is None or now - feed.waiting_since < stale_after:
        return None
    since = feed.last_archived_at or watched_since or feed.waiting_since
    if now - since < stale_after:
        return None
    last = f"the last one was {when(since)}" if feed.last_archived_at else f"none since {when(since)}"
    return (
        f"nothing was archived for {_length(now - since)}: {last}, although recordings have been waiting since "
        f"{when(feed.waiting_since)}"
    )


def _by_configuration(feed: FeedStatus) -> str | None:
    """Return the message about recordings that no further attempt archives; a failed scan names its own cause."""
    reasons = [each for each in feed.by_configuration if not (feed.error and each == CREDENTIALS_REFUSED)]
    return f"recordings fail until the configuration is corrected: {', '.join(reasons)}" if reasons else None


def _recordings(feed: FeedStatus) -> str | None:
    """Return the message about recordings that are lost, or may be, unless the operator acts."""
    standing, source = feed.standing, feed.feed.source
    told = []
    if standing.dead:
        told.append(f"{_count(standing.dead, 'recording')} dead (given up)")
    if standing.quarantined:
        told.append(f"{_count(standing.quarantined, 'row')} in quarantine")
    if standing.failing:
        told.append(f"{_count(standing.failing, 'recording')} failing (will be tried again)")
    return f"{', '.join(told)}: `recvault failures --source {source}`" if told else None


def _transfer(feed: FeedStatus, now: datetime, slow_after: timedelta) -> str | None:
    """Return the message about a transfer that runs too long."""
    if feed.transfer_since is None or now - feed.transfer_since < slow_after:
        return None
    return (
        f"a transfer has been running for {_length(now - feed.transfer_since)}: "
        f"see `recvault show {feed.transfer_of}`; transfer.min_rate sets the slowest rate allowed"
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _failing(feed: FeedStatus) -> str:
    """Return the message about a failed scan, the error first, so that it is read even if the rest is cut."""
    at = f"tried at {when(feed.error_at)}, " if feed.error_at else ""
    complete = when(feed.last_success_at) if feed.last_success_at else "never"
    return f"the last scan failed: {feed.error}; {at}last complete scan: {complete}"


def _slow(feed: FeedStatus, now: datetime, poll_every: timedelta) -> str | None:
    running = now - feed.scan_started_at if feed.scan_started_at else timedelta()
    if running > poll_every:
        words = f"a scan has been running for {_length(running)}"
    elif feed.scan_seconds is not None and feed.scan_seconds > poll_every.total_seconds():
        words = f"the last scan took {span(feed.scan_seconds)}"
    else:
        return None
    words += f", longer than poll_every, {_length(poll_every)}"
    if feed.last_success_at is None:
        return f"{words}: the first scan lists all history, later ones only new recordings"
    return f"{words}: set a longer poll_every, raise requests_per_second, or ask the provider for a higher limit"


def _length(time: timedelta) -> str:
    return span(time.total_seconds())


def judged_stranded(
    ledger: Ledger, stranded: Iterable[Stranded], now: datetime, stale_after: timedelta
) -> list[tuple[FeedStatus, Health]]:
    """Judge recordings that no source lists: failing, and stale once they have waited for long."""
    judged = []
    for each in stranded:
        status = ledger.ask.unread(Feed(each.source, each.provider, each.account_id))
        waits_long = status.waiting_since is not None and now - status.waiting_since >= stale_after
        condition = Condition.STALE if waits_long else Condition.FAILING
        reason = Reason(
            risk=Risk.STALE if waits_long else Risk.UNLISTED,
            message=each.error.message,
            command="recvault failures",
            source=each.source,
            account_id=each.account_id,
        )
        judged.append((status, Health(condition, str(each.error), (reason,))))
    return judged
