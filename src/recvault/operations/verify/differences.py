"""What can be wrong with an object, in words, with what to do."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from recvault.ledger import Expected
from recvault.models import JSON

SCHEMA = "recvault/verify/v1"
MOST = 1_000  # differences that are kept; all are counted


class DifferenceKind(enum.StrEnum):
    """What became of an object."""

    MISSING = "missing"  # the ledger's recording was archived, and the object is not there
    DIFFERENT = "different"  # it is there, and not as it was archived
    ORPHAN_MEDIA = "orphan_media"  # media under a key of ours that no sidecar names
    UNCOMMITTED = "uncommitted"  # media that wait for the sidecar that is to name them
    UNKNOWN = "unknown"  # not ours, or a sidecar that the ledger does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that is not as it must be."""

    kind: DifferenceKind
    key: str
    reason: str  # a dotted constant: a word of HINTS
    message: str
    source: str | None = None
    provider: str | None = None
    account_id: str | None = None
    recording_id: str | None = None
    outlook: str | None = None  # of what is missing, where it is not simply that it can be made due: a word of HINTS
    made_due: bool = False  # its recording is due again: `--repair`

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.made_due:
            return "made due: the next pass brings back what is missing while the provider still has it"
        name = f"{self.source}:{self.recording_id}" if self.source else self.recording_id or ""
        return HINTS[self.outlook or self.reason].format(id=name)

    def document(self) -> JSON:
        """As `--json` prints it."""
        return {
            "kind": self.kind.value,
            "key": self.key,
            "source": self.source,
            "provider": self.provider,
            "account_id": self.account_id,
            "recording_id": self.recording_id,
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "made_due": self.made_due,
        }


_REPAIR = "`recvault verify --repair` makes it due again"
_MOVE = "move the object to where recvault does not look, then `recvault verify --repair`"

HINTS: Mapping[str, str] = {
    "sidecar.missing": _REPAIR,
    "media.missing": _REPAIR,
    "missing.due": "it is due already: the next pass brings back what is missing while the provider still has it",
    "missing.lost": "its provider had it no more; `recvault retry {id}` asks once more. Else look for an earlier "
    "version in the bucket, or a copy",
    "missing.earlier": "its provider serves something else now, which stands beside it: look for an earlier version in "
    "the bucket, or a copy",
    "missing.dead": "`recvault failures` says why it did not come back; then `recvault retry {id}`",
    "missing.beside": "mend first what is different of this recording",
    "sidecar.content": f"an earlier version in the bucket may be whole. {_MOVE}",
    "sidecar.schema": f"an earlier version in the bucket may be whole. {_MOVE}",
    "sidecar.identity": _MOVE,
    "sidecar.hash": f"it was changed: an earlier version in the bucket may be whole. {_MOVE}",
    "sidecar.too_large": f"it is not the one that was archived: an earlier version in the bucket may be whole. {_MOVE}",
    "sidecar.changed": "it was rewritten after it was archived: an earlier version in the bucket may be the right one. "
    f"{_MOVE}",
    "sidecar.not_the_ledgers": "one of them was changed: `recvault show {id}` prints both. An earlier version in the "
    f"bucket may be whole. {_MOVE}",
    "media.size": f"an earlier version in the bucket may be whole. {_MOVE}",
    "media.hash": f"an earlier version in the bucket may be whole. {_MOVE}",
    "media.no_recording": "nothing names it and the ledger does not know its recording: `recvault backfill --source "
    "NAME --recording ID` archives it if a provider still lists it; else it may be moved away",
    "media.not_committed": "`recvault retry {id}` lets the next pass commit it",
    "media.unproven": "this ledger did not store it, and the provider has no such recording now: if an earlier "
    "ledger of yours stored it, keep it; else move it away",
    "media.waits": "its recording is tried again, and in the end what it lacks is given up: `recvault show {id}` tells",
    "media.not_named": "the sidecar of its recording does not name it: compare, and move it away",
    "object.foreign": "recvault did not write it: move it out of the archive's prefix",
    "sidecar.not_in_ledger": "the ledger does not know it, as after a loss: `recvault rebuild` makes one that does",
    "sidecar.not_settled": "`recvault retry {id}` lets the next pass find it",
    "sidecar.unproven": "this ledger did not write it, and the provider has no such recording now: if an earlier "
    "ledger of yours did, move the ledger away, and `recvault rebuild` makes one that knows it; else move it away",
    "sidecar.second": "the ledger knows this recording by another sidecar: compare, and move one away",
    "sidecar.unreadable": "it is no sidecar of recvault's: move it out of the archive's prefix",
}


def about(row: Expected, kind: DifferenceKind, key: str, reason: str, message: str) -> Difference:
    """A difference of a recording that the ledger knows."""
    return Difference(
        kind=kind,
        key=key,
        reason=reason,
        message=message,
        source=row.source,
        provider=row.provider,
        account_id=row.account_id,
        recording_id=row.recording_id,
    )
