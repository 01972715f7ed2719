"""Which sidecars stand in the bucket already: one listing of a partition in place of a question per recording.

Only a hint, so it may be stale: where it says no, the put that follows still overwrites nothing, and where it says
maybe, the sidecar itself is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from recvault.store import ObjectStore

MOST_PARTITIONS = 512  # remembered at once
MOST_KEYS = 20_000  # of a partition: a larger one is asked recording by recording
MOST_TOGETHER = 100_000  # of all partitions: what was looked at longest ago is forgotten first


@dataclass(slots=True)
class _Partition:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: frozenset[str] | None = None  # None: not listed yet
    whole: bool = True  # False: too large to remember


@dataclass(slots=True)
class Presence:
    """What a process has seen of the bucket's partitions. Thread-safe."""

    store: ObjectStore
    _known: OrderedDict[str, _Partition] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def may_stand(self, key: str) -> bool:
        """False only where the key's partition was listed without it."""
        partition = self._partition(key.rpartition("/")[0] + "/")
        return not partition.whole or key in (partition.keys or ())

    def _partition(self, prefix: str) -> _Partition:
        with self._lock:
            partition = self._known.setdefault(prefix, _Partition())
            self._known.move_to_end(prefix)
            if len(self._known) > MOST_PARTITIONS:
                self._known.popitem(last=False)
        with partition.lock:  # one thread lists, the others wait for what it finds
            if partition.keys is None:
                found = frozenset(islice((each.key for each in self.store.list(prefix)), MOST_KEYS + 1))
                partition.whole = len(found) <= MOST_KEYS
                partition.keys = found if partition.whole else frozenset()
                self._forget_oldest()
        return partition

    def _forget_oldest(self) -> None:
        with self._lock:
            while len(self._known) > 1 and sum(len(each.keys or ()) for each in self._known.values()) > MOST_TOGETHER:
                self._known.popitem(last=False)
