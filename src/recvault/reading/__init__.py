"""Read an archive by its URL alone: no configuration, no ledger, and keys that may only GET and LIST.

Invariant: bytes are handed over as a recording's only once they are proven: a file gets its name, and a read reaches
the end, only after size and SHA-256 are those of the archive. Otherwise NotAsArchived.
"""

from recvault.reading.archive import Archive
from recvault.reading.recordings import ArchivedMedium, ArchivedRecording
from recvault.reading.sidecar_rows import UnreadSidecar

__all__ = ["Archive", "ArchivedMedium", "ArchivedRecording", "UnreadSidecar"]
