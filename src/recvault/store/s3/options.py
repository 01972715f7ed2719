"""Settings for writing every object: storage class, encryption, lock, tags, ACL; passed through to the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """Write settings from the configuration."""

    storage_class: str = "STANDARD"
    sse: str = "none"  # none | AES256 | aws:kms
    kms_key_id: str | None = None
    lock_mode: str = "none"  # none | GOVERNANCE | COMPLIANCE
    lock_days: int = 0
    legal_hold: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: str | None = None  # a canned ACL
    request_payer: bool = False  # sent with reads, too

    def arguments(self, now: datetime) -> dict[str, Any]:
        """Return the arguments for put_object and create_multipart_upload."""
        arguments: dict[str, Any] = {**self.payer}
        if self.acl:
            arguments["ACL"] = self.acl
        if self.storage_class != "STANDARD":
            arguments["StorageClass"] = self.storage_class
        if self.sse != "none":
            arguments["ServerSideEncryption"] = self.sse
        if self.kms_key_id:
            arguments["SSEKMSKeyId"] = self.kms_key_id
        if self.tags:
            arguments["Tagging"] = urlencode(self.tags, quote_via=quote)  # some stores read + as a plus
        return {**arguments, **self.lock_arguments(now)}

    @property
    def payer(self) -> dict[str, str]:
        """The argument that every request needs if the requester pays."""
        return {"RequestPayer": "requester"} if self.request_payer else {}

    @property
    def changes(self) -> bool:
        """Whether the arguments depend on the time."""
        return self.lock_mode != "none"

    def lock_arguments(self, now: datetime) -> dict[str, Any]:
        """Return the arguments for Object Lock."""
        arguments: dict[str, Any] = {}
        if self.lock_mode != "none":
            arguments["ObjectLockMode"] = self.lock_mode
            arguments["ObjectLockRetainUntilDate"] = now + timedelta(days=self.lock_days)
        if self.legal_hold:
            arguments["ObjectLockLegalHoldStatus"] = "ON"
        return arguments
