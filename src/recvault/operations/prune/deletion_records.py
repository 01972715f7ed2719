"""The records of deletions under `prunes/`: what was about to be deleted, and what came of it.

prunes/provider=twilio/account=AC…/date=2026-10-02/20261002T031500Z-1f…-intent.jsonl     before the first request
prunes/provider=twilio/account=AC…/date=2026-10-02/20261002T031500Z-1f…-done.jsonl       after the last one
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recvault.archive import PRUNES, escape
from recvault.custody import Record, Records, RecordSchema, record_key
from recvault.errors import KeyConflict
from recvault.models import JSON, stamp, unstamp

_INTENT, _DONE = "-intent.jsonl", "-done.jsonl"

Identity = tuple[str, str, str]


class Deletion(enum.StrEnum):
    """What came of a deletion."""

    DELETED = "deleted"  # the provider confirmed it
    GONE = "gone"  # the provider no longer has it, though it did not confirm a deletion to this run
    KEPT = "kept"  # the provider still has it, or was not asked to delete it
    UNKNOWN = "unknown"  # the provider did not say; a later run deletes it, or finds it gone


IS_AWAY = frozenset({Deletion.DELETED, Deletion.GONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionOutcome:
    """What came of the deletion of one recording."""

    identity: Identity
    deletion: Deletion
    message: str | None = None  # why it was not deleted


@dataclass(frozen=True, slots=True)
class PruneRecords:
    """Puts and reads the records of one account."""

    records: Records
    provider: str
    account_id: str

    def intend(self, lines: Sequence[JSON], now: datetime) -> str:
        """Put the record of what is about to be deleted; return its path."""
        at = now.astimezone(UTC)
        path = record_key(
            PRUNES,
            f"{at:%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}{_INTENT.partition('.')[0]}",
            ext="jsonl",
            provider=self.provider,
            account=self.account_id,
            date=f"{at:%Y-%m-%d}",
        )
        self._put(path, ({"act": "intent", "at": stamp(now), **each} for each in lines))
        return path

    def conclude(self, intent: str, outcomes: Iterable[DeletionOutcome], now: datetime) -> None:
        """Put what came of an intent. If another host was first, its record stays."""
        try:
            self._put(_done(intent), ({"act": "outcome", "at": stamp(now), **_outcome(each)} for each in outcomes))
        except KeyConflict:
            return

    def open_intents(self) -> list[str]:
        """Return the paths of the intents that a kill left without an outcome, the oldest first."""
        root = f"{PRUNES}provider={escape(self.provider)}/account={escape(self.account_id)}/"
        paths = set(self.records.paths(root))
        return sorted(path for path in paths if path.endswith(_INTENT) and _done(path) not in paths)

    def intended(self, path: str) -> list[tuple[Identity, str | None]]:
        """Return the recordings that an intent names, with their calls. Raises ValueError if it is not recvault's."""
        record = self.records.read(path)
        found = [] if record is None else [(_identity(each), _call(each)) for each in record.documents]
        if not found or any(each[:2] != (self.provider, self.account_id) for each, _ in found):
            raise ValueError(f"{path} is not a record of this account's deletions")
        return found

    def _put(self, path: str, lines: Iterable[Mapping[str, Any]]) -> None:
        self.records.put_lines(path, RecordSchema.PRUNES, lines)


def conclusions(records: Records) -> Iterator[str]:
    """Yield the paths of all outcomes, of every account."""
    return (path for path in records.paths(PRUNES) if path.endswith(_DONE))


def deleted(records: Records, path: str) -> tuple[list[Identity], datetime]:
    """Return what an outcome says is deleted, and when. Raises ValueError if it is not one of recvault's."""
    record = records.read(path)
    if record is None:
        raise ValueError(f"{path} is no longer there")
    return [_identity(each) for each in record.documents if each.get("deletion") in IS_AWAY], _at(record)


def _at(record: Record) -> datetime:
    try:
        return unstamp(record.document["at"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{record.path} does not say when") from error


def _identity(line: Mapping[str, Any]) -> Identity:
    try:
        return str(line["provider"]), str(line["account_id"]), str(line["recording_id"])
    except KeyError as error:
        raise ValueError(f"a line of deletions lacks {error}") from error


def _call(line: Mapping[str, Any]) -> str | None:
    found = line.get("call_id")
    return found if isinstance(found, str) else None


def _done(intent: str) -> str:
    return f"{intent.removesuffix(_INTENT)}{_DONE}"


def _outcome(each: DeletionOutcome) -> JSON:
    provider, account_id, recording_id = each.identity
    return {
        "provider": provider,
        "account_id": account_id,
        "recording_id": recording_id,
        "deletion": each.deletion.value,
        "message": each.message,
    }
