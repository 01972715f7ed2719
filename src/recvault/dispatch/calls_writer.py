"""Put call facts that came after their sidecar into the bucket: an object a run and account, never replaced."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from recvault.archive.late_calls import CALLS_SCHEMA, CALLS_TYPE, LINES_MOST, LateCall, calls_bytes, calls_key
from recvault.store import ObjectStore, Put


@dataclass(frozen=True, slots=True, kw_only=True)
class LateCalls:
    """Writes them below `calls/`."""

    store: ObjectStore
    prefix: str
    clock: Callable[[], datetime]

    def put(self, late: Iterable[LateCall]) -> list[str]:
        """Write all, and return the keys. Raises what the store raises: what was written before is not lost."""
        of: defaultdict[tuple[str, str], list[LateCall]] = defaultdict(list)
        for each in late:
            of[each.provider, each.account_id].append(each)
        return [
            self._put(*account, lines[first : first + LINES_MOST])
            for account, lines in sorted(of.items())
            for first in range(0, len(lines), LINES_MOST)
        ]

    def _put(self, provider: str, account_id: str, lines: list[LateCall]) -> str:
        body = calls_bytes(lines)
        key = self.prefix + calls_key(provider, account_id, self.clock(), body)
        sha256 = hashlib.sha256(body).hexdigest()
        metadata = {"sha256": sha256, "schema": CALLS_SCHEMA}
        self.store.put(
            Put(
                key=key,
                body=BytesIO(body),
                bytes=len(body),
                sha256=sha256,
                content_type=CALLS_TYPE,
                metadata=metadata,
            )
        )
        return key
