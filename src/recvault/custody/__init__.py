"""Custody: the records of what was erased, held, pruned and done. They are in the bucket, and outlive the ledger.

Invariants. A record is written once and never replaced. It has no phone number and no name of a person;
of who acted, `events/` names the account. All have one
chain of manifests, `manifests/provider=recvault/account=custody/`, which lists them daily, whoever wrote them.
"""

from recvault.custody.honouring import honour, in_force
from recvault.custody.records import (
    JSON_TYPE,
    LINES_TYPE,
    Record,
    Records,
    RecordSchema,
    is_record,
    read_record,
    record_key,
)
from recvault.custody.tombstones import (
    Tombstone,
    Tombstones,
    buried,
    done_path,
    is_done,
    read_tombstone,
    tombstone_path,
)

__all__ = [
    "JSON_TYPE",
    "LINES_TYPE",
    "Record",
    "RecordSchema",
    "Records",
    "Tombstone",
    "Tombstones",
    "buried",
    "done_path",
    "honour",
    "in_force",
    "is_done",
    "is_record",
    "read_record",
    "read_tombstone",
    "record_key",
    "tombstone_path",
]
