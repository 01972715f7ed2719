"""What every object is written with: class, encryption, lock, tags, rights; passed through to the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """As the configuration says."""

    storage_class: str = "STANDARD"
    sse: str = "none"  # none | AES256 | aws:kms
    kms_key_id: str | None = None
    lock_mode: str = "none"  # none | GOVERNANCE | COMPLIANCE
    lock_days: int = 0
    legal_hold: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    acl: str | None = None  # a canned one
    request_payer: bool = False  # goes with reads, too

    def arguments(self, now: datetime) -> dict[str, Any]:
        """As put_object and create_multipart_upload take them."""
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
            arguments["Tagging"] = urlencode(self.tags, quote_via=quote)  # + is a plus to some stores
        return {**arguments, **self.lock_arguments(now)}

    @property
    def payer(self) -> dict[str, str]:
        """What every request needs where its sender pays for it."""
        return {"RequestPayer": "requester"} if self.request_payer else {}

    @property
    def changes(self) -> bool:
        """Whether they are other ones at each moment."""
        return self.lock_mode != "none"

    def lock_arguments(self, now: datetime) -> dict[str, Any]:
        """Those of them that are about Object Lock."""
        arguments: dict[str, Any] = {}
        if self.lock_mode != "none":
            arguments["ObjectLockMode"] = self.lock_mode
            arguments["ObjectLockRetainUntilDate"] = now + timedelta(days=self.lock_days)
        if self.legal_hold:
            arguments["ObjectLockLegalHoldStatus"] = "ON"
        return arguments
