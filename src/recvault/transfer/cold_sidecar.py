"""A commit whose sidecar is in an archive class: a HEAD of it and of its media is enough to recognise it.

This happens after a lost ledger and a lifecycle rule. Nothing is restored from the class, downloaded or written again.
The sidecar's content stays unknown: its media count as unchecked.
"""

from __future__ import annotations

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.errors import Cold
from recvault.media import CONTENT_TYPES
from recvault.models import Check, Job, MediaObject, Receipt, Recording
from recvault.store import ObjectStore, Stored

_CHECK = Check(status="unchecked", method="metadata", reason="its sidecar is in an archive class and was not read")


def cold_commit(store: ObjectStore, keys: KeyTemplate, job: Job, cold: Cold, key: str) -> Receipt | None:
    """Return the receipt of a sidecar that cannot be read; None if recvault did not put it.

    Raises `cold` if there are no media beside it.
    """
    recording, standing = job.recording, job.standing
    sidecar = store.head(key)
    if sidecar is None or not _is_of(recording, sidecar):
        return None
    if standing is not None and standing.sidecar_key == key:
        return standing if standing.sidecar_sha256 in (None, sidecar.sha256) else None
    media = tuple(
        _medium(media_format, found)
        for media_format in dict.fromkeys((*recording.formats, *CONTENT_TYPES))
        if (found := store.head(keys(recording, media_format))) is not None and _is_of(recording, found)
    )
    if not media:
        raise cold
    return Receipt(
        source=job.source,
        recording=recording,
        sidecar_key=key,
        media=media,
        archived_at=recording.created_at,
        already_archived=True,
    )


def _is_of(recording: Recording, found: Stored) -> bool:
    """Whether an object's metadata are those that recvault sets for this recording."""
    ours = archive.object_metadata(recording, found.sha256 or "")
    return bool(found.sha256) and all(found.metadata.get(name) == value for name, value in ours.items())


def _medium(media_format: str, found: Stored) -> MediaObject:
    return MediaObject(
        key=found.key,
        media_format=media_format,
        bytes=found.bytes,
        sha256=found.sha256 or "",
        content_type=CONTENT_TYPES.get(media_format, "application/octet-stream"),
        codec=None,
        sample_rate=None,
        channels=None,
        duration_seconds=None,
        check=_CHECK,
    )
