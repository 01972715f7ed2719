"""What to verify: where in the bucket to look, and which recordings are read completely.

Ranges of keys cover the selection, with about equal work each. Together they cover every possible key exactly once.
Only ranges where recordings of this configuration may be are listed; the others hold what an earlier key template
put there, which is checked key by key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from recvault.archive import KeyParts, KeyTemplate, escape
from recvault.models import Window, stamp

HIGHEST = "\U0010ffff"  # sorts after anything that may follow a prefix


_ALL_TIME = Window()


@dataclass(frozen=True, slots=True)
class Range:
    """Keys after `after` and before `until`."""

    after: str
    until: str
    is_listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketScope:
    """What was selected. `accounts`, as (provider, account id), is None for all."""

    keys: KeyTemplate
    window: Window = _ALL_TIME
    accounts: frozenset[tuple[str, str]] | None = None

    def __contains__(self, parts: KeyParts) -> bool:
        """Whether a recording's object is selected, as far as its key shows."""
        if self.accounts is not None and (parts.provider, parts.account) not in self._escaped:
            return False
        first, last = self._days
        return parts.date is None or first <= parts.date <= last

    @property
    def root(self) -> str:
        """The directory that contains all recordings."""
        begun, _ = self.keys.beginning()
        return begun[: begun.rfind("/") + 1] or begun

    @property
    def is_whole(self) -> bool:
        """Whether everything is selected."""
        return self.accounts is None and self.window == _ALL_TIME

    def is_ours(self, key: str) -> bool:
        """Whether a key is one of recvault's that belongs to no recording."""
        return self.keys.is_reserved(key)

    def ranges(self, cuts: Iterable[str]) -> list[Range]:
        """Divide all possible keys into ranges, at the given sidecar keys."""
        listed = list(_joined(sorted(self._listed())))
        stems = sorted({f"{cut.rpartition('.')[0]}." for cut in cuts})
        found: list[Range] = []
        reached = ""
        for after, until in listed:
            if reached < after:
                found.append(Range(reached, after, False))
            found += [Range(*each, True) for each in _divided(after, until, stems)]
            reached = until
        return [*found, Range(reached, HIGHEST, False)]

    @property
    def _escaped(self) -> set[tuple[str, str]]:
        return {(escape(provider), escape(account)) for provider, account in self.accounts or ()}

    @property
    def _days(self) -> tuple[str, str]:
        since, until = self.window.since, self.window.until
        last = stamp(until - timedelta(microseconds=1))[:10] if until else HIGHEST
        return (stamp(since)[:10] if since else ""), last

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Yield the ranges of the selection, narrowed to days if the template puts the date next."""
        if self.accounts is None:
            yield self.root, self.root + HIGHEST
            return
        for provider, account in self._escaped:
            begun, follows = self.keys.beginning(provider=provider, account=account)
            if follows == "date":
                first, last = self._days
                yield begun + first, begun + last + HIGHEST
            else:
                yield begun, begun + HIGHEST


def _joined(ranges: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Merge ranges that overlap."""
    if not ranges:
        return
    after, until = ranges[0]
    for first, last in ranges[1:]:
        if first > until:
            yield after, until
            after, until = first, last
        until = max(until, last)
    yield after, until


def _divided(after: str, until: str, cuts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for cut in cuts:
        if after < cut < until:
            yield after, cut
            after = cut
    yield after, until


_BITS = 56


@dataclass(frozen=True, slots=True)
class Sample:
    """Choose a percentage of the recordings by their identity, independent of order."""

    percent: float = 0.0
    seed: int = 0

    def __contains__(self, identity: tuple[str, str, str]) -> bool:
        if self.percent >= 100:
            return True
        if self.percent <= 0:
            return False
        drawn = hashlib.blake2b(repr((self.seed, *identity)).encode("utf-8", "surrogatepass"), digest_size=_BITS // 8)
        return int.from_bytes(drawn.digest(), "big") < self.percent / 100 * (1 << _BITS)
