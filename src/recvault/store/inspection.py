"""What `check` asks of one kind of store: its own questions, and the hints that go with its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from recvault.errors import StoreRefused


@dataclass(frozen=True, slots=True)
class Notice:
    """An answer that is no error, with something to do about it."""

    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class Question:
    """One line of `check`. `needed`: where it fails, the questions that follow would only fail alike."""

    name: str
    ask: Callable[[], str | Notice]
    needed: bool = False


class Inspection(Protocol):
    """Asked in this order: `before`, a put of a probe, `after`, a get and a delete of it."""

    lesser: frozenset[str]
    """Codes of refusals after which the rest is worth asking even where a needed question fails."""

    def before(self, root: str) -> Iterator[Question]:
        """What is asked before anything is written. Each is answered before the next is made."""

    def after(self, key: str) -> Iterator[Question]:
        """What is asked once the object `key` was put."""

    def explained(self, verb: str, refusal: StoreRefused) -> StoreRefused:
        """A refusal to `put` or `get` the probe, with the hint that helps."""
