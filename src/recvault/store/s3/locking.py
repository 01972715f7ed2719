"""Lock what was put in parts: some stores (Ceph 16) take the lock of such an upload, and forget it.

boto3 sends a sum of its own with these requests, whatever it is told: here they carry the sums that the store takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from recvault.store.facts import SHA256, StoreFacts
from recvault.store.s3.object_writer import b64

_facts: ContextVar[StoreFacts | None] = ContextVar("facts", default=None)  # of the store that a request is made to


def lock(client: Any, where: Mapping[str, str], wanted: Mapping[str, Any], facts: StoreFacts) -> None:
    """Give an object of what is wanted whatever it lacks. Raises what botocore raises."""
    missing = wanted.keys() - client.head_object(**where).keys()
    if not missing:
        return
    algorithm = {"ChecksumAlgorithm": "SHA256"} if facts.sums == SHA256 else {}
    for operation in ("PutObjectRetention", "PutObjectLegalHold"):
        client.meta.events.register(f"before-call.s3.{operation}", _with_sums, unique_id=f"recvault-{operation}")
    token = _facts.set(facts)
    try:
        if "ObjectLockMode" in missing:
            retention = {"Mode": wanted["ObjectLockMode"], "RetainUntilDate": wanted["ObjectLockRetainUntilDate"]}
            client.put_object_retention(**where, **algorithm, Retention=retention)
        if "ObjectLockLegalHoldStatus" in missing:
            client.put_object_legal_hold(**where, **algorithm, LegalHold={"Status": "ON"})
    finally:
        _facts.reset(token)


def _with_sums(params: dict[str, Any], **_: Any) -> None:
    """Before a request is signed: MD5 where the store needs it, and no other sum than it takes."""
    facts = _facts.get()
    if facts is None:
        return  # another's, by the same client
    if facts.sums != SHA256:
        params["context"].pop("checksum", None)
    if facts.needs_md5:
        params["headers"]["Content-MD5"] = b64(hashlib.md5(params["body"], usedforsecurity=False).digest())
