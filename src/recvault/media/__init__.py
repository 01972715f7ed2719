"""Determine what audio the bytes really are, and whether they are complete. Pure; no I/O.

At any time media archived as `ok` were parsed completely by their container's rules, and agree with the provider's
length, size and channels. Otherwise they are `suspect`: archived and flagged, never dropped. Harmless oddities are
noted in the reason. The bytes decide the format, not the requested name or the content type. Only non-audio is
rejected (`MediaRejected`): a document, another kind of file, an empty body.

Header durations are wrong for truncated files, so durations are measured by walking: `wav` counts bytes, `mp3` jumps
from frame to frame, `matroska` steps over elements by their sizes. Other kinds are recognised by their first bytes
and archived unchecked. `ffmpeg` adds a check by FFmpeg, if configured.
"""

from recvault.media.document import ENOUGH as ENOUGH_TEXT
from recvault.media.document import refuse_document
from recvault.media.kinds import CONTENT_TYPES
from recvault.media.prober import WALKED, MediaFacts, Prober, length_faults, tolerance

__all__ = [
    "CONTENT_TYPES",
    "ENOUGH_TEXT",
    "WALKED",
    "MediaFacts",
    "Prober",
    "length_faults",
    "refuse_document",
    "tolerance",
]
