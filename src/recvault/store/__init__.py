"""The bucket: an `ObjectStore` with five methods, and its implementations: S3 (`s3`) and a directory (`local`).

Invariants: no object is overwritten, but those of the catalog, by a Replacer; once a put returns, the object is stored
with the SHA-256 that it states.
Exactly-once relies on keys derived from the recording and on comparing contents if a key already exists. Conditional
writes are an extra safeguard, used if the store honours them.
"""

from recvault.store.facts import StoreFacts
from recvault.store.inspection import Inspection, Notice, Question
from recvault.store.protocol import (
    SMALL_MOST,
    Body,
    Bucket,
    Described,
    Foreign,
    Listed,
    ObjectPart,
    ObjectStore,
    Origin,
    Put,
    Reader,
    Replacer,
    Stored,
)
from recvault.store.removal import Lock, Remover, StoredVersion

__all__ = [
    "SMALL_MOST",
    "Body",
    "Bucket",
    "Described",
    "Foreign",
    "Inspection",
    "Listed",
    "Lock",
    "Notice",
    "ObjectPart",
    "ObjectStore",
    "Origin",
    "Put",
    "Question",
    "Reader",
    "Remover",
    "Replacer",
    "StoreFacts",
    "Stored",
    "StoredVersion",
]
