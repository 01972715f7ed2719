"""Shared by the three Twilio APIs: access to accounts, page sizes, date filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from recvault.simulator import dates
from recvault.simulator.exchange import Dialect, Request, refuse
from recvault.simulator.shelf import Query
from recvault.simulator.switches import TooLarge
from recvault.simulator.world import SimAccount, World


def login(world: World, request: Request, dialect: Dialect, *, keys: bool = True) -> SimAccount:
    """Return the Twilio account of the credentials, or refuse with 401. API keys have no access without `keys`."""
    header = request.headers.get("authorization", "")
    account = world.logins.get(header) or (world.keys.get(header) if keys else None)
    if account is None or account.kind != "twilio":
        raise refuse(dialect, 401, 20003, "Authentication Error - invalid username/password")
    return account


def account_of_path(world: World, request: Request, account_id: str, dialect: Dialect) -> SimAccount:
    """Return the account in the path if these credentials may see it: its own, or its parent's auth token."""
    caller = login(world, request, dialect)
    account = world.accounts.get(account_id)
    if account is None or not (account is caller or (account.parent is caller and _token_came(world, request))):
        raise refuse(dialect, 401, 20003, "Authentication Error - invalid username/password")
    if account.status == "active" or world.switches.inactive_accounts == "refused":
        check_active(account, dialect)
    return account


def _token_came(world: World, request: Request) -> bool:
    return request.headers["authorization"] in world.logins


def check_active(account: SimAccount, dialect: Dialect) -> None:
    if account.status == "suspended":
        raise refuse(dialect, 403, 20005, "Account not active")
    if account.status == "closed":
        raise refuse(dialect, 401, 20003, "Authentication Error - account closed")


def page_size(text: str | None, *, largest: int, over: TooLarge, dialect: Dialect, name: str = "PageSize") -> int:
    """Return the requested page size, 50 by default."""
    if text is None:
        return 50
    if not text.isdecimal() or int(text) < 1 or (int(text) > largest and over == "refuse"):
        raise refuse(dialect, 400, 20001, f"{name} must be a number from 1 to {largest}, and is {text}")
    return min(int(text), largest)


def page_number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def created_between(request: Request, dialect: Dialect, *, days_only: bool) -> Query:
    """Read `DateCreated`, `DateCreated<` and `DateCreated>`, all inclusive; a date means its midnight.

    Rows are compared by seconds, or by days if the list knows only days. Other parameters are ignored.
    """
    since = until = None
    if text := request.param("DateCreated>"):
        since = _moment(text, dialect, days_only)
    if text := request.param("DateCreated<"):
        until = _moment(text, dialect, days_only) + timedelta(seconds=1)
    if text := request.param("DateCreated"):
        since = _moment(text, dialect, days_only)
        until = since + (timedelta(days=1) if days_only or dates.is_date(text) else timedelta(seconds=1))
    return Query(since=since, until=until)


def _moment(text: str, dialect: Dialect, days_only: bool) -> datetime:
    try:
        moment = dates.read(text).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise refuse(dialect, 400, 20001, f"Invalid date value: {text}") from None
    return dates.midnight(moment) if days_only else moment


def encode(pairs: list[tuple[str, str]]) -> str:
    """Encode a query, with names and values percent-encoded."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
