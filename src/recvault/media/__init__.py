"""Which audio is this really, and is all of it there? Pure arithmetic over the bytes as they pass; no I/O.

At any time a medium that is archived as `ok` has been walked to its end by its own container's rules, and agrees
with what its provider says of its length, size and channels. What does not agree is `suspect`: archived and flagged,
never dropped; what is merely odd is told in the reason. A medium is what its bytes show, whatever name it was asked
for under and whatever content type it came with. Refused (`MediaRejected`) is only what is no audio at all: a
document, another kind of file, nothing.

Header durations lie for truncated files, so durations here are measured by walking: `wav` counts bytes, `mp3` jumps
from frame to frame, `matroska` steps over elements by their sizes. Other kinds are told by their first bytes and
archived unchecked. `ffmpeg` asks FFmpeg besides, where that is wanted.
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
