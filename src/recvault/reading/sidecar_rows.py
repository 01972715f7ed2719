"""Rows of an archive without a catalog: one GET a sidecar, some read ahead, in key order.

Who called whom may have come after the sidecar, into an object under `calls/`. Those are read if a number is asked for.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from recvault.archive import CALLS, SCHEMA, SIDECAR_SUFFIX, KeyTemplate, Sidecar
from recvault.catalog.columns import RECORDINGS
from recvault.catalog.flatten import facts_rows, row
from recvault.errors import KeyRefused, TooLarge
from recvault.models import JSON
from recvault.reading.selection import Selection
from recvault.reading.sidecar_keys import sidecars
from recvault.store import Listed, Reader

_AHEAD = 4  # sidecars a thread
_DATE = re.compile(r"/date=([0-9-]{10})/")
_Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class UnreadSidecar:
    """A sidecar that is not among the recordings, and why."""

    key: str
    reason: str


def sidecar_rows(
    reader: Reader, keys: KeyTemplate, selection: Selection, threads: int, tell: Callable[[UnreadSidecar], None]
) -> Iterator[JSON]:
    """Yield the row of each sidecar that is selected; `tell` gets those that cannot be read."""
    late = _late_calls(reader, keys, selection, tell)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sidecars")
    ahead: deque[Future[JSON | UnreadSidecar | None]] = deque()
    try:
        for listed in sidecars(reader, keys, selection):
            ahead.append(pool.submit(_read, reader, keys, listed, selection.number is not None))
            if len(ahead) > threads * _AHEAD:
                yield from _selected(ahead.popleft().result(), selection, late, tell)
        while ahead:
            yield from _selected(ahead.popleft().result(), selection, late, tell)
    finally:
        pool.shutdown(cancel_futures=True)


def _late_calls(
    reader: Reader, keys: KeyTemplate, selection: Selection, tell: Callable[[UnreadSidecar], None]
) -> Mapping[_Identity, JSON]:
    """Return who called whom in the calls with the number that is asked for, of what came after its sidecar."""
    if selection.number is None:
        return {}
    found = dict[_Identity, JSON]()
    for listed in reader.listed(keys.prefix + CALLS):
        written = _DATE.search(listed.key)
        if selection.first_day is not None and written is not None and written[1] < selection.first_day:
            continue  # it was written before the first recording that is asked for
        try:
            body = reader.get(listed.key)
        except (KeyRefused, TooLarge) as error:
            tell(UnreadSidecar(listed.key, str(error)))
            continue
        for facts in facts_rows(body.content) if body is not None else ():
            if selection.number in (facts["numbers"] or ()):
                found[facts["provider"], facts["account_id"], facts["recording_id"]] = facts
    return found


def _selected(
    found: JSON | UnreadSidecar | None,
    selection: Selection,
    late: Mapping[_Identity, JSON],
    tell: Callable[[UnreadSidecar], None],
) -> Iterator[JSON]:
    if isinstance(found, UnreadSidecar):
        tell(found)
        return
    if found is None:
        return
    facts = late.get((found["provider"], found["account_id"], found["recording_id"]))
    if facts is not None:  # it names the number that is asked for, whatever the sidecar knew
        found |= {name: facts[name] for name in ("from_number", "to_number", "direction", "numbers")}
    if selection.takes(found):
        yield found


def _read(reader: Reader, keys: KeyTemplate, listed: Listed, by_number: bool) -> JSON | UnreadSidecar | None:
    """Read one sidecar; None if it no longer exists, or if it is a document of others."""
    try:
        body = reader.get(listed.key)
        found = None if body is None else _row(body.content, keys, listed.key)
        return _with_earlier(reader, keys, found, listed.key) if by_number and found is not None else found
    except (KeyRefused, TooLarge, ValueError) as error:
        return UnreadSidecar(listed.key, str(error))


def _with_earlier(reader: Reader, keys: KeyTemplate, found: JSON, key: str) -> JSON:
    """Add what the sidecars of earlier editions know of the call. Raises what a sidecar that cannot be read raises."""
    parts = keys.read(key)
    first = None if parts is None or parts.edition == 1 else parts.stem.removesuffix(f"~{parts.edition}")
    for edition in range((parts.edition if parts and first else 1) - 1, 0, -1):
        earlier = f"{first}{f'~{edition}' if edition > 1 else ''}{SIDECAR_SUFFIX}"
        body = reader.get(earlier)
        known = None if body is None else _row(body.content, keys, earlier)
        if known is None:
            continue
        numbers = sorted({*(found["numbers"] or ()), *(known["numbers"] or ())}) or None
        parties = {name: found[name] or known[name] for name in ("from_number", "to_number", "direction")}
        found = {**found, **parties, "numbers": numbers}
    return found


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
