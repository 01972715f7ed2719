"""What Twilio's three APIs share: the account's settings, its credentials, and the list of its sub-accounts."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from recvault.errors import ProtocolError
from recvault.models import JSON
from recvault.providers.base import Provider, Reply, Setting, read_list
from recvault.providers.stated import Stated, check_echo
from recvault.providers.urls import address, basic, follow
from recvault.providers.values import identifier, text

PUBLIC = "twilio.com"  # regions and edges are below it: links may name any of them
SETTINGS: Mapping[str, Setting] = {
    "account_sid": Setting(doc="the account's SID, AC…"),
    "auth_token": Setting(secret=True, doc="the account's auth token; reaches sub-accounts too"),
    "api_key_sid": Setting(doc="an API key's SID, SK…; a main account's key does not reach sub-accounts"),
    "api_key_secret": Setting(secret=True, doc="the API key's secret"),
}
CREDENTIALS = (("account_sid", "auth_token"), ("account_sid", "api_key_sid", "api_key_secret"))


def authorization(values: Mapping[str, str]) -> str:
    """HTTP Basic (Twilio auth docs): the auth token where there is one, as it reaches further than an API key."""
    if values.get("auth_token"):
        return basic(values["account_sid"], values["auth_token"])
    return basic(values["api_key_sid"], values["api_key_secret"])


def accounts_request(base_url: str) -> httpx.Request:
    """The main account and those below it (OpenAPI: Accounts.json, at most 1000 a page)."""
    url = address(base_url, "/2010-04-01/Accounts.json", [("Status", "active"), ("PageSize", 1000)])
    return httpx.Request("GET", url, headers={"Accept": "application/json"})


def parse_accounts(base_url: str, reply: Reply) -> tuple[tuple[str, ...], httpx.URL | None]:
    """Read the sid and the status alone: each row holds an auth token (OpenAPI). Suspended and closed are left out."""
    page, rows = read_list(reply, "accounts")
    if not all(isinstance(row, dict) and text(row.get("sid")) for row in rows):
        raise ProtocolError(f"{reply.request.url.host} answered with an account that has no sid")
    active = [row for row in rows if str(row.get("status") or "active").lower() == "active"]
    return tuple(identifier(row, "sid") for row in active), follow(base_url, page.get("next_page_uri"), PUBLIC)


def following(provider: Provider, reply: Reply, page: JSON, rows: int) -> tuple[httpx.URL | None, Stated]:
    """The next page of a list as Twilio writes it, and what it says of itself, which is held against its rows."""
    link = page.get("next_page_uri")
    check_echo(reply, page.get("uri"))
    check_echo(reply, link)
    said = Stated.of(page, page.get("last_page_uri"))
    said.check(reply, rows, is_last=not link, is_told="next_page_uri" in page, size=provider.page_size)
    return follow(provider.base_url, link, PUBLIC), said
