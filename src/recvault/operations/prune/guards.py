"""What must not be deleted at the provider whatever is proven: recordings on hold, and those to be erased."""

from __future__ import annotations

from dataclasses import dataclass, field

from recvault.custody import Records, Tombstones
from recvault.custody.holds import Held, held

Identity = tuple[str, str, str]


@dataclass(slots=True)
class Guards:
    """The holds and tombstones, as they were at the last `look`."""

    records: Records
    _held: Held = field(default_factory=Held, init=False)
    _tombstones: Tombstones = field(default_factory=Tombstones, init=False)

    def look(self) -> None:
        """Read them anew. Raises ConfigError for a hold that cannot be read."""
        self._held = held(self.records)
        self._tombstones = Tombstones.listed(self.records)

    def is_held(self, identity: Identity) -> bool:
        """Whether it is on hold."""
        return identity in self._held

    def is_erased(self, identity: Identity) -> bool:
        """Whether its erasure was asked for, done or not."""
        return identity in self._tombstones
