"""A recording's own row, read again by id, to explain missing media."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recvault.errors import NotFound
from recvault.models import ELSEWHERE, MISSING, Phase, Recording, Verdict
from recvault.transfer.verdicts import Settled

if TYPE_CHECKING:
    from recvault.transfer.fetch import Line


def not_there(current: Recording, error: NotFound) -> Settled:
    """Explain why media are missing though the row exists."""
    if current.external_location:
        message = f"{error.message}, and its row names {current.external_location}"
        return Settled(current, Verdict.EXTERNAL, ELSEWHERE, message)
    states = f"says {current.status}" if current.status else "is there"
    return Settled(
        current,
        Verdict.NOT_READY,
        "media.not_there",
        f"{error.message}, although its row {states}: retried until give_up_after",
    )


def refreshed(line: Line, recording: Recording) -> Recording:
    """Read the recording again by id. Raises Settled if the row says that it has no media now."""
    try:
        reply = line.session.send(line.provider.refresh_request(recording))
    except NotFound as error:
        raise Settled(recording, Verdict.NOT_READY, MISSING, f"{error.message} for what it had listed") from error
    fresh = line.provider.parse_recording(reply)
    # Its identity and date are fixed at registration: an answer cannot move a recording.
    fresh = replace(
        fresh,
        provider=recording.provider,
        account_id=recording.account_id,
        recording_id=recording.recording_id,
        created_at=recording.created_at,
    )
    match fresh.phase:
        case Phase.UNFINISHED:
            raise Settled(fresh, Verdict.NOT_READY, *_unfinished(fresh))
        case Phase.GONE:
            raise Settled(fresh, Verdict.GONE, "recording.gone", f"its status is {fresh.status}: it has no media")
        case Phase.EXTERNAL:
            where = fresh.external_location or "the customer's own storage"
            raise Settled(fresh, Verdict.EXTERNAL, "recording.external", f"its media are in {where}")
        case Phase.COMPLETE:
            return fresh


def _unfinished(fresh: Recording) -> tuple[str, str]:
    """Return reason and message why it has no media yet."""
    if str(fresh.status).lower() != "completed":
        return "recording.unfinished", f"its status is {fresh.status}"
    return "recording.no_addresses", "it is completed, but its row names no media yet: retried until give_up_after"
