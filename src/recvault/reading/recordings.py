"""A recording and its media, as a reader of the archive sees them."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from recvault.errors import NotAsArchived, UnknownName
from recvault.models import JSON, unstamp
from recvault.reading.fetching import VERIFY, fetch
from recvault.reading.medium_file import MediumFile
from recvault.reading.proven_file import proven_file
from recvault.shutdown import Stop
from recvault.store import Bucket, Reader

_BLOCK = 1 << 20  # bytes read ahead by `open`


@dataclass(frozen=True, slots=True)
class Access:
    """How an archive's objects are read."""

    store: Bucket
    reader: Reader
    stop: Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedMedium:
    """One file of a recording."""

    key: str
    media_format: str
    bytes: int
    sha256: str
    codec: str | None
    sample_rate: int | None
    channels: int | None
    duration_seconds: float | None
    checked: str | None
    checked_reason: str | None
    _access: Access = field(repr=False, compare=False)

    def open(self) -> BinaryIO:
        """Open it for reading, by ranges of the object; seekable.

        Bytes read from the beginning to the end, in order, are proven: the last of them are returned only if all
        have the archived SHA-256. Raises NotAsArchived.
        """
        raw = MediumFile(self._access.reader, self.key, self.bytes, self.sha256)
        return cast("BinaryIO", io.BufferedReader(raw, _BLOCK))

    def download(self, path: str | Path) -> Path:
        """Write it to a file, which appears under its name only when proven. Raises NotAsArchived, OSError."""
        place = Path(path)
        with proven_file(place) as file:
            fetch(self._access.store, self, file.write, self._access.stop)
        return place

    def url(self, minutes: float = 5) -> str:
        """Return a presigned URL by which anyone may read it for so long; what it returns is not proven."""
        return self._access.reader.url(self.key, max(1, round(minutes * 60)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedRecording:
    """One recording. `row`: every column of the catalog, by name, whether read from the catalog or from a sidecar."""

    row: JSON = field(repr=False)
    provider: str
    account_id: str
    recording_id: str
    source: str
    call_id: str | None
    created_at: datetime
    duration_seconds: float | None
    from_number: str | None
    to_number: str | None
    direction: str | None
    encrypted: bool
    media: tuple[ArchivedMedium, ...]
    sidecar_key: str
    sidecar_sha256: str
    _access: Access = field(repr=False, compare=False)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What no other recording shares."""
        return (self.provider, self.account_id, self.recording_id)

    @property
    def raw(self) -> Any:
        """The provider's own row; None where the catalog does not hold it."""
        return None if self.row["raw"] is None else json.loads(self.row["raw"])

    def medium(self, media_format: str | None = None) -> ArchivedMedium:
        """Return the medium of this format; the first if none is given. Raises UnknownName."""
        for each in self.media:
            if media_format in (None, each.media_format):
                return each
        known = ", ".join(each.media_format for each in self.media) or "nothing"
        raise UnknownName(f"{self.recording_id} is not archived as {media_format}", f"it is archived as: {known}")

    def download(self, path: str | Path) -> Path:
        """See ArchivedMedium.download: the first medium."""
        return self.medium().download(path)

    def url(self, minutes: float = 5) -> str:
        """See ArchivedMedium.url: the first medium."""
        return self.medium().url(minutes)

    def sidecar_body(self) -> bytes:
        """Read the sidecar's bytes. Raises NotAsArchived if they are not those that this row was made from."""
        body = self._access.reader.get(self.sidecar_key)
        if body is None:
            raise NotAsArchived(f"the sidecar {self.sidecar_key} is not in the bucket", VERIFY)
        if hashlib.sha256(body.content).hexdigest() != self.sidecar_sha256:
            raise NotAsArchived(f"the sidecar {self.sidecar_key} is not the one that was read before", VERIFY)
        return body.content


def recording_of(row: JSON, access: Access) -> ArchivedRecording:
    """Make a recording of a row with the catalog's columns. Raises ValueError if a needed value is missing."""
    media = tuple(_medium(each, access) for each in row["media"] or ())
    names = ("provider", "account_id", "recording_id", "source", "sidecar_key", "sidecar_sha256")
    if missing := [name for name in names if not isinstance(row[name], str)]:
        raise ValueError(f"it does not say its {', '.join(missing)}")
    kept = (*names, "call_id", "duration_seconds", "from_number", "to_number", "direction", "encrypted")
    return ArchivedRecording(
        row=row,
        created_at=unstamp(row["created_at"]),
        media=media,
        _access=access,
        **{name: row[name] for name in kept},
    )


def _medium(medium: JSON, access: Access) -> ArchivedMedium:
    if missing := [name for name in ("key", "media_format", "bytes", "sha256") if medium[name] is None]:
        raise ValueError(f"one of its media lacks {', '.join(missing)}")
    return ArchivedMedium(_access=access, **{name: value for name, value in medium.items() if name != "content_type"})
