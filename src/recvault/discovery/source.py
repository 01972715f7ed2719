"""A configured source as lists are read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from recvault.http import Session
from recvault.ledger import Feed, Policy
from recvault.providers.base import Provider


class AccountLine(Protocol):
    """The way to one account, as far as listing needs it."""

    @property
    def provider(self) -> Provider: ...

    @property
    def session(self) -> Session: ...

    @property
    def formats(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured source, ready for requests."""

    name: str
    line: Callable[[str], AccountLine]  # of an account's id
    account_id: str
    subaccounts: bool
    start_from: datetime | None
    lookback: timedelta
    policy: Policy
    names_account: bool = False  # its provider has no id for the account

    @property
    def provider(self) -> str:
        """The provider, as identities name it."""
        return self.line(self.account_id).provider.provider

    def feed(self, account_id: str) -> Feed:
        """The list of one of its accounts."""
        return Feed(self.name, self.provider, account_id, is_named=self.names_account)
