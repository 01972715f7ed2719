"""Register a recording that a webhook named, at once instead of at the next poll.

Polls remain authoritative: a hint moves no watermark, ends no scan and reports no error of the source. What it names is
read from the provider by id; nothing else of it is used.
"""

from __future__ import annotations

import enum

from recvault.discovery.poll import Listing
from recvault.discovery.scan import by_id
from recvault.discovery.source import Source
from recvault.errors import NotFound, Refused
from recvault.ledger import Ledger
from recvault.log.lines import get_logger
from recvault.models import Recording, Scope, Window
from recvault.providers.hints import Hint

log = get_logger("recvault.discovery.hinted")


class Followed(enum.StrEnum):
    """The result of a hint."""

    REGISTERED = "registered"  # new: due now, or read again until it is final
    HASTENED = "hastened"  # it was not ready: now it is due
    KNOWN = "known"  # nothing to do
    NOT_FOUND = "not_found"  # not known to the provider, or not yet
    NOT_WANTED = "not_wanted"  # of another account, or from before start_from


def follow(listing: Listing, ledger: Ledger, source: Source, hint: Hint) -> Followed:
    """Register what a hint names. Raises the errors of provider and ledger."""
    if hint.recording_id and (rows := _rows(ledger, source, hint.recording_id)):
        hastened = ledger.hasten(rows, listing.clock())
        if hastened:
            listing.observer.found()
        return Followed.HASTENED if hastened else Followed.KNOWN
    try:
        found = _read(source, hint)
    except (NotFound, Refused):
        return Followed.NOT_FOUND
    wanted = [each for each in found if _is_wanted(source, hint, each)]
    if not wanted:
        return Followed.NOT_WANTED if found else Followed.NOT_FOUND
    line = source.line(source.account_id)
    listing.on_listed(line.provider, wanted)
    feed = source.feed(source.account_id)
    new = ledger.register(feed, wanted, [], listing.clock(), source.policy.recheck_every)
    log.info("hint.registered", source=source.name, account_id=source.account_id, recordings=list(new.ids))
    listing.observer.found()
    return Followed.REGISTERED if new.ids else Followed.KNOWN


def _rows(ledger: Ledger, source: Source, recording_id: str) -> list[int]:
    """Return the ids of that recording's rows in the source's own account, whichever source registered it."""
    identity = (source.provider, source.account_id, recording_id)
    rows = ledger.ask.find(recording_id)
    return [row["id"] for row in rows if (row["provider"], row["account_id"], row["recording_id"]) == identity]


def _read(source: Source, hint: Hint) -> list[Recording]:
    """Read the recording by id, or the first page of a call's recordings."""
    line = source.line(source.account_id)
    if hint.recording_id:
        return [by_id(line.provider, line.session, hint.recording_id)]
    request = line.provider.list_request(Window(), Scope("call", hint.call_id))
    pages = line.session.pages(line.provider, request)
    return [recording for page, _ in (next(pages),) for recording in page.recordings]


def _is_wanted(source: Source, hint: Hint, found: Recording) -> bool:
    """Whether an answer is about the requested recording and account, and not from before start_from."""
    is_it = not hint.recording_id or found.recording_id == hint.recording_id
    is_recent = source.start_from is None or found.created_at >= source.start_from
    return is_it and is_recent and found.account_id == source.account_id
