"""A manifest's text and its key: write and read them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from recvault.archive import MANIFESTS, SIDECAR_SUFFIX, escape

ROOT = MANIFESTS
SCHEMA = "recvault/manifest/v1"
CONTENT_TYPE = "text/plain; charset=utf-8"
LARGEST = 64 << 20  # bytes: enough for 10,000 recordings with the longest keys

_KEY = re.compile(rf"{ROOT}provider=([^/]+)/account=([^/]+)/number=([0-9]{{8}})/manifest-sha256\.txt")
_LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)", re.DOTALL)
_THROUGH = re.compile(r"# .*\bthrough=(\d{4}-\d\d-\d\d)")
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}  # those of sha256sum
_ESCAPED = re.compile(r"\\[\\nr]")
_UNESCAPED = re.compile(r"[\\\n\r]")


@dataclass(frozen=True, slots=True)
class Partition:
    """The recordings of an account, by its escaped names in keys."""

    provider: str
    account_id: str

    @classmethod
    def of(cls, provider: str, account_id: str) -> Partition:
        """Escape the names as keys do."""
        return cls(escape(provider), escape(account_id))

    def path(self, number: int) -> str:
        """Return the path of a manifest from the root of a copy."""
        return f"{ROOT}provider={self.provider}/account={self.account_id}/number={number:08}/manifest-sha256.txt"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file and its SHA-256, in hex."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of a manifest."""

    through: date
    before: Entry | None  # the previous manifest; None for the first
    entries: tuple[Entry, ...]


CUSTODY = Partition("recvault", "custody")
"""The chain of custody's records: they belong to no account, or to several."""


def marks(entries: Iterable[Entry]) -> Iterator[str]:
    """Return what identifies a recording's files: a sidecar's path, a medium's hash and path."""
    return (entry.path if entry.path.endswith(SIDECAR_SUFFIX) else f"{entry.sha256} {entry.path}" for entry in entries)


def place_of(path: str) -> tuple[Partition, int] | None:
    """Return the partition and number of the manifest at a path; None for any other path."""
    found = _KEY.fullmatch(path)
    if not found or int(found[3]) < 1:
        return None
    return Partition(found[1], found[2]), int(found[3])


def write(partition: Partition, number: int, manifest: Manifest) -> bytes:
    """Return the text of a manifest: the same for the same facts."""
    head = (
        "# recvault manifest v1: sha256sum -c this file at the root of a copy",
        f"# provider={partition.provider} account={partition.account_id} number={number:08} through={manifest.through}",
    )
    before = [manifest.before] if manifest.before else []
    lines = (*head, *(_line(entry) for entry in (*before, *manifest.entries)))
    return "".join(f"{line}\n" for line in lines).encode()


def read(body: bytes) -> Manifest:
    """Read what `write` wrote. Raises ValueError with a sentence for anything else."""
    *lines, rest = body.decode().split("\n")
    if rest:
        raise ValueError("its last line is truncated")
    through = next((found[1] for line in lines[:2] if (found := _THROUGH.match(line))), None)
    if through is None:
        raise ValueError("it does not say through which day it reaches")
    entries = [_entry(line) for line in lines if not line.startswith("#")]
    links = [entry for entry in entries if entry.path.startswith(ROOT)]
    if links not in ([], entries[:1]):
        raise ValueError("it names manifests elsewhere than in its first line")
    return Manifest(
        through=date.fromisoformat(through),
        before=links[0] if links else None,
        entries=tuple(entries[len(links) :]),
    )


def sidecar_first(groups: Iterable[tuple[Entry, ...]]) -> tuple[Entry, ...]:
    """Return each sidecar followed by its media, ordered by the sidecars' paths."""
    return tuple(entry for group in sorted(groups, key=lambda group: group[0].path) for entry in group)


def _line(entry: Entry) -> str:
    escaped = _UNESCAPED.sub(lambda found: {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}[found[0]], entry.path)
    return f"{'' if escaped == entry.path else chr(92)}{entry.sha256}  {escaped}"


def _entry(line: str) -> Entry:
    found = _LINE.fullmatch(line)
    if not found:
        raise ValueError(f"it contains a line that is not in sha256sum's format: {line[:80]!r}")
    path = _ESCAPED.sub(lambda escape: _ESCAPES[escape[0]], found[3]) if found[1] else found[3]
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise ValueError(f"it names a file outside the copy: {path[:80]!r}")
    return Entry(path, found[2])
