"""The concurrency found against a simulated provider, with a simulated clock."""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from recvault.http.concurrency import REFUSED, SLOWER, Concurrency


@dataclass(slots=True)
class Provider:
    """Works on `places` requests at a time, each for `seconds`, and queues others; refuses those beyond `bound`.

    `workers` threads send requests continuously. `spread` is that of a lognormal distribution.
    """

    found: Concurrency
    places: int | None = None
    bound: int | None = None
    seconds: float = 0.1
    spread: float = 0.0
    workers: int = 64
    kinds: Sequence[tuple[str, float]] = (("row", 1.0),)  # each with a factor for its duration
    now: float = 0.0
    refusals: int = 0
    seen: list[int] = field(default_factory=list)  # the concurrency after each answer
    _events: list[tuple[float, int, float, str]] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)  # ends of running requests
    _count: int = 0
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def answer(self, count: int) -> list[int]:
        """Answer that many; return the concurrency after each of the later half."""
        for _ in range(count):
            while len(self._events) < min(self.found.now, self.workers):
                self._ask()
            self.now, _, asked, kind = heapq.heappop(self._events)
            if kind:
                self.found.answered(kind, self.now - asked, self.now, len(self._events) + 1)
            else:
                self.refusals += 1
                self.found.refused(self.now - asked, self.now)
            self.seen.append(self.found.now)
        return self.seen[-count // 2 :]

    def _ask(self) -> None:
        self._count += 1
        kind, longer = self.kinds[self._count % len(self.kinds)]
        self._ends = sorted(end for end in self._ends if end > self.now)
        if self.bound is not None and len(self._ends) >= self.bound:
            heapq.heappush(self._events, (self.now + 0.01, self._count, self.now, ""))
            return
        waits = self.places is not None and len(self._ends) >= self.places
        begin = self._ends[-self.places] if waits and self.places else self.now
        end = begin + self.seconds * longer * self._chance.lognormvariate(0.0, self.spread)
        self._ends.append(end)
        heapq.heappush(self._events, (end, self._count, self.now, kind))


def turns(seen: Sequence[int]) -> int:
    """Count the changes between growing and shrinking."""
    steps = [after - before for before, after in itertools.pairwise(seen) if before != after]
    return sum((one > 0) != (two > 0) for one, two in itertools.pairwise(steps))


SPREADS = pytest.mark.parametrize("spread", [0.0, 0.3, 0.5])


@SPREADS
def test_a_queue_is_found_and_kept_short(spread: float) -> None:
    """With eight places it settles near eight of 32, without oscillating, at nearly full throughput."""
    provider = Provider(Concurrency(32), places=8, spread=spread)
    settled = provider.answer(4000)
    assert 4 <= min(settled) <= max(settled) <= 16
    assert 7 <= statistics.mean(settled) <= 13
    assert turns(settled) <= 16
    assert provider.found.held_by == SLOWER
    mean_seconds = 0.1 * statistics.mean(provider._chance.lognormvariate(0.0, spread) for _ in range(2000))
    assert 4000 / provider.now >= 0.85 * 8 / mean_seconds


@SPREADS
def test_a_bound_that_refuses_is_found(spread: float) -> None:
    """With 429 above eight it mostly stays at eight, and retries more less and less often."""
    provider = Provider(Concurrency(32), bound=8, spread=spread)
    early = provider.answer(2000)
    refused, provider.refusals = provider.refusals, 0
    late = provider.answer(6000)
    assert max(early + late) <= 9
    assert statistics.mean(late) >= 7
    assert provider.refusals / 6000 <= 0.02
    assert provider.refusals / 6000 < refused / 2000
    assert turns(late) <= 30


@SPREADS
@pytest.mark.parametrize("seconds", [0.001, 0.1, 3.0])
def test_a_provider_that_is_slow_by_itself_is_asked_for_all(seconds: float, spread: float) -> None:
    """A provider that is slow by itself gets the full concurrency."""
    provider = Provider(Concurrency(32), seconds=seconds, spread=spread)
    provider.answer(1000)
    assert min(provider.answer(3000)) >= 24
    assert (provider.found.now, provider.found.held_by) == (32, None)


@SPREADS
def test_a_provider_that_becomes_slower_by_itself_is_asked_for_as_much(spread: float) -> None:
    """If a provider slows down by itself, fewer are tried, do not help, and the trial is undone."""
    provider = Provider(Concurrency(32), spread=spread)
    provider.answer(1000)
    provider.seconds = 0.5
    provider.answer(1500)
    assert turns(provider.seen) <= 3
    assert (provider.found.now, provider.found.held_by) == (32, None)
    provider.seconds = 0.1
    assert min(provider.answer(1500)) == 32


@SPREADS
def test_it_follows_a_provider_that_changes(spread: float) -> None:
    """It follows a provider to fewer places, more places, or no queue."""
    provider = Provider(Concurrency(32), places=8, spread=spread)
    means = []
    for places in (8, 2, 16, None):
        provider.places = places
        means.append(statistics.mean(provider.answer(4000)))
    bounds = [(7, 13), (1, 6), (14, 27), (30, 32)]
    assert [low <= mean <= high for mean, (low, high) in zip(means, bounds, strict=True)] == [True] * 4, means


def test_a_bound_that_is_lifted_is_noticed() -> None:
    """A bound that is lifted is detected, and used."""
    provider = Provider(Concurrency(32), bound=8)
    provider.answer(4000)
    provider.bound = None
    provider.answer(4000)
    assert (provider.found.now, provider.found.held_by) == (32, None)


def test_a_provider_that_takes_one_at_a_time_gets_one_or_two() -> None:
    """A provider that takes one at a time gets one or two, never none."""
    for provider in (Provider(Concurrency(32), bound=1), Provider(Concurrency(32), places=1)):
        settled = provider.answer(2000)
        assert min(provider.seen) >= 1
        assert max(settled) <= 3


def test_each_kind_has_its_own_wait() -> None:
    """Kinds with different waits are no sign of a queue, however mixed; a queue is."""
    kinds = (("row", 1.0), ("media", 2.0), ("row", 1.0), ("page", 10.0), ("media", 2.0))
    free = Provider(Concurrency(32), spread=0.3, kinds=kinds)
    free.answer(2000)
    assert (free.found.now, free.found.held_by) == (32, None)
    queue = Provider(Concurrency(32), places=8, spread=0.3, kinds=kinds)
    assert 5 <= statistics.mean(queue.answer(4000)) <= 16
    assert queue.found.held_by == SLOWER


def test_a_few_workers_are_never_in_their_own_way() -> None:
    """Four threads at eight places are never limited."""
    provider = Provider(Concurrency(32), places=8, workers=4)
    provider.answer(2000)
    assert (provider.found.now, provider.found.held_by) == (32, None)


_MOMENTS = itertools.count(1000, 1000)


def after(found: Concurrency, waits: Sequence[float], kind: str = "row") -> list[int]:
    """Return the concurrency after each of these answers, each requested after the last one arrived."""
    seen = []
    for wait, moment in zip(waits, _MOMENTS, strict=False):
        found.answered(kind, wait, float(moment), 16)
        seen.append(found.now)
    return seen


def test_another_kind_that_takes_longer_is_no_rise() -> None:
    """Pages after rows are compared with their own kind."""
    found = Concurrency(16)
    after(found, [0.1] * 200)
    assert set(after(found, [1.0] * 200, "page")) == {16}


def test_one_slow_answer_changes_nothing() -> None:
    """A single slow answer, even in each window, changes nothing."""
    calm, struck = Concurrency(16), Concurrency(16)
    waits = [0.1] * 200
    slow = [8.0 if number % 16 == 9 else wait for number, wait in enumerate(waits)]
    assert after(struck, slow) == after(calm, waits)
    assert calm.now == 16


def test_one_pause_of_the_provider_changes_nothing() -> None:
    """One pause of the provider changes nothing."""
    for already in range(190, 206):  # answers before it in its window
        found = Concurrency(16)
        after(found, [0.1] * already)
        asked = float(next(_MOMENTS))
        for number in range(16):
            found.answered("row", 5.0 + number / 100, asked + 5.0 + number / 50, 16)
        assert set(after(found, [0.1] * 200)) == {16}


def test_a_rise_that_nobody_notices_changes_nothing() -> None:
    """A rise from 2 to 12 milliseconds changes nothing, as this machine may cause it."""
    found = Concurrency(16)
    after(found, [0.002] * 200)
    assert set(after(found, [0.012] * 400)) == {16}


def test_refusals_halve_and_those_of_one_moment_once() -> None:
    """Refusals halve it down to one, those of one moment once; older requests' answers do not count."""
    found = Concurrency(8)
    after(found, [0.1] * 100)
    assert found.now == 8
    seen = []
    now = float(next(_MOMENTS))
    for seconds in (0.0, 0.1, 0.5, 10.0, 19.0):
        found.refused(9.5, now + seconds)  # the last was requested before the previous one arrived
        seen.append(found.now)
    assert seen == [4, 4, 4, 2, 2]
    for seconds in (30.0, 40.0, 50.0):
        found.refused(0.1, now + seconds)
    assert (found.now, found.held_by) == (1, REFUSED)


def test_after_an_outage_all_comes_back() -> None:
    """After an outage it grows by one per window as soon as answers arrive."""
    found = Concurrency(8)
    after(found, [0.1] * 100)
    for _ in range(6):
        found.refused(0.1, float(next(_MOMENTS)))
    assert found.now == 1
    after(found, [0.1] * 16 * 9)
    assert (found.now, found.held_by) == (8, None)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_small_maximum_is_kept(most: int) -> None:
    """It never exceeds the configured maximum, nor falls below one."""
    provider = Provider(Concurrency(most), bound=2, spread=0.3)
    provider.answer(500)
    assert 1 <= min(provider.seen) <= max(provider.seen) <= most


def test_waits_that_nobody_measured_hold_nothing_down() -> None:
    """Errors count as answers, without a wait."""
    found = Concurrency(8)
    for number in range(100):
        found.answered("row", None, float(number), 8)
    assert found.now == 8


def test_it_keeps_no_more_than_a_window() -> None:
    """Its memory does not grow with the number of answers."""
    provider = Provider(Concurrency(32), places=8, spread=0.3)
    provider.answer(3000)
    assert sum(map(len, provider.found._waits.values())) <= 64
