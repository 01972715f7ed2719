"""The bucket: an `ObjectStore` of five verbs, and S3 behind it.

Invariants: nothing that stands under a key is overwritten; what a put returns stands there with the SHA-256 it names.
Exactly-once rests on keys that follow from the recording and on comparing where a key is met; a conditional write is a
bonus, used where the store honours it.
"""

from recvault.store.facts import StoreFacts
from recvault.store.protocol import SMALL_MOST, ObjectStore, Put, Stored
from recvault.store.s3.options import WriteOptions
from recvault.store.s3.s3_store import S3Store

__all__ = ["SMALL_MOST", "ObjectStore", "Put", "S3Store", "StoreFacts", "Stored", "WriteOptions"]
