"""Whose bytes are read: all, none, or a share that the same seed chooses again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_BITS = 56


@dataclass(frozen=True, slots=True)
class Sample:
    """So many percent of the recordings, chosen by their identity: whatever the order, whoever asks."""

    percent: float = 0.0
    seed: int = 0

    def __contains__(self, identity: tuple[str, str, str]) -> bool:
        if self.percent >= 100:
            return True
        if self.percent <= 0:
            return False
        drawn = hashlib.blake2b(repr((self.seed, *identity)).encode("utf-8", "surrogatepass"), digest_size=_BITS // 8)
        return int.from_bytes(drawn.digest(), "big") < self.percent / 100 * (1 << _BITS)
