"""Histories as plain values: their parts, how one is drawn from a seed, and how a failing one is shortened.

A history is a scene and its steps. Its repr is code that plays it again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from recvault.simulator.faults import MENU

HOUR = 60  # all times are minutes
DAY = 24 * HOUR
KINDS = {
    "voice": ("completed", "absent", "failed", "external", "encrypted", "no_date", "bad_date"),
    "legacy": ("completed", "no_date", "bad_date"),  # it has no statuses, so it cannot show others
    "video": ("completed", "failed", "external", "encrypted", "no_date", "bad_date"),
    "telnyx": ("completed", "external", "no_date", "bad_date"),
    "signalwire": ("completed", "absent", "no_date", "bad_date"),
}
FAULTS = (
    "http_429",
    "http_500",
    "http_503",
    "reset",
    "truncate",
    "truncate_silent",
    "wrong_length",
    "html_200",
    "error_body_200",
    "expired_url",
    "malformed_page",
    "gzip_json",
    "page_loop",
)
SCENES = (("voice", "legacy"), ("legacy", "voice"), ("voice",), ("legacy",), ("video",), ("telnyx",), ("signalwire",))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Which lists of one account are polled, and how."""

    lists: tuple[str, ...]
    page_size: int = 2
    order: str = "newest"
    start_from: int | None = None  # minutes before the beginning


@dataclass(frozen=True, kw_only=True)
class Row:
    """A recording, from its creation on."""

    age: int = 0
    late: int = 0  # minutes from its creation until it is listed
    unfinished: int = 0  # minutes from its creation until it is final
    lag: int = 0  # minutes from then until its media are served
    kind: str = "completed"
    channels: int = 1


@dataclass(frozen=True, kw_only=True)
class Strike:
    """What happens to a pass before or after one of its effects."""

    at: int
    act: str  # crash, error, grow, delete, swap, wait, poll, beside
    after: bool = False
    which: int = 0


@dataclass(frozen=True)
class Grow:
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Delete:
    which: int


@dataclass(frozen=True)
class Wait:
    minutes: int


@dataclass(frozen=True)
class Skew:
    """Our clock, relative to the provider's."""

    minutes: int


@dataclass(frozen=True)
class Trouble:
    """The provider's next answer of that kind is damaged, and once more when it is retried."""

    fault: str
    kind: str | None = None
    skip: int = 0


@dataclass(frozen=True)
class LoseLedger:
    """The ledger's files are lost."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    strikes: tuple[Strike, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Backfill:
    """Backfill a list's days, counted back from now; None: all."""

    which: int = 0
    since: int | None = None
    until: int | None = None
    strikes: tuple[Strike, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reconcile:
    days: int
    strikes: tuple[Strike, ...] = ()


Step = Grow | Delete | Wait | Skew | Trouble | LoseLedger | Sync | Backfill | Reconcile


@dataclass(frozen=True)
class History:
    scene: Scene
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return (
            f"History(\n    {self.scene!r},\n    (\n"
            + "".join(f"        {step!r},\n" for step in self.steps)
            + "    ),\n)"
        )


# -- drawn from a seed -------------------------------------------------------------------------------------------------


def drawn(lists: tuple[str, ...], seed: int) -> History:
    """Return the history of that seed."""
    draw = random.Random(f"{'+'.join(lists)} {seed}")
    scene = Scene(
        lists=lists,
        page_size=draw.choice((1, 2, 2, 3)),
        order=draw.choice(("newest", "newest", "oldest", "random")),
        start_from=draw.randint(1, 8) * DAY if len(lists) == 1 and draw.random() < 0.15 else None,
    )
    steps = _beginning(draw, lists)
    while len(steps) < 4 or draw.random() < 0.88:
        steps.append(_step(draw, lists))
    seen = [_seen_through(step, lists) for step in steps if not _is_beyond_proof(step, steps)]
    return History(scene, tuple(seen))


def _beginning(draw: random.Random, lists: tuple[str, ...]) -> list[Step]:
    """Return a history's first list; sometimes a long one that drifts, or one whose transfers meet deletions."""
    rows = tuple(_row(draw, lists, 10 * DAY) for _ in range(draw.randint(0, 6)))
    match draw.choices(("any", "drift", "cut", "spoilt"), (45, 25, 15, 15))[0]:
        case "drift":
            rows += tuple(Row(age=draw.randint(2 * DAY, 10 * DAY)) for _ in range(5))
            acts = draw.choice((("delete",), ("delete", "delete"), ("swap",), ("delete", "grow")))
            strikes = tuple(Strike(at=draw.randint(6, 12), act=act, which=draw.randrange(12)) for act in acts)
            return [Grow(rows), Sync(strikes=strikes)]
        case "cut":
            few = (Row(age=draw.randint(0, 10 * DAY), kind=draw.choice(("completed", "encrypted"))),)
            cut = Strike(at=draw.randint(10, 12), act="crash", after=draw.random() < 0.5)
            return [Grow(few if lists[0] == "voice" else (Row(age=HOUR),)), Sync(strikes=(cut,)), Delete(0)]
        case "spoilt":
            rows += tuple(Row(age=draw.randint(0, 10 * DAY)) for _ in range(3))
            kind = draw.choice(("list", "media"))
            fits = [fault for fault in FAULTS if kind in MENU[fault]]
            return [Grow(rows), Trouble(draw.choice(fits), kind, draw.randint(0, 1)), Sync()]
    return [Grow(rows)]


def _is_beyond_proof(step: Step, steps: list[Step]) -> bool:
    """Whether no client could notice it: silently truncated ciphertext looks like ciphertext."""
    rows = [row for each in steps if isinstance(each, Grow) for row in each.rows]
    silent = isinstance(step, Trouble) and step.fault in ("truncate_silent", "wrong_length")
    return silent and any(row.kind == "encrypted" for row in rows)


def _seen_through(step: Step, lists: tuple[str, ...]) -> Step:
    """Leave out what numbered pages with only a total hide: a row removed and one added between two pages."""
    strikes = getattr(step, "strikes", ())
    acts = {strike.act for strike in strikes}
    if not {"telnyx", "legacy"} & set(lists) or not acts & {"delete", "swap"}:
        return step
    return replace(step, strikes=tuple(each for each in strikes if each.act not in ("grow", "swap", "wait")))  # type: ignore[call-arg]


def _step(draw: random.Random, lists: tuple[str, ...]) -> Step:
    match draw.choices(range(9), (30, 7, 5, 14, 7, 15, 12, 3, 2))[0]:
        case 0:
            return Sync(strikes=_strikes(draw))
        case 1:
            since = draw.choice((None, draw.randint(1, 12)))
            return Backfill(
                which=draw.randrange(2), since=since, until=draw.choice((None, 0, 1)), strikes=_strikes(draw)
            )
        case 2:
            return Reconcile(days=draw.randint(1, 12), strikes=_strikes(draw))
        case 3:
            return Grow(tuple(_row(draw, lists, 20 * HOUR) for _ in range(draw.randint(1, 3))))
        case 4:
            return Delete(draw.randrange(12))
        case 5:
            return Wait(draw.choice((1, 3, 10, 45, 3 * HOUR, 11 * HOUR, 30 * HOUR)))
        case 6:
            return Trouble(draw.choice(FAULTS), draw.choice((None, "list", "media", "instance")), draw.randint(0, 2))
        case 7:
            return Skew(draw.randint(-90, 90))
        case _:
            return LoseLedger()


def _row(draw: random.Random, lists: tuple[str, ...], oldest: int) -> Row:
    if draw.random() < 0.4:
        return Row(age=draw.randint(0, oldest))
    kinds = KINDS["voice" if "voice" in lists else lists[0]]
    return Row(
        age=draw.randint(0, oldest),
        late=draw.choice((0, 0, draw.randint(1, 25 * HOUR), draw.randint(1, 25 * HOUR), 40 * HOUR)),
        unfinished=draw.choice((0, 0, draw.randint(1, 20 * HOUR))),
        lag=draw.choice((0, 0, 0, 30)),
        kind=draw.choice((*kinds, "completed")),
        channels=draw.choice((1, 2)),
    )


def _strikes(draw: random.Random) -> tuple[Strike, ...]:
    acts = ("crash", "crash", "crash", "error", "error", "grow", "delete", "delete", "swap", "wait", "poll", "beside")
    count = draw.choices((0, 1, 2, 3), (35, 40, 15, 10))[0]
    return tuple(
        Strike(
            at=draw.choice((draw.randint(1, 12), draw.randint(1, 40))),
            act=draw.choice(acts),
            after=draw.random() < 0.5,
            which=draw.randrange(12),
        )
        for _ in range(count)
    )


# -- cut short ---------------------------------------------------------------------------------------------------------


def shortest(history: History, fails: Callable[[History], bool], most: int = 1500) -> History:
    """Return a failing history without unnecessary steps, the best after a limited number of tries."""
    tries = 0
    while True:
        for candidate in _shorter(history):
            if (tries := tries + 1) > most:
                return history
            if fails(candidate):
                history = candidate
                break
        else:
            return history


def _shorter(history: History) -> Iterator[History]:
    steps = history.steps
    for size in sorted({len(steps) // 2, len(steps) // 4, 2, 1} - {0}, reverse=True):
        for start in range(0, len(steps), size):
            yield replace(history, steps=steps[:start] + steps[start + size :])
    for place, step in enumerate(steps):
        for name in ("strikes", "rows"):
            for parts in _fewer(getattr(step, name, ())):
                yield _with(history, place, **{name: parts})
        for number, row in enumerate(getattr(step, "rows", ())):
            for name, plain in (("late", 0), ("unfinished", 0), ("lag", 0), ("channels", 1), ("kind", "completed")):
                if getattr(row, name) != plain:
                    rows = (*step.rows[:number], replace(row, **{name: plain}), *step.rows[number + 1 :])
                    yield _with(history, place, rows=rows)


def _fewer(parts: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for number in range(len(parts)):
        yield parts[:number] + parts[number + 1 :]


def _with(history: History, place: int, **changes: Any) -> History:
    steps = list(history.steps)
    steps[place] = replace(steps[place], **changes)
    return replace(history, steps=tuple(steps))
