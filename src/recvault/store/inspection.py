"""What `check` tests on one kind of store: its specific questions, and hints for its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from recvault.errors import StoreRefused


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning: the answer is not an error, but something should be done about it."""

    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class Question:
    """One line of `check`. `needed`: if it fails, the following questions would fail for the same reason."""

    name: str
    ask: Callable[[], str | Notice]
    needed: bool = False


class Inspection(Protocol):
    """Asked in this order: `before`, a put of a probe, `after`, a get and a delete of it."""

    lesser: frozenset[str]
    """Refusal codes after which the other questions are still asked, even if a needed question fails."""

    def before(self, root: str) -> Iterator[Question]:
        """Questions to ask before anything is written. Each is answered before the next is created."""

    def after(self, key: str) -> Iterator[Question]:
        """Questions to ask after the object `key` was put."""

    def default_lock(self) -> str | None:
        """How the store locks every object by default; None if it does not, or does not say."""

    def explained(self, verb: str, refusal: StoreRefused) -> StoreRefused:
        """Add a helpful hint to a refusal to `put` or `get` the probe."""
