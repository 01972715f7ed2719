"""Check that a success response is the store's: it must name what was stored, found or listed.

A captive portal, a proxy or a maintenance page between here and the bucket may also answer 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recvault.errors import StoreUnavailable

_HINT = "check the network and endpoint_url: a proxy, a captive portal or another server may have answered"


def not_the_stores(where: str, what: str) -> StoreUnavailable:
    """Return the error for a response that is not the store's."""
    return StoreUnavailable(f"the answer for {where} {what}, so it is not trusted to be the store's", _HINT)


def stored(answer: Mapping[str, Any] | None, where: str) -> str:
    """Return the unquoted ETag in the response to a put. StoreUnavailable if it has none."""
    etag = str((answer or {}).get("ETag") or "").strip().strip('"')
    if not etag:
        raise not_the_stores(where, "does not say what was stored (it has no ETag)")
    return etag


def found(told: Mapping[str, str], where: str, *, has_body: bool = False) -> int:
    """Return the length in the headers of a HEAD or GET; 0 if a GET has none, as the body shows it.

    StoreUnavailable if they do not describe an object.
    """
    if not told.get("etag"):
        raise not_the_stores(where, "describes no object (it has no ETag)")
    length = told.get("content-length", "")
    if not (length.isascii() and length.isdigit()) and not has_body:
        raise not_the_stores(where, "describes no object (it has no length)")
    return int(length or 0)


def listed(page: Mapping[str, Any], prefix: str, where: str) -> Mapping[str, Any]:
    """Return a page of a listing. StoreUnavailable if it is not one, has another prefix, or lacks a needed token."""
    if "IsTruncated" not in page:
        raise not_the_stores(where, "is not a listing")
    if page.get("Prefix", prefix) != prefix or any(not each["Key"].startswith(prefix) for each in contents(page)):
        raise not_the_stores(where, "lists another prefix")
    if page["IsTruncated"] and not page.get("NextContinuationToken"):
        raise not_the_stores(where, "says that more follows, but not from where")
    return page


def contents(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the objects of a page."""
    return list(page.get("Contents", ()))
