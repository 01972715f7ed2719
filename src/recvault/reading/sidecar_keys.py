"""Find the keys of sidecars in a listing, without listing the days that are not asked for.

Any key template is recognised: keys of the given template are narrowed by their date, of others every one is returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from recvault.archive import KeyParts, KeyTemplate, escape
from recvault.reading.selection import Selection
from recvault.store import Listed, Reader

_EDITION = re.compile(r"~([2-9]|[1-9][0-9])\.json$")
_PAST_DATES = ":"  # sorts after every digit


def sidecars(reader: Reader, keys: KeyTemplate, selection: Selection) -> Iterator[Listed]:
    """Yield the sidecar of each recording's latest edition."""
    folder, latest = "", dict[str, tuple[int, Listed]]()
    for listed in _narrowed(reader, keys, selection):
        if not keys.may_be_sidecar(listed.key) or _is_of_another(keys, listed.key, selection):
            continue
        here, _, name = listed.key.rpartition("/")
        if here != folder:  # editions of a recording are in one folder
            yield from (each for _, each in latest.values())
            folder, latest = here, {}
        edition = _EDITION.search(name)
        first = _EDITION.sub(".json", name)
        number = int(edition[1]) if edition else 1
        if first not in latest or number > latest[first][0]:
            latest[first] = (number, listed)
    yield from (each for _, each in latest.values())


def _narrowed(reader: Reader, keys: KeyTemplate, selection: Selection) -> Iterator[Listed]:
    """List, and begin again past the days that are not asked for."""
    after = ""
    while True:
        for listed in reader.listed(keys.prefix, after):
            parts = keys.read(listed.key)
            if parts is not None and (beyond := _beyond(keys, parts, selection)) is not None:
                after = beyond
                break
            yield listed
        else:
            return


def _is_of_another(keys: KeyTemplate, key: str, selection: Selection) -> bool:
    """Whether a key tells that its recording is not the one that is asked for."""
    parts = keys.read(key) if selection.recording_id is not None else None
    return parts is not None and parts.recording_id != escape(str(selection.recording_id))


def _beyond(keys: KeyTemplate, parts: KeyParts, selection: Selection) -> str | None:
    """Return after which key to continue; None if this one's day is asked for, or nothing can be skipped."""
    begun, unknown = keys.beginning(provider=parts.provider, account=parts.account)
    if parts.date is None or unknown != "date":
        return None
    if selection.first_day is not None and parts.date < selection.first_day:
        return begun + selection.first_day
    if selection.last_day is not None and parts.date > selection.last_day:
        return begun + _PAST_DATES
    return None
