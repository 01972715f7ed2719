"""Shards for WebDataset: tar files in which a recording's media and its row of the catalog have one name.

shard-000000.tar        PROVIDER/ACCOUNT/ID.wav and PROVIDER/ACCOUNT/ID.json, one after the other
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from recvault.archive import escape
from recvault.errors import NotAsArchived
from recvault.exporting.export_folder import Exported
from recvault.reading.recordings import ArchivedRecording

LARGEST = 1 << 30  # bytes after which the next shard begins
MOST = 10_000  # recordings in a shard
_MODE = 0o644


def write_shards(
    recordings: Iterable[ArchivedRecording], folder: Path, *, largest: int = LARGEST, most: int = MOST
) -> Exported:
    """Fill a folder. What is not as archived is left out and told."""
    done, shards = Exported(), _Shards(folder, largest, most)
    with shards, tempfile.TemporaryDirectory(dir=folder) as proven:
        for recording in recordings:
            try:
                media = [
                    (medium.media_format, medium.download(Path(proven) / str(number)))
                    for number, medium in enumerate(recording.media)
                ]
            except NotAsArchived as error:
                done.left_out(recording, error.message)
                continue
            shards.add(recording, media)
            done.wrote(recording, recording.media)
    return done


class _Shards:
    """Tar files, the next of which begins when one is full."""

    def __init__(self, folder: Path, largest: int, most: int) -> None:
        self._folder, self._largest, self._most = folder, largest, most
        self._opened = ExitStack()
        self._tar: tarfile.TarFile | None = None
        self._count = self._inside = self._size = 0

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def add(self, recording: ArchivedRecording, media: list[tuple[str, Path]]) -> None:
        """Add a recording: WebDataset takes all that is before the first dot of a name for its key."""
        tar = self._shard()
        for extension, place in _extensions(media):
            with place.open("rb") as file:
                entry = self._entry(recording, extension, place.stat().st_size)
                tar.addfile(entry, file)
        body = json.dumps(recording.row, ensure_ascii=True, sort_keys=True).encode()
        tar.addfile(self._entry(recording, "json", len(body)), io.BytesIO(body))
        self._inside += 1
        self._size += sum(place.stat().st_size for _, place in media)

    def _shard(self) -> tarfile.TarFile:
        if self._tar is None or self._inside >= self._most or self._size >= self._largest:
            self._opened.close()
            place = self._folder / f"shard-{self._count:06}.tar"
            self._tar = tarfile.open(place, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed with the next one
            self._opened.enter_context(self._tar)
            self._count, self._inside, self._size = self._count + 1, 0, 0
        return self._tar

    def _entry(self, recording: ArchivedRecording, extension: str, size: int) -> tarfile.TarInfo:
        names = (recording.provider, recording.account_id, recording.recording_id)
        entry = tarfile.TarInfo(f"{'/'.join(escape(name).replace('.', '%2E') for name in names)}.{_safe(extension)}")
        entry.size, entry.mode, entry.mtime = size, _MODE, recording.created_at.timestamp()
        return entry


def _safe(extension: str) -> str:
    """Return an extension that leads to no other folder, whatever a sidecar says."""
    return ".".join(escape(each) for each in extension.split("."))


def _extensions(media: list[tuple[str, Path]]) -> Iterator[tuple[str, Path]]:
    """Yield each file with its format; of several in one format, with a number before it."""
    seen = set[str]()
    for number, (media_format, place) in enumerate(media):
        yield (f"{number}.{media_format}" if media_format in seen else media_format), place
        seen.add(media_format)
