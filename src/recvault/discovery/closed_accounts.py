"""Sub-accounts that are no longer active: they are read until their lists are refused, and gaps are reported.

A provider keeps a closed account's history readable for a while (Twilio: 30 days). One that left the list of accounts
is read once more. If its list was read completely after it was first seen inactive, nothing is missing, and a later
refusal is not an error.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Protocol

from recvault.errors import CredentialsRefused, Denied, EndpointRefused, LedgerLocked, LedgerUnavailable, RecvaultError
from recvault.models import stamp
from recvault.providers.base import Subaccount

LEFT = "no longer in the list of accounts"
_REFUSALS = (CredentialsRefused, Denied, EndpointRefused)


class Facts(Protocol):
    """Where closings are remembered."""

    def fact(self, name: str) -> str | None: ...

    def remember(self, name: str, value: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Closing:
    status: str  # the provider's status, or LEFT
    since: str  # when it was first seen with this status
    read_at: str | None = None  # when its list was last read completely, since then
    refused_at: str | None = None  # when its list was last refused

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be read: do not list it again."""
        if self.status == LEFT:
            return bool(self.read_at or self.refused_at)
        return bool(self.read_at and self.refused_at)


@dataclass(frozen=True, slots=True)
class Closings:
    """The inactive sub-accounts of all sources of a ledger. Thread-safe."""

    facts: Facts
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def note(self, source: str, listed: Sequence[Subaccount], known: Iterable[str], now: datetime) -> list[str]:
        """Store a complete list of accounts; return which of them, and of those known before, must be read."""
        active = [each.account_id for each in listed if each.is_active]
        statuses = dict.fromkeys(known, LEFT) | {each.account_id: each.status for each in listed}
        for account_id in active:
            del statuses[account_id]
        with self._lock:
            before = self._all(source)
            noted = {account_id: _next(before.get(account_id), status, now) for account_id, status in statuses.items()}
            self._keep(source, before, noted)
        return [*active, *(account_id for account_id, each in noted.items() if not each.is_over)]

    def is_over(self, source: str, account_id: str) -> bool:
        """Whether nothing more can be read of an account."""
        found = self._all(source).get(account_id)
        return found is not None and found.is_over

    def read(self, source: str, account_id: str, now: datetime) -> None:
        """Note that an account's list was read completely."""
        self._change(source, account_id, read_at=stamp(now))

    def met(self, source: str, account_id: str, error: RecvaultError, now: datetime) -> RecvaultError | None:
        """Return the error to report for an account's list; None if a refusal only means its end."""
        found = self._all(source).get(account_id)
        if found is None or not isinstance(error, _REFUSALS):
            return error
        self._change(source, account_id, refused_at=stamp(now))
        if found.read_at:
            return None
        status = found.status if found.status == LEFT else f"not active ({found.status})"
        return type(error)(
            f"the sub-account is {status} and its list is refused, so recordings since the last poll may be missing: "
            f"{error.message}",
            "reactivate it, or contact the provider's support soon: recordings of closed accounts are eventually "
            "deleted",
        )

    def _change(self, source: str, account_id: str, **changes: str) -> None:
        with self._lock:
            before = self._all(source)
            if account_id in before:
                changed = {**before, account_id: replace(before[account_id], **changes)}
                with contextlib.suppress(LedgerLocked, LedgerUnavailable):  # the next poll tries again
                    self._keep(source, before, changed)

    def _all(self, source: str) -> Mapping[str, _Closing]:
        kept = self.facts.fact(_name(source))
        return {account_id: _Closing(**each) for account_id, each in json.loads(kept or "{}").items()}

    def _keep(self, source: str, before: Mapping[str, _Closing], now: Mapping[str, _Closing]) -> None:
        if now != before:
            self.facts.remember(
                _name(source), json.dumps({account_id: asdict(each) for account_id, each in now.items()})
            )


def _next(before: _Closing | None, status: str, now: datetime) -> _Closing:
    """Update what is known; a new status starts over, because it may have been active in between, unless it is over."""
    if before is not None and before.status == status:
        return before
    if before is not None and before.is_over:
        return replace(before, status=status)
    return _Closing(status=status, since=stamp(now))


def _name(source: str) -> str:
    return f"closing:{source}"
