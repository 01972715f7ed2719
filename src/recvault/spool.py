"""Where media wait between download and upload: in memory while small, past that in a nameless file on disk.

The file has no name on disk, so a kill leaves nothing behind. A disk that is nearly full is left alone.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from recvault.errors import Unavailable


class SpoolFull(Unavailable):
    """The spool's disk has no room: a trouble of this machine, not of the recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolPlace:
    """Where to spool, and how much."""

    directory: Path
    memory: int  # bytes of one recording that stay in memory
    min_free_disk: int


class Spool:
    """One medium's bytes, hashed as they are written. A context that frees them."""

    def __init__(self, place: SpoolPlace, expected: int | None) -> None:
        self._place = place
        self._on_disk = expected is not None and expected > place.memory
        if self._on_disk:
            self._check_room(expected or 0)
        self._file = tempfile.SpooledTemporaryFile(max_size=place.memory, dir=str(place.directory))  # noqa: SIM115
        if self._on_disk:
            self._file.rollover()
        self._digest = hashlib.sha256()
        self.bytes = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunk: bytes) -> None:
        """Append and hash."""
        self.bytes += len(chunk)
        if not self._on_disk and self.bytes > self._place.memory:
            self._on_disk = True
            self._check_room(0)
        self._digest.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise SpoolFull(f"the spool {self._place.directory} cannot be written: {error.strerror}") from error

    @property
    def sha256(self) -> str:
        """Hex, of all that was written."""
        return self._digest.hexdigest()

    @property
    def file(self) -> IO[bytes]:
        """The bytes, to be read from the start."""
        return cast("IO[bytes]", self._file)

    def close(self) -> None:
        """Free the memory or the file."""
        self._file.close()

    def _check_room(self, more: int) -> None:
        place = self._place
        try:
            place.directory.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(place.directory).free
        except OSError as error:
            raise SpoolFull(f"the spool {place.directory} cannot be used: {error.strerror}") from error
        if free - more < place.min_free_disk:
            raise SpoolFull(
                f"the spool {place.directory} has {free} bytes free and {more} more are due",
                f"free some: {place.min_free_disk} are always left (transfer.min_free_disk)",
            )
