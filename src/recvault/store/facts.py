"""How a store really handles a put: tested once, remembered, and used to choose the cheapest sufficient proof.

Older and compatible servers silently ignore the SHA-256 header, the conditional write, or both; others refuse the
header. A put with a deliberately wrong checksum must be refused, a conditional put on an existing object must return
412, and the response to a correct put must say what was stored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

SHA256, MD5, ETAG, NONE = "sha256", "md5", "etag", "none"
CHECKSUMS = (SHA256, MD5, NONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """Which checks the store makes on a put, which checksums it accepts, and what it reports."""

    sha256: bool = False  # refuses a wrong x-amz-checksum-sha256
    md5: bool = False  # refuses a wrong Content-MD5
    conditional: bool = False  # honours If-None-Match: *
    sums: str = SHA256  # the checksum sent with each put: sha256, md5 or none
    tells: str = NONE  # how it reports what it stored: a SHA-256, an ETag that is the MD5, or not at all

    @property
    def needs_md5(self) -> bool:
        """Whether Content-MD5 is sent: if it is configured, or if SHA-256 is not verified."""
        return self.sums == MD5 or (self.sums == SHA256 and not self.sha256)

    @property
    def proof(self) -> str:
        """Describe how a put is verified."""
        sent = {SHA256: "", MD5: " (checksums are sent as MD5)", NONE: " (no checksums are sent)"}[self.sums]
        if self.sha256:
            return f"the store verifies SHA-256{sent}"
        if self.md5:
            return f"the store verifies MD5{sent}"
        if self.tells == ETAG:
            return f"the store verifies nothing: each object's ETag is compared with its MD5{sent}"
        return f"the store verifies nothing: each object's size is read back{sent}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StoreFacts:
        """Parse the output of `to_json`; fields added by a newer version are ignored."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})
