"""A list that goes on without new rows, as of a service that ignores the page it is asked for, would never end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from recvault.errors import ProtocolError

_MOST_VAIN = 20  # pages in succession without a row that no page had before; real lists have none
_KEPT = 200_000  # ids that are remembered

T = TypeVar("T")


def with_new_rows(pages: Iterator[Sequence[T]], row_id: Callable[[T], str], what: str) -> Iterator[Sequence[T]]:
    """Yield pages. Raises ProtocolError for too many in succession without a new row."""
    seen, vain = set[str](), 0
    for rows in pages:
        new = {row_id(row) for row in rows} - seen
        vain = 0 if new else vain + 1
        if vain >= _MOST_VAIN:
            raise ProtocolError(f"a list of {what} has {vain} pages in succession without a new row")
        if len(seen) < _KEPT:
            seen |= new
        yield rows
