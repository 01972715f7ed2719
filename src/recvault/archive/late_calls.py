"""Call facts that came after their sidecar: objects under `calls/`, each written once, a line a recording."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recvault.archive.layout import CALLS, escape
from recvault.models import JSON

CALLS_TYPE = "application/x-ndjson"
CALLS_SCHEMA = "recvault/calls/v1"
LINES_MOST = 5_000  # in an object: well below what is read as a small one
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCall:
    """The facts of one recording's call."""

    provider: str
    account_id: str
    recording_id: str
    call: JSON = field(repr=False)

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.provider, self.account_id, self.recording_id)


def calls_root(provider: str, account_id: str) -> str:
    """Return where an account's objects are, after the archive's prefix."""
    return f"{CALLS}{escape(provider)}/account={escape(account_id)}/"


def calls_key(provider: str, account_id: str, now: datetime, body: bytes) -> str:
    """Return the key of an object written now, after the archive's prefix: no other run has the same."""
    at = now.astimezone(UTC)
    name = f"{at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(body).hexdigest()[:16]}"
    return f"{calls_root(provider, account_id)}date={at:%Y-%m-%d}/{name}.jsonl"


def calls_bytes(late: Iterable[LateCall]) -> bytes:
    """Encode one line of JSON a recording."""
    return b"".join(_line(each) for each in late)


def _line(each: LateCall) -> bytes:
    document = {
        "provider": each.provider,
        "account_id": each.account_id,
        "recording_id": each.recording_id,
        "call": each.call,
    }
    return _COMPACT.encode(document).encode("utf-8", "backslashreplace") + b"\n"


def read_calls(body: bytes) -> Iterator[LateCall]:
    """Read an object's lines. Raises ValueError for one that is none of recvault's."""
    for line in body.splitlines():
        try:
            document = json.loads(line)
            provider, account_id, recording_id = (
                str(document[name]) for name in ("provider", "account_id", "recording_id")
            )
            call = dict(document["call"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it is not a line of call facts: {error}") from error
        yield LateCall(provider=provider, account_id=account_id, recording_id=recording_id, call=call)


def read_lines(body: bytes) -> Iterator[tuple[tuple[str, str, str] | None, bytes]]:
    """Yield each line of an object as it is, and whose it is; None for a line that is none of recvault's."""
    for line in body.splitlines(keepends=True):
        try:
            document = json.loads(line)
            provider, account_id, recording_id = (document[name] for name in ("provider", "account_id", "recording_id"))
        except (KeyError, TypeError, ValueError, RecursionError):
            yield None, line
        else:
            yield (str(provider), str(account_id), str(recording_id)), line
