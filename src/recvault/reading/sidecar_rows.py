"""Rows of an archive without a catalog: one GET a sidecar, some read ahead, in key order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from recvault.archive import SCHEMA, KeyTemplate, Sidecar
from recvault.catalog.columns import RECORDINGS
from recvault.catalog.flatten import row
from recvault.errors import KeyRefused, TooLarge
from recvault.models import JSON
from recvault.reading.selection import Selection
from recvault.reading.sidecar_keys import sidecars
from recvault.store import Listed, Reader

_AHEAD = 4  # sidecars a thread


@dataclass(frozen=True, slots=True)
class UnreadSidecar:
    """A sidecar that is not among the recordings, and why."""

    key: str
    reason: str


def sidecar_rows(
    reader: Reader, keys: KeyTemplate, selection: Selection, threads: int, tell: Callable[[UnreadSidecar], None]
) -> Iterator[JSON]:
    """Yield the row of each sidecar that is selected; `tell` gets those that cannot be read."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sidecars")
    ahead: deque[Future[JSON | UnreadSidecar | None]] = deque()
    try:
        for listed in sidecars(reader, keys, selection):
            ahead.append(pool.submit(_read, reader, keys, listed))
            if len(ahead) > threads * _AHEAD:
                yield from _selected(ahead.popleft().result(), selection, tell)
        while ahead:
            yield from _selected(ahead.popleft().result(), selection, tell)
    finally:
        pool.shutdown(cancel_futures=True)


def _selected(
    found: JSON | UnreadSidecar | None, selection: Selection, tell: Callable[[UnreadSidecar], None]
) -> Iterator[JSON]:
    if isinstance(found, UnreadSidecar):
        tell(found)
    elif found is not None and selection.takes(found):
        yield found


def _read(reader: Reader, keys: KeyTemplate, listed: Listed) -> JSON | UnreadSidecar | None:
    """Read one sidecar; None if it no longer exists, or if it is a document of others."""
    try:
        body = reader.get(listed.key)
        return None if body is None else _row(body.content, keys, listed.key)
    except (KeyRefused, TooLarge, ValueError) as error:
        return UnreadSidecar(listed.key, str(error))


def _row(content: bytes, keys: KeyTemplate, key: str) -> JSON | None:
    """Return a sidecar's row. Raises ValueError with a sentence if it is not one of its key's recording."""
    is_ours = keys.read(key) is not None
    sidecar = Sidecar.read(content) if is_ours else _any(content)
    if sidecar is None or (not sidecar.is_v1 and not is_ours):
        return None
    if not sidecar.is_v1:
        raise ValueError(f"it is not a {SCHEMA} document")
    if is_ours and not keys.is_of(sidecar.recording, key):
        raise ValueError("it is not under the key of its recording")
    values = row(content, key)
    return {each.name: values[each.name] for each in RECORDINGS}


def _any(content: bytes) -> Sidecar | None:
    try:
        return Sidecar.read(content)
    except ValueError:
        return None
