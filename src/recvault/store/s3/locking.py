"""Lock objects uploaded in parts: some stores (Ceph 16) accept the lock of a multipart upload, but drop it.

boto3 always adds a checksum of its own to these requests; here they carry the checksums that the store accepts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from recvault.store.facts import SHA256, StoreFacts
from recvault.store.s3.object_writer import b64

_facts: ContextVar[StoreFacts | None] = ContextVar("facts", default=None)  # of the store that receives the request


def lock(client: Any, where: Mapping[str, str], wanted: Mapping[str, Any], facts: StoreFacts) -> None:
    """Apply the wanted lock settings that an object lacks. Raises botocore's errors."""
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
    """Before signing: add an MD5 if the store needs it, and remove checksums it does not accept."""
    facts = _facts.get()
    if facts is None:
        return  # another request by the same client
    if facts.sums != SHA256:
        params["context"].pop("checksum", None)
    if facts.needs_md5:
        params["headers"]["Content-MD5"] = b64(hashlib.md5(params["body"], usedforsecurity=False).digest())
