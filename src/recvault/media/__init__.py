"""Is this really the audio that it claims to be? Pure arithmetic over the bytes as they pass; no I/O.

At any time a medium that is archived as `ok` has been walked to its end by its own container's rules, and agrees
with what its provider says of its length and size. What does not agree is `suspect`: archived and flagged, never
dropped. Refused (`MediaRejected`) is only what is another thing altogether: a document, other magic bytes, nothing.

Header durations lie for truncated files, so durations here are measured by walking: `wav` counts bytes, `mp3` jumps
from frame to frame, `matroska` steps over elements by their sizes. `packets` asks FFmpeg besides, where that is wanted.
"""

from recvault.media.document import refuse_document
from recvault.media.probe import CONTENT_TYPES, MediaFacts, Prober, length_faults, tolerance

__all__ = ["CONTENT_TYPES", "MediaFacts", "Prober", "length_faults", "refuse_document", "tolerance"]
