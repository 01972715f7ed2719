"""The bucket: an `ObjectStore` of five verbs, and the kinds of store behind it: S3 (`s3`) and a directory (`local`).

Invariants: no object is overwritten; what a put returns is stored with the SHA-256 it states.
Exactly-once rests on keys that follow from the recording and on comparing where a key is met; a conditional write is a
bonus, used where the store honours it.
"""

from recvault.store.facts import StoreFacts
from recvault.store.inspection import Inspection, Notice, Question
from recvault.store.protocol import SMALL_MOST, Body, Bucket, Described, Listed, ObjectStore, Put, Reader, Stored

__all__ = [
    "SMALL_MOST",
    "Body",
    "Bucket",
    "Described",
    "Inspection",
    "Listed",
    "Notice",
    "ObjectStore",
    "Put",
    "Question",
    "Reader",
    "StoreFacts",
    "Stored",
]
