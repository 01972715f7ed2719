"""What an account's manifests list, read from the newest back, no further than is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from recvault.app.runtime import Runtime
from recvault.ledger import KeySet
from recvault.models import JSON
from recvault.operations.manifests.learning import trusted
from recvault.operations.manifests.text import Manifest, Partition


def mark(path: str, sha256: str) -> str:
    """Return what identifies a file of a manifest."""
    return f"{sha256} {path}"


@dataclass(slots=True)
class Manifested:
    """The files that a chain lists, if its end is the one that the ledger knows. For one thread."""

    head: JSON  # of the chain; empty if there is none
    _left: Iterator[Manifest]  # not read yet
    _known: KeySet

    @classmethod
    def of(cls, runtime: Runtime, partition: Partition, known: KeySet) -> Self:
        """Begin at the end of the account's chain. What is read is kept in `known`."""
        for chain in runtime.ledger.unlisted.chains():
            if (chain.provider, chain.account_id) == (partition.provider, partition.account_id):
                manifests = trusted(chain, runtime.store, runtime.keys.prefix, runtime.stop)
                return cls({"number": chain.number, "sha256": chain.sha256}, manifests, known)
        return cls({}, iter(()), known)

    def __contains__(self, wanted: object) -> bool:
        """Whether a `mark` is listed."""
        if wanted in self._known:
            return True
        for manifest in self._left:
            self._known.add(mark(each.path, each.sha256) for each in manifest.entries)
            if wanted in self._known:
                return True
        return False
