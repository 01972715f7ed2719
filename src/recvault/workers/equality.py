"""What a worker reports before it gets any work: version, configuration, secrets, and access to the bucket.

Invariant: no secret is sent, only its HMAC with a nonce that the planner made for this run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from recvault import __version__
from recvault.app.transfer_setup import Equipment
from recvault.errors import ConfigError, RecvaultError, StoreRefused
from recvault.log.lines import configure, redact_text
from recvault.store import Put
from recvault.workers.spec import Spec, config_hash, prints

_PROBE = b"recvault check of a worker\n"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inspected:
    """A worker's answer."""

    version: str
    config: str  # hash of the configuration as it reads it; empty if its version differs
    prints: Mapping[str, str]
    put: str = ""  # why it could not put a probe object

    def check(self, spec: Spec) -> None:
        """Raise ConfigError if it differs from the planner; RecvaultError if it cannot put."""
        spec.check(self.version, self.prints)
        if self.config != spec.config:
            raise ConfigError("it reads another configuration", "install the same versions of all packages on both")
        if self.put:
            raise RecvaultError(f"it cannot put an object: {self.put}", "give it credentials of the bucket")


def inspect(spec: Spec, probes: bool) -> Inspected:
    """Report on this process. `probes`: also put an object, and remove it if permitted."""
    _speak()
    if spec.version != __version__:
        return Inspected(version=__version__, config="", prints={})
    put = _put(spec) if probes else ""
    return Inspected(version=__version__, config=config_hash(spec.unpacked()[0]), prints=prints(spec), put=put)


@functools.cache
def _speak() -> None:
    """Log as recvault does from now on: without secrets, queries and phone numbers."""
    configure(format=None, verbosity=-1)


def _put(spec: Spec) -> str:
    settings, facts = spec.unpacked()
    sha256 = hashlib.sha256(_PROBE).hexdigest()
    with Equipment(settings, clock=lambda: datetime.now(UTC), budget=_none) as equipment:
        equipment.store.facts = facts
        key = equipment.keys.schema_key.replace("sidecar-v1.json", f"check-worker-{spec.run[:8]}.txt")
        put = Put(
            key=key,
            body=BytesIO(_PROBE),
            bytes=len(_PROBE),
            sha256=sha256,
            content_type="text/plain",
            metadata={"sha256": sha256},
        )
        try:
            equipment.store.put(put)
        except RecvaultError as error:
            return redact_text(str(error))
        with contextlib.suppress(StoreRefused):  # archiving needs no permission to delete
            equipment.store.delete(key)
    return ""


def _none(key: str, rate: float, most: int) -> Any:
    raise AssertionError(f"no provider is asked here: {key}")
