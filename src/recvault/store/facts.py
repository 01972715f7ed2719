"""What a store really enforces: asked once, remembered, and the cheapest sufficient proof chosen from it.

Older and compatible servers ignore the SHA-256 header, the conditional write, or both, without a word. A put whose
sum is wrong on purpose must be refused, and a conditional put on an object that exists must answer 412.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """Which checks of a put the store makes itself."""

    sha256: bool = False  # refuses a wrong x-amz-checksum-sha256
    md5: bool = False  # refuses a wrong Content-MD5
    conditional: bool = False  # honours If-None-Match: *

    @property
    def proof(self) -> str:
        """How a put is proven, in words."""
        if self.sha256:
            return "the store verifies SHA-256"
        if self.md5:
            return "the store verifies MD5"
        return "the store verifies nothing: each object's size is read back"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StoreFacts:
        return cls(**json.loads(text))
