"""A configured source, as needed to read its lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from recvault.http import Session
from recvault.ledger import Feed, Policy
from recvault.providers.base import Provider


class AccountLine(Protocol):
    """Access to one account, as needed for listing."""

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
    line: Callable[[str], AccountLine]  # by account ID
    account_id: str
    subaccounts: bool
    start_from: datetime | None
    lookback: timedelta
    policy: Policy
    names_account: bool = False  # the configuration names the account, because the provider has no ID for it

    @property
    def provider(self) -> str:
        """The provider, as identities name it."""
        return self.line(self.account_id).provider.provider

    def feed(self, account_id: str) -> Feed:
        """Return the feed of one of its accounts."""
        return Feed(self.name, self.provider, account_id, is_named=self.names_account)
