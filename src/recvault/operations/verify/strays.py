"""Judge objects that no row of the ledger names: unknown but ours, an orphan, or foreign.

What may be in transfer is not a stray: a transfer puts its media first and its sidecar last, and its row is settled
after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from recvault.archive import KeyParts, escape, unescape
from recvault.errors import Cold, TooLarge
from recvault.ledger import Ledger
from recvault.models import State
from recvault.operations.verify.checking import _Wrong, read
from recvault.operations.verify.differences import Difference, DifferenceKind
from recvault.operations.verify.result import Result
from recvault.store import Listed, Reader

YOUNG = timedelta(hours=1)  # younger media may be waiting for their sidecar

Row = dict[str, Any]
_ERASED = "its recording is erased, but this object is still there, or there again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strays:
    """Asks the ledger in its current state, not that of the snapshot of keys. Thread-safe."""

    reader: Reader
    ledger: Ledger
    clock: Callable[[], datetime]
    result: Result

    def foreign(self, found: Listed) -> None:
        """Report an object whose key recvault does not make."""
        self._tell(DifferenceKind.UNKNOWN, found.key, "object.foreign", "its key does not match archive.key_template")

    def sidecar(self, found: Listed, parts: KeyParts, media: Iterable[Listed]) -> None:
        """Judge a sidecar that the ledger did not name, and the media beside it."""
        try:
            body = self.reader.get(found.key)
            if body is None:
                return  # moved away meanwhile
            sidecar = read(body.content, body.noted)
        except (Cold, TooLarge, _Wrong) as wrong:
            words = wrong.words if isinstance(wrong, _Wrong) else wrong.message
            self._tell(DifferenceKind.UNKNOWN, found.key, "sidecar.unreadable", words)
            return
        provider, account_id, recording_id = identity = sidecar.identity
        rows = [row for row in self.ledger.ask.find(recording_id) if _identity(row) == identity]
        reason, words = _standing(found.key, rows, self._editions(rows))
        if reason:
            row = rows[0] if rows else {"provider": provider, "account_id": account_id, "recording_id": recording_id}
            self._tell(DifferenceKind.UNKNOWN, found.key, reason, words, row)
        keys = {each.key for each in sidecar.media}
        self.media([each for each in media if each.key not in keys], parts, rows)

    def media(self, found: Iterable[Listed], parts: KeyParts, rows: list[Row] | None = None) -> None:
        """Judge media that no sidecar beside them names; `rows` are the ledger's rows of the recording, if known."""
        for each in found:
            if rows is None:
                rows = self._rows(parts)
            if each.key in self._named(rows):
                continue
            row = rows[0] if rows else None
            if _is_under_way(row, is_young=self.clock() - each.modified < YOUNG):
                self.result.count(under_way=1)
            elif row is None:
                words = "neither a sidecar nor the ledger names it"
                self._tell(DifferenceKind.ORPHAN_MEDIA, each.key, "media.no_recording", words)
            elif row["state"] == State.ERASED:
                self._tell(DifferenceKind.UNKNOWN, each.key, "object.erased", _ERASED, row)
            elif row["state"] == State.ARCHIVED:
                words = "the sidecar of its recording does not name it"
                self._tell(DifferenceKind.ORPHAN_MEDIA, each.key, "media.not_named", words, row)
            else:
                reason = "media.waits" if row["next_attempt_at"] else "media.not_committed"
                if _is_unproven(row):
                    reason = "media.unproven"
                words = f"no sidecar names it; its recording is {row['state']}"
                self._tell(DifferenceKind.UNCOMMITTED, each.key, reason, words, row)

    def _named(self, rows: list[Row]) -> set[str]:
        """Return the media keys that the ledger knows of a recording: a sidecar may name one of another edition."""
        media = [each for row in rows for each in json.loads(row["media"] or "[]")]
        media += [each for edition in self._editions(rows) for each in edition["media"]]
        return {each["key"] for each in media}

    def _editions(self, rows: list[Row]) -> list[Row]:
        return [edition for row in rows for edition in self.ledger.ask.editions(row["id"])]

    def _rows(self, parts: KeyParts) -> list[Row]:
        """Return the ledger's rows of a key's recording."""
        recording_id = unescape(parts.recording_id)
        if recording_id is None:  # shortened in the key
            known = self.ledger.ask.beginning(unescape(parts.recording_id.partition("%")[0]) or "")
        else:
            known = self.ledger.ask.find(recording_id)
        wanted = (parts.provider, parts.account, parts.recording_id)
        return [row for row in known if tuple(map(escape, _identity(row))) == wanted]

    def _tell(self, kind: DifferenceKind, key: str, reason: str, message: str, row: Row | None = None) -> None:
        known = row or {}
        self.result.stray(
            Difference(
                kind=kind,
                key=key,
                reason=reason,
                message=message,
                source=known.get("source"),
                provider=known.get("provider"),
                account_id=known.get("account_id"),
                recording_id=known.get("recording_id"),
            )
        )


def _identity(row: Row) -> tuple[str, str, str]:
    return (row["provider"], row["account_id"], row["recording_id"])


def _is_under_way(row: Row | None, *, is_young: bool) -> bool:
    """Whether a transfer works on it or will; not if it failed before, which the operator must know."""
    if row is None:
        return is_young
    if row["lease"] or (row["state"] == State.PENDING and row["next_attempt_at"]):
        return True
    return is_young and row["state"] == State.ARCHIVED


def _standing(key: str, rows: list[Row], editions: list[Row]) -> tuple[str, str]:
    """Return why a sidecar is unknown; empty if it was archived since or is about to be."""
    if not rows:
        return "sidecar.not_in_ledger", "the ledger does not know its recording"
    [row] = rows
    if any(each["sidecar_key"] == key for each in editions):
        return "", ""
    if row["sidecar_key"] not in (None, key):
        return "sidecar.second", f"the ledger has the sidecar of its recording as {row['sidecar_key']}"
    if row["state"] == State.ARCHIVED or row["next_attempt_at"]:
        return "", ""
    if row["state"] == State.ERASED:
        return "object.erased", _ERASED
    reason = "sidecar.unproven" if _is_unproven(row) else "sidecar.not_settled"
    return reason, f"the ledger has its recording as {row['state']}"


def _is_unproven(row: Row) -> bool:
    """Whether no other attempt can prove it: none of this ledger put it, and its provider does not serve it."""
    is_final = row["state"] in (State.GONE, State.EXTERNAL) and not row["next_attempt_at"]
    return is_final and not row["may_have_put"]
