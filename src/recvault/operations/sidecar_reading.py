"""Read a sidecar for a new ledger, and check that it belongs where it is.

Invariant: plain data, so that it can be sent to another process; the ledger is not needed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from recvault.archive import KeyTemplate, Sidecar
from recvault.errors import Cold, KeyRefused, TooLarge
from recvault.ledger.rebuilt import Committed
from recvault.models import Receipt, Recording
from recvault.store import SMALL_MOST, Listed, Reader

_LARGEST_NUMBER = (1 << 63) - 1  # that the ledger can hold


@dataclass(frozen=True, slots=True)
class SidecarProblem:
    """A sidecar that is not used in the new ledger, and why."""

    key: str
    reason: str
    is_foreign: bool = False  # not under a key of its recording


Found = Committed | SidecarProblem | None  # None: deleted since it was listed


@dataclass(frozen=True, slots=True)
class Sidecars:
    """Reads sidecars under keys of these templates."""

    keys: KeyTemplate
    earlier: tuple[KeyTemplate, ...] = ()  # of earlier configurations

    def __call__(self, reader: Reader) -> Callable[[Listed], Found]:
        """Return what reads one with this reader."""
        return partial(self._read, reader)

    def _read(self, reader: Reader, listed: Listed) -> Found:
        if listed.bytes > SMALL_MOST:
            return SidecarProblem(listed.key, f"{listed.bytes:,} bytes: it is too large to be a sidecar")
        try:
            body = reader.get(listed.key)
            return None if body is None else self._committed(body.content, body.noted, listed.key)
        except Cold:
            return SidecarProblem(
                listed.key, "it is in an archive class and cannot be read: restore it, then rebuild again"
            )
        except (TooLarge, KeyRefused) as error:
            return SidecarProblem(listed.key, str(error))
        except ValueError as error:
            return SidecarProblem(listed.key, str(error), is_foreign=isinstance(error, _Foreign))

    def _committed(self, content: bytes, noted: str | None, key: str) -> Committed:
        """Parse a sidecar. Raises ValueError with a sentence if it is not one of its key's recording."""
        if noted is not None and hashlib.sha256(content).hexdigest() != noted:
            raise ValueError(f"its content does not match the SHA-256 in its metadata, {noted}")
        sidecar = Sidecar.read(content)
        if (fault := sidecar.fault) is not None:
            raise ValueError(f"it does not match the schema: {fault}")
        recording, attempts = sidecar.recording, sidecar.attempts
        receipt = sidecar.receipt(recording, key)
        self._check_keys(receipt)
        if max(receipt.bytes, attempts) > _LARGEST_NUMBER:
            raise ValueError("it contains a number that is too large")
        "".join((*recording.identity, recording.api, receipt.source)).encode()  # UnicodeEncodeError is a ValueError
        return Committed(receipt, attempts)

    def _check_keys(self, receipt: Receipt) -> None:
        """Raise _Foreign unless the sidecar and all media that it names are under this recording's own keys.

        Anyone who can write to the bucket can put a sidecar with any content there, but not for another recording.
        """
        recording, key = receipt.recording, receipt.sidecar_key
        if not self._is_of(recording, key):
            raise _Foreign(
                f"it is not under the key of its recording, {' '.join(recording.identity)}: recvault did not write it "
                "there, or used an earlier key_template (see --earlier-template)"
            )
        for medium in receipt.media:
            if medium.key == key or not self._is_of(recording, medium.key):
                raise _Foreign(f"it names media under a key of another recording: {medium.key}")

    def _is_of(self, recording: Recording, key: str) -> bool:
        return any(each.is_of(recording, key) for each in (self.keys, *self.earlier))


class _Foreign(ValueError):
    """A sidecar under a key, or with media, that recvault would not have used for its recording."""
