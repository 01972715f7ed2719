"""Receive providers' webhooks as hints: verify them, answer at once, and follow them one after the other.

Invariants: a webhook that cannot be verified is only counted; one without a signature takes no turn of those that have
one; a webhook is answered before any request to a provider; each source has one request at a time for its hints, so
that a flood of them delays no poll.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recvault.app import hinting
from recvault.app.runtime import Runtime
from recvault.daemon.endpoint import TEXT, EndpointAnswer, Posted
from recvault.discovery.hinted import Followed, follow
from recvault.dispatch.sync_pass import Work
from recvault.errors import ConfigError, Interrupted, LedgerDamaged, RecvaultError, Unavailable
from recvault.log.lines import get_logger
from recvault.monitoring.metrics import Metrics
from recvault.providers.hints import Hint, HintingProvider, HintRefused, HintRequest, Verified
from recvault.shutdown import Stop

log = get_logger("recvault.daemon.hints")

ACCEPTED, IGNORED, REPLAYED, REFUSED, DROPPED, UNKNOWN = (
    *("accepted", "ignored", "replayed", "refused", "dropped", "unknown_source"),
)
RESULTS = (ACCEPTED, IGNORED, REPLAYED, REFUSED, DROPPED)
MOST_WAITING = 1000  # waiting hints per source; beyond them polls find the recordings
MOST_SEEN = 10_000  # remembered proofs
_SEEN_SECONDS = 900.0  # longer than a signed time is accepted
_PER_SECOND, _BURST = 50.0, 500.0  # webhooks verified, for all sources together; as many again that cannot be
_WAITS = (1.0, 5.0, 30.0)  # seconds before a missing recording is requested again
_TOLD_AGAIN = 60.0  # seconds between two warnings about one source's invalid webhooks
_NOTE_EVERY = timedelta(minutes=1)  # between two notes in the ledger

NO_CONTENT = EndpointAnswer(204, TEXT, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class HintReader:
    """What verifies one source's webhooks."""

    source: str
    provider: HintingProvider
    values: Mapping[str, str] = field(repr=False)

    def may_be_signed(self, posted: Posted) -> bool:
        """Whether it has a header that may hold the service's signature."""
        return any(posted.headers.get(name) for name in self.provider.hint_headers)


class _Bucket:
    """A rate: a burst, and so many per second."""

    def __init__(self, moment: float) -> None:
        self._tokens, self._filled_at = _BURST, moment

    def take(self, moment: float) -> bool:
        """Whether one more is allowed now."""
        self._tokens = min(_BURST, self._tokens + (moment - self._filled_at) * _PER_SECOND)
        self._filled_at = moment
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True)
class _Waiting:
    """A hint and when it may be followed."""

    hint: Hint
    not_before: float
    tries: int = 0


class HintDesk:
    """The hints of one configuration. `receive` is called from any thread."""

    def __init__(
        self,
        readers: Mapping[str, HintReader],
        follow: Callable[[str, Hint], Followed],
        *,
        public_url: str,
        clock: Callable[[], datetime],
        metrics: Metrics,
        stop: Stop,
        note: Callable[[str, datetime], None],
        on_damage: Callable[[LedgerDamaged], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._readers, self._follow, self._note, self._on_damage = readers, follow, note, on_damage
        self._public_url, self._clock, self._metrics, self._stop = public_url, clock, metrics, stop
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._waiting: dict[str, OrderedDict[Hint, _Waiting]] = {name: OrderedDict() for name in readers}
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._signed, self._unsigned = _Bucket(monotonic()), _Bucket(monotonic())
        self._warned: dict[str, float] = {}
        self._noted: dict[str, datetime] = {}
        for name in readers:
            metrics.expect_hints(name, RESULTS)
        self._threads = [
            threading.Thread(target=self._work, args=[name], name=f"hints:{name}", daemon=True) for name in readers
        ]

    def start(self) -> None:
        """Start following hints."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Let the threads check for a stop."""
        with self._lock:
            self._more.notify_all()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, posted: Posted) -> EndpointAnswer:
        """Verify a webhook, queue what it names, and answer."""
        name = posted.path.rstrip("/").rpartition("/")[2]
        reader = self._readers.get(name)
        if not self._may_look(is_signed=reader is not None and reader.may_be_signed(posted)):
            self._metrics.hinted("", DROPPED)
            return EndpointAnswer(429, TEXT, b"too many requests\n")
        if reader is None:
            self._metrics.hinted("", UNKNOWN)
            return EndpointAnswer(404, TEXT, b"no source of this name takes hints\n")
        url = f"{self._public_url}/{name}" + (f"?{posted.query}" if posted.query else "")
        request = HintRequest(url=url, headers=posted.headers, body=posted.body, now=self._clock())
        try:
            verified = reader.provider.hint(request, reader.values)
        except HintRefused as error:
            return self._refused(name, str(error))
        return self._taken(name, verified)

    def _taken(self, name: str, verified: Verified) -> EndpointAnswer:
        proof = hashlib.sha256(verified.proof).digest()  # of one size, whatever the body's
        with self._lock:
            result = self._result(name, verified.hint, proof)
            if result == ACCEPTED:
                self._more.notify_all()
        self._metrics.hinted(name, result)
        if result == DROPPED:
            return EndpointAnswer(503, TEXT, b"too many hints wait; a poll finds what they name\n")
        return NO_CONTENT

    def _result(self, name: str, hint: Hint | None, proof: bytes) -> str:
        if self._was_seen(proof):
            return REPLAYED
        waiting = self._waiting[name]
        if hint is not None and hint not in waiting and len(waiting) >= MOST_WAITING:
            return DROPPED
        self._seen[proof] = self._monotonic()
        if hint is None:
            return IGNORED
        waiting.setdefault(hint, _Waiting(hint, 0.0))
        return ACCEPTED

    def _refused(self, name: str, reason: str) -> EndpointAnswer:
        self._metrics.hinted(name, REFUSED)
        with self._lock:
            moment = self._monotonic()
            told = moment - self._warned.get(name, -_TOLD_AGAIN) >= _TOLD_AGAIN
            if told:
                self._warned[name] = moment
        if told:
            log.warning("hint.refused", source=name, reason=reason)
        return EndpointAnswer(403, TEXT, b"not verified\n")

    def _was_seen(self, proof: bytes) -> bool:
        """Whether it was received before; forgets old proofs."""
        moment = self._monotonic()
        while self._seen and (len(self._seen) >= MOST_SEEN or moment - next(iter(self._seen.values())) > _SEEN_SECONDS):
            self._seen.popitem(last=False)
        return proof in self._seen

    def _may_look(self, *, is_signed: bool) -> bool:
        with self._lock:
            return (self._signed if is_signed else self._unsigned).take(self._monotonic())

    # -- following -----------------------------------------------------------------------------------------------------

    def _work(self, name: str) -> None:
        """Follow one source's hints until a stop."""
        while not self._stop.asked.is_set():
            each = self._next(name)
            if each is None:
                continue
            try:
                with self._stop.pulse.working():
                    self._one(name, each)
            except LedgerDamaged as error:
                self._on_damage(error)
                return
            except Interrupted:
                return
            except Exception as error:  # the next hint comes whatever this one met
                if self._stop.asked.is_set():
                    return  # because what it uses is being closed
                log.error("job.failed", job="hints", exc_info=error)
                self._metrics.job_failed("hints")

    def _next(self, name: str) -> _Waiting | None:
        """Wait for a hint that may be followed now; return it, or None after the wait."""
        with self._lock:
            waiting, moment = self._waiting[name], self._monotonic()
            ready = next((each for each in waiting.values() if each.not_before <= moment), None)
            if ready is not None:
                return waiting.pop(ready.hint)
            soonest = min((each.not_before for each in waiting.values()), default=moment + _TOLD_AGAIN)
            self._more.wait(max(0.0, soonest - moment))
            return None

    def _one(self, name: str, each: _Waiting) -> None:
        self._arrived(name)
        try:
            followed: str = self._follow(name, each.hint)
        except RecvaultError as error:
            if isinstance(error, LedgerDamaged | Interrupted):
                raise
            if isinstance(error, Unavailable) and self._again(name, each):
                return
            log.warning("hint.failed", source=name, **_named(each.hint), error=str(error))
            followed = "failed"
        if followed == Followed.NOT_FOUND and self._again(name, each):
            return
        self._metrics.hint_followed(name, followed)
        log.info("hint.followed", source=name, **_named(each.hint), result=str(followed))

    def _again(self, name: str, each: _Waiting) -> bool:
        """Queue it for later, a few times: a service may send it before its API shows the recording."""
        if each.tries >= len(_WAITS):
            return False
        with self._lock:
            later = _Waiting(each.hint, self._monotonic() + _WAITS[each.tries], each.tries + 1)
            self._waiting[name].setdefault(each.hint, later)
        return True

    def _arrived(self, name: str) -> None:
        """Note in the ledger that hints arrive, once a minute at most."""
        now = self._clock()
        if not timedelta() <= now - self._noted.get(name, now - _NOTE_EVERY) < _NOTE_EVERY:
            self._noted[name] = now
            self._note(name, now)


def _named(hint: Hint) -> dict[str, str]:
    return {"recording_id": hint.recording_id} if hint.recording_id else {"call_id": hint.call_id}


def opened_desk(runtime: Runtime, work: Work, metrics: Metrics, on_damage: Callable[[LedgerDamaged], None]) -> HintDesk:
    """Make the desk for sources whose webhooks can be verified; log which cannot, and why."""
    ledger, sources, readers = runtime.ledger, {source.name: source for source in work.sources}, {}
    for name in sources:
        settings = runtime.source(name)
        if why := hinting.lacking(runtime, settings):
            log.info("hints.not_taken", source=name, reason=why)
            continue
        try:
            provider, values = hinting.verifier(runtime, settings)
        except ConfigError as error:
            log.warning("hints.unverifiable", source=name, error=str(error))
            continue
        readers[name] = HintReader(source=name, provider=provider, values=values)
    return HintDesk(
        readers,
        lambda name, hint: follow(work.listing, ledger, sources[name], hint),
        public_url=runtime.settings.daemon.hints_url,
        clock=runtime.clock,
        metrics=metrics,
        stop=runtime.stop,
        note=lambda name, now: hinting.note_arrival(ledger, name, now),
        on_damage=on_damage,
    )
