"""What a history can strike: a bucket's puts and queries, and a ledger's transactions, each an effect."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from faults.near import Effect
from recvault.errors import LedgerLocked, StoreUnavailable
from recvault.ledger.connection import Connection
from recvault.store import SMALL_MOST, ObjectStore, Put, Stored


@dataclass
class StruckStore:
    """A bucket whose every query and put is an effect."""

    bucket: ObjectStore
    effect: Effect

    def put(self, put: Put) -> bool:
        with self.effect("put", lambda: StoreUnavailable("planned")):
            return self.bucket.put(put)

    def head(self, key: str) -> Stored | None:
        with self.effect("look", lambda: StoreUnavailable("planned")):
            return self.bucket.head(key)

    def get(self, key: str, most: int = SMALL_MOST) -> bytes | None:
        with self.effect("look", lambda: StoreUnavailable("planned")):
            return self.bucket.get(key, most)

    def stream(self, key: str) -> Iterator[bytes]:
        with self.effect("look", lambda: StoreUnavailable("planned")):
            return self.bucket.stream(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self.bucket.list(prefix)


@contextlib.contextmanager
def struck_ledger(effect: Effect) -> Iterator[None]:
    """Make every transaction of a ledger an effect."""
    write = Connection.write

    @contextlib.contextmanager
    def struck(self: Connection) -> Iterator[Any]:
        with effect("ledger", lambda: LedgerLocked("planned")), write(self) as db:
            yield db

    with mock.patch.object(Connection, "write", struck):
        yield
