"""The fault menu: which request gets which fault, by share or by plan; the same for the same seed.

    http_429 http_500 http_503   this status, and the request is not processed
    http_403                     likewise, for one recording's row and media
    reset                        RST, before any byte or within the body; the request was processed
    truncate                     Content-Length is right, the body ends early
    truncate_silent              no Content-Length, the body ends early and cleanly
    wrong_length                 Content-Length is more or less than the body
    stall                        silence for `Switches.stall_seconds`, then the connection closes
    slow                         everything arrives, in drips
    html_200                     a gateway's HTML page with 200
    error_body_200               an error document with 200 in place of media
    expired_url                  a signed URL is refused before its time
    malformed_page               JSON or XML that cannot be parsed
    gzip_json                    Content-Encoding: gzip, if the client accepts it
    page_loop                    the next link leads back to its own page

A share is decided by the seed, the request and how often it came before, so the order of threads does not matter.
Silent truncation by share spares bodies for which no client could notice it (encrypted voice).
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field

from recvault.simulator.exchange import Dialect, Kind, Request, SimulatedReply

_BODY: frozenset[Kind] = frozenset({"list", "instance", "media"})
_ROWS: frozenset[Kind] = frozenset({"list", "instance"})
_EVERY: frozenset[Kind] = frozenset({"list", "instance", "media", "delete", "other"})

MENU: dict[str, frozenset[Kind]] = {
    "http_429": _EVERY,
    "http_500": _EVERY,
    "http_503": _EVERY,
    "reset": _EVERY,
    "stall": _EVERY,
    "slow": _BODY,
    "truncate": _BODY,
    "truncate_silent": _BODY,
    "wrong_length": _BODY,
    "html_200": _BODY,
    "error_body_200": frozenset({"media"}),
    "expired_url": frozenset({"media"}),
    "malformed_page": _ROWS,
    "gzip_json": _ROWS,
    "page_loop": frozenset({"list"}),
    "http_403": frozenset({"instance", "media"}),
}

UNPROCESSED = frozenset({"http_403", "http_429", "http_500", "http_503", "expired_url"})
_SUBSTITUTES = frozenset({"html_200", "error_body_200"})
_SILENT = frozenset({"truncate_silent", "wrong_length"})
# A loop ends a whole scan, which no retry of the request repairs; and a 403 is not retried at once.
RETRIED = tuple(name for name in MENU if name not in {"page_loop", "http_403"})


@dataclass(slots=True, eq=False)
class Plan:
    """A fault that must happen `times` times, to the first eligible requests whose target contains `match`."""

    name: str
    match: str = ""
    times: int = 1
    method: str = ""
    kind: Kind | None = None  # only lists, instances, media or deletions
    skip: int = 0  # eligible requests to let pass first
    fired: int = 0

    @property
    def spent(self) -> bool:
        return self.fired >= self.times


@dataclass(frozen=True, slots=True)
class Shot:
    """A fault chosen for one request. `draw`, from 0 to 1, decides its details."""

    name: str
    draw: float
    plan: Plan | None = None


@dataclass(slots=True)
class Faults:
    """The active faults. Thread-safe, and may be changed while the simulator runs."""

    seed: int
    _shares: dict[str, float] = field(default_factory=dict)
    _all: float = 0.0
    _plans: list[Plan] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _fired: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def share(self, name: str, share: float) -> None:
        """Let this fault happen to this share of the requests that can have it."""
        _check(name)
        self._shares[name] = share

    def all_on(self, share: float) -> None:
        """Let this share of all requests get one of the faults that a retry repairs, with equal chances."""
        self._all = share

    def off(self) -> None:
        """Stop all faults by share; plans stay."""
        self._shares.clear()
        self._all = 0.0

    def plan(
        self, name: str, match: str = "", times: int = 1, *, method: str = "", kind: Kind | None = None, skip: int = 0
    ) -> Plan:
        """Plan a fault that must happen; `unfired` shows whether it did."""
        _check(name)
        plan = Plan(name, match, times, method, kind, skip)
        with self._lock:
            self._plans.append(plan)
        return plan

    def unfired(self) -> list[Plan]:
        """Return plans that have not fired as often as planned: a test that leaves any proves less than it claims."""
        with self._lock:
            return [plan for plan in self._plans if not plan.spent]

    def clear_plans(self) -> None:
        with self._lock:
            self._plans.clear()

    @property
    def fired(self) -> Counter[str]:
        """How often each fault happened."""
        with self._lock:
            return Counter(self._fired)

    def choose(self, request: Request, kind: Kind, dialect: Dialect) -> Shot | None:
        """Return the fault for this request, if any. The caller must then check `suits`, and call `record`."""
        if not (self._plans or self._shares or self._all):
            return None
        with self._lock:
            key = f"{request.method} {request.path if dialect == 's3' else request.target}"
            self._seen[key] += 1
            draw = _draws(self.seed, key, self._seen[key])
            possible = [name for name, kinds in MENU.items() if kind in kinds and _reaches(name, request, dialect)]
            return self._planned(request, kind, possible, draw[1]) or self._shared(possible, *draw)

    def _planned(self, request: Request, kind: Kind, possible: list[str], draw: float) -> Shot | None:
        for plan in self._plans:
            if plan.spent or plan.name not in possible or plan.match not in request.target:
                continue
            if plan.method not in ("", request.method) or plan.kind not in (None, kind):
                continue
            if plan.skip:
                plan.skip -= 1
                continue
            plan.fired += 1
            return Shot(plan.name, draw, plan)
        return None

    def _shared(self, possible: list[str], where: float, draw: float) -> Shot | None:
        for name in possible:
            where -= self._shares.get(name, 0.0)
            if where < 0:
                return Shot(name, draw)
        if where < self._all:
            retried = [name for name in possible if name in RETRIED]
            return Shot(retried[int(where / self._all * len(retried))], draw)
        return None

    def record(self, shot: Shot, *, happened: bool) -> None:
        """Count a fault that happened; restore the plan of one that could not."""
        with self._lock:
            if happened:
                self._fired[shot.name] += 1
            elif shot.plan is not None:
                shot.plan.fired -= 1


def suits(shot: Shot, reply: SimulatedReply, request: Request) -> bool:
    """Whether this fault can happen to this answer."""
    if shot.name in UNPROCESSED or shot.name in {"reset", "stall"}:
        return True
    if shot.name in _SUBSTITUTES:
        return reply.status in {200, 206, 302, 307}
    if reply.status not in {200, 206} or reply.length < 2:
        return False
    if shot.name == "page_loop":
        return reply.next_link is not None
    return reply.provable or shot.plan is not None or shot.name not in _SILENT


def _reaches(name: str, request: Request, dialect: Dialect) -> bool:
    if name == "expired_url":
        return dialect == "s3"
    if name == "http_429":
        return dialect != "s3"
    if name == "gzip_json":
        return "gzip" in request.headers.get("accept-encoding", "")
    return True


def _draws(seed: int, key: str, time: int) -> tuple[float, float]:
    digest = hashlib.blake2b(f"{seed}/{time}/{key}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56), int.from_bytes(digest[7:14], "big") / (1 << 56)


def _check(name: str) -> None:
    if name not in MENU:
        raise ValueError(f"no such fault: {name}; there are {', '.join(MENU)}")
