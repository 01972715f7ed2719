"""What must not be deleted at the provider whatever is proven: recordings on hold, and those to be erased."""

from __future__ import annotations

from dataclasses import dataclass, field

from recvault.archive import HOLDS
from recvault.custody import Records, Tombstones

Identity = tuple[str, str, str]


@dataclass(slots=True)
class Guards:
    """The holds and tombstones, as they were at the last `look`."""

    records: Records
    _holds: bool = field(default=True, init=False)
    _tombstones: Tombstones = field(default_factory=Tombstones, init=False)

    def look(self) -> None:
        """Read them anew."""
        self._holds = next(self.records.paths(HOLDS), None) is not None
        self._tombstones = Tombstones.listed(self.records)

    def is_held(self, identity: Identity) -> bool:
        """Whether it is on hold. While any hold stands, every recording counts as held."""
        return self._holds

    def is_erased(self, identity: Identity) -> bool:
        """Whether its erasure was asked for, done or not."""
        return identity in self._tombstones
