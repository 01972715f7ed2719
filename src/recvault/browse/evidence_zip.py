"""Evidence to hand over: a recording's media, sidecar and manifest lines as a zip that verifies offline.

    ID/README.txt             what this is, and how to check it
    ID/SHA256SUMS             for `sha256sum -c`: every other file
    ID/manifest-lines.txt     what the archive's manifest says of these files
    ID/recordings/…           media and sidecar, under their paths in the archive

Invariant: a zip that ends holds the bytes that its sidecar names. If they differ, it breaks off: no program opens it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from recvault import __version__
from recvault.archive import Sidecar, escape
from recvault.archive.layout import MANIFESTS
from recvault.browse.finding import moment
from recvault.browse.holdings import Holdings
from recvault.errors import NotOpened, UnknownName

_SAFE = re.compile(r"[A-Za-z0-9_.%~=-]+")
_README = """\
Recording {recording_id} of {provider} account {account_id}
taken from the archive {where} at {taken:%Y-%m-%d %H:%M:%S} UTC with recvault {version}

Check every file, without a network:

    sha256sum -c SHA256SUMS

Its SHA-256 is stated in the sidecar (the .json file) beside each medium, which was written when the recording was
archived{archived}.
{manifest}
"""
_LISTED = """\
manifest-lines.txt repeats what manifest {number} of this account says of these files. To confirm that, compare it
with the archive's object {path},
whose SHA-256 is {sha256}
and is named by the manifest after it. `sha256sum -c manifest-lines.txt` checks those files, too.
"""
_UNLISTED = "No manifest lists this recording yet: its day's is written after the day has ended.\n"


class _Pipe(io.RawIOBase):
    """What a zip is written to; taken out as it grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Return what was written since."""
        taken, self._parts = b"".join(self._parts), []
        return taken


class EvidenceZip:
    """The zip of a recording. UnknownName or NotOpened if its sidecar is missing, or not the one of the catalog."""

    def __init__(self, holdings: Holdings, row: Mapping[str, Any], now: datetime) -> None:
        self._holdings, self._row, self._now = holdings, row, now
        body = holdings.small(row["sidecar_key"])
        if body is None:
            raise UnknownName(f"the sidecar {row['sidecar_key']} is not in the bucket", "run `recvault verify`")
        self._sidecar = body
        read = Sidecar.read(body)
        if row["sidecar_sha256"] not in (None, read.sha256):
            raise NotOpened(f"{row['sidecar_key']} is not the sidecar that the catalog lists", "run `recvault verify`")
        self._media = read.media
        self._sums: list[tuple[str, str]] = []
        self.name = (_SAFE.fullmatch(row["recording_id"]) and row["recording_id"]) or escape(row["recording_id"])

    def __iter__(self) -> Iterator[bytes]:
        """Yield the zip. NotOpened, in its middle, if media are not as archived."""
        pipe = _Pipe()
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as file:
            self._add(file, self._path(self._row["sidecar_key"], "sidecar.json"), self._sidecar)
            for number, medium in enumerate(self._media):
                path = self._path(medium.key, f"medium-{number}.{medium.media_format}")
                digest, size = hashlib.sha256(), 0
                with file.open(self._entry(path), "w", force_zip64=True) as entry:
                    for piece in self._holdings.pieces(medium.key, 0, medium.bytes):
                        digest.update(piece)
                        size += len(piece)
                        entry.write(piece)
                        yield pipe.take()
                if (size, digest.hexdigest()) != (medium.bytes, medium.sha256):
                    raise NotOpened(
                        f"{medium.key} differs from its sidecar in size or SHA-256", "run `recvault verify`"
                    )
                self._sums.append((digest.hexdigest(), path))
            lines, words = self._manifest()
            self._add(file, "manifest-lines.txt", lines)
            self._add(file, "README.txt", self._readme(words))
            sums = "".join(f"{sha256}  {path}\n" for sha256, path in self._sums)
            self._add(file, "SHA256SUMS", sums.encode())
        yield pipe.take()

    def _add(self, file: zipfile.ZipFile, path: str, content: bytes) -> None:
        file.writestr(self._entry(path), content)
        self._sums.append((hashlib.sha256(content).hexdigest(), path))

    def _entry(self, path: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(f"{self.name}/{path}", self._now.timetuple()[:6])
        entry.external_attr = 0o644 << 16
        return entry

    def _path(self, key: str, other: str) -> str:
        """Return a key's path in the zip; another name for one that could leave its folder."""
        path = self._holdings.path(key)
        parts = path.split("/")
        return path if all(_SAFE.fullmatch(each) and each.strip(".") for each in parts) else other

    def _manifest(self) -> tuple[bytes, str]:
        """Return the lines of the manifest that lists these files, and a sentence about it."""
        number = self._row["manifest_number"]
        if number is None:
            return b"", _UNLISTED
        names = f"provider={escape(self._row['provider'])}/account={escape(self._row['account_id'])}"
        path = f"{MANIFESTS}{names}/number={number:08}/manifest-sha256.txt"
        body = self._holdings.small(self._holdings.prefix + path)
        if body is None:
            return b"", f"The catalog says that manifest {number} lists them, but {path} is not in the bucket.\n"
        keys = (self._row["sidecar_key"], *(medium.key for medium in self._media))
        wanted = {self._holdings.path(key).encode() for key in keys}
        lines = [line for line in body.splitlines(keepends=True) if line.rstrip(b"\n")[66:] in wanted]
        sha256 = hashlib.sha256(body).hexdigest()
        return b"".join(lines), _LISTED.format(number=number, path=path, sha256=sha256)

    def _readme(self, manifest: str) -> bytes:
        names = ("recording_id", "provider", "account_id")
        at = None if self._row["archived_us"] is None else moment(self._row["archived_us"])
        return _README.format(
            **{name: self._row[name] for name in names},
            where=self._holdings.where,
            taken=self._now,
            version=__version__,
            archived=f", {at:%Y-%m-%d %H:%M:%S} UTC" if at else "",
            manifest=manifest,
        ).encode("utf-8", "backslashreplace")
