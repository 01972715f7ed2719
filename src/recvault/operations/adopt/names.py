"""What the key of a foreign object says: which ids it may contain, and whether it can be media."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_IDS = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}[0-9a-f]{32}(?![A-Za-z0-9])"  # Twilio's: RE…, RT…
    r"|(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])"
)
_NO_MEDIA = re.compile(
    r"\.(json|jsonl|ndjson|txt|csv|tsv|xml|html?|log|md|md5|sha1|sha256|sig|pdf|vtt|srt|parquet|zip|gz|tar|sql|ya?ml)$",
    re.IGNORECASE,
)


def ids_in(key: str) -> Iterator[str]:
    """Yield the ids that a key may contain, the most likely first: the file's name, then its last id, then others."""
    path = PurePosixPath(key)
    yield from dict.fromkeys([path.name.removesuffix(path.suffix), *written_ids(key)])


def written_ids(key: str) -> list[str]:
    """Return what is written like an id in a key, the last first."""
    found = reversed(_IDS.findall(key))
    return list(dict.fromkeys(each.lower() if "-" in each else each for each in found))


def may_be_media(key: str, size: int) -> bool:
    """Whether an object may be media: no folder's marker, and nothing whose name says otherwise."""
    return not (key.endswith("/") and size == 0) and _NO_MEDIA.search(key) is None


def ending(key: str) -> str:
    """Return the ending of a key, such as `wav`; empty if it has none."""
    return PurePosixPath(key).suffix.removeprefix(".").lower()


def is_named(bucket: str, key: str, location: str | None) -> bool:
    """Whether a location, as a provider's row has it, names this object: by s3://, a path or a host of the bucket."""
    if not location:
        return False
    url = urlsplit(location)
    path = unquote(url.path).lstrip("/")
    return (url.netloc.partition(".")[0] == bucket and path == key) or path == f"{bucket}/{key}"
