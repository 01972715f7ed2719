"""What a page of a list states about itself, compared with its rows, so that no row is missed silently.

Services count differently, and some not at all: a count that is missing or unreadable proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from recvault.errors import ProtocolError
from recvault.providers import values
from recvault.providers.base import Reply

TOTALS = ("total", "total_results", "total_count", "total_records")
PAGES = ("num_pages", "total_pages", "numpages")
SIZES = ("page_size", "pagesize")
MORE = ("has_more", "has_next", "has_next_page")
_LOWER, _UPPER = re.compile(r">$|After$|\[gte\]$"), re.compile(r"<$|Before$|\[lte\]$")
_NAMED = re.compile(r"Sid$|^filter\[\w+\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """Counts that a page states: rows and pages of the whole list; rows of this page, and whether more follow."""

    total: int | None = None
    pages: int | None = None
    rows: int | None = None
    size: int | None = None
    more: bool = False

    @classmethod
    def of(cls, page: Mapping[str, Any], last: Any = None) -> Stated:
        """Read the counts of a page; `last` is its link to the last page, if it has one."""
        pages, behind = _count(page, PAGES), _number(last)
        return cls(
            total=_count(page, TOTALS),
            pages=max(pages or 0, behind or 0) or None,
            rows=_rows(page),
            size=_count(page, SIZES),
            more=any(page.get(name) is True for name in MORE),
        )

    def check(self, reply: Reply, rows: int, *, is_last: bool, is_told: bool, size: int) -> None:
        """Raise ProtocolError if the page contradicts itself. `is_told`: it says explicitly whether a page follows.

        `size`: the most rows that a page may hold.
        """
        host = reply.request.url.host
        if self.rows is not None and rows < self.rows:
            raise ProtocolError(f"{host} sent {rows} rows on a page that says it holds {self.rows}")
        if is_last and self.more:
            raise ProtocolError(f"{host} says that more rows follow, but not where")
        if is_last and not is_told and rows >= min(size, self.size or size):
            raise ProtocolError(f"{host} sent a full page that does not say whether another follows")


def check_echo(reply: Reply, link: Any) -> None:
    """Raise ProtocolError if the page's own or next link names another list, or a narrower one, than requested."""
    if not isinstance(link, str):
        return
    asked = reply.request.url
    wanted, said = _parameters(asked.query.decode("ascii", "replace")), _parameters(_query(link))
    for name in wanted.keys() & said.keys():
        if wanted[name] != said[name] and _narrows(name, wanted[name], said[name]):
            raise ProtocolError(
                f"{asked.host} answered for another list than requested: {name} {said[name][:40]!r}, "
                f"not {wanted[name]!r}"
            )


def _narrows(name: str, wanted: str, said: str) -> bool:
    if _NAMED.search(name):
        return True
    lower, upper = _LOWER.search(name), _UPPER.search(name)
    asked, told = values.moment_or_none(wanted), values.moment_or_none(said)
    if not (lower or upper) or asked is None or told is None:
        return False  # not a date filter, or in an unknown format
    return told > asked if lower else told < asked


def _parameters(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _query(link: str) -> str:
    return link.partition("?")[2].partition("#")[0]


def _count(page: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    told = (values.whole(page.get(name)) for name in names)
    return next((count for count in told if count is not None and count >= 0), None)


def _rows(page: Mapping[str, Any]) -> int | None:
    """Return the rows by the numbers of the first and the last; None for 0 and 0, which may be one row or none."""
    first, last = values.whole(page.get("start")), values.whole(page.get("end"))
    return None if first is None or last is None or last <= max(first, 0) else last - first + 1


def _number(last: Any) -> int | None:
    """Return the number of pages by the number of the last one; they count from 0."""
    found = _parameters(_query(last)) if isinstance(last, str) else {}
    number = values.whole(found.get("Page") or found.get("page"))
    return None if number is None else number + 1
