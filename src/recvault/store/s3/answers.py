"""What an answer must say before it counts as a store's: of success, only what names what was stored, found or listed.

Between here and the bucket there may be a captive portal, a proxy or a maintenance page, all of which answer 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recvault.errors import StoreUnavailable

_HINT = "check the network and endpoint_url: a proxy, a captive portal or another server may have answered"


def not_the_stores(where: str, what: str) -> StoreUnavailable:
    """The error for an answer that is not the store's."""
    return StoreUnavailable(f"the answer for {where} {what}, so it is not trusted to be the store's", _HINT)


def stored(answer: Mapping[str, Any] | None, where: str) -> str:
    """The ETag that an answer to a put names, without its quotes. StoreUnavailable where it names none."""
    etag = str((answer or {}).get("ETag") or "").strip().strip('"')
    if not etag:
        raise not_the_stores(where, "does not say what was stored (it has no ETag)")
    return etag


def found(told: Mapping[str, str], where: str, *, has_body: bool = False) -> int:
    """The length that the headers of HEAD, or of GET, tell; a body may tell it itself, and 0 stands for it then.

    StoreUnavailable for what is no object.
    """
    if not told.get("etag"):
        raise not_the_stores(where, "describes no object (it has no ETag)")
    length = told.get("content-length", "")
    if not (length.isascii() and length.isdigit()) and not has_body:
        raise not_the_stores(where, "describes no object (it has no length)")
    return int(length or 0)


def listed(page: Mapping[str, Any], prefix: str, where: str) -> Mapping[str, Any]:
    """A page of a listing. StoreUnavailable where it is none, or of another prefix, or ends without saying so."""
    if "IsTruncated" not in page:
        raise not_the_stores(where, "is not a listing")
    if page.get("Prefix", prefix) != prefix or any(not each["Key"].startswith(prefix) for each in contents(page)):
        raise not_the_stores(where, "lists another prefix")
    if page["IsTruncated"] and not page.get("NextContinuationToken"):
        raise not_the_stores(where, "says that more follows, but not from where")
    return page


def contents(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects of a page."""
    return list(page.get("Contents", ()))
