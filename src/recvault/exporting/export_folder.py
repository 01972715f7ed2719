"""A folder that appears under its name only when it is complete, and what was put into it.

Invariant: what is in an exported folder has the archived size and SHA-256. A recording that has not is no part of it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recvault.errors import UnknownName
from recvault.models import JSON
from recvault.reading.recordings import ArchivedMedium, ArchivedRecording


@dataclass(frozen=True, slots=True)
class NotExported:
    """A recording that is not in the folder, and why."""

    recording_id: str
    sidecar_key: str
    reason: str


@dataclass(slots=True)
class Exported:
    """What was written."""

    recordings: int = 0
    media: int = 0
    bytes: int = 0
    encrypted: int = 0
    unlisted: int = 0  # recordings that no manifest lists yet; only a bag tells
    failed: list[NotExported] = field(default_factory=list)

    def wrote(self, recording: ArchivedRecording, media: Sequence[ArchivedMedium]) -> None:
        """Count a recording and those of its media that were written."""
        self.recordings += 1
        self.media += len(media)
        self.bytes += sum(medium.bytes for medium in media)
        self.encrypted += recording.encrypted

    def left_out(self, recording: ArchivedRecording, reason: str) -> None:
        self.failed.append(NotExported(recording.recording_id, recording.sidecar_key, reason))

    def document(self) -> JSON:
        names = ("recordings", "media", "bytes", "encrypted", "unlisted")
        failed = [
            {"recording_id": each.recording_id, "sidecar_key": each.sidecar_key, "reason": each.reason}
            for each in self.failed
        ]
        return {**{name: getattr(self, name) for name in names}, "failed": failed}


@contextlib.contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """Make a folder beside `place` that gets its name when the block ends without an error; else nothing is left.

    Raises UnknownName if the name is taken, OSError.
    """
    if not place.parent.is_dir():
        raise UnknownName(f"{place.parent} is not a directory: nothing was written", f"mkdir -p {place.parent}")
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise UnknownName(f"{place} exists: nothing was written", "name a folder that does not exist, or is empty")
    made = Path(tempfile.mkdtemp(prefix=f".{place.name[:100]}.", suffix=".part", dir=place.parent))
    try:
        yield made
        made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
