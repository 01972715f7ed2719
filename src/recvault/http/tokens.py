"""An access token that a service issues for a while: minted, shared by all threads of a process, replaced in time.

Invariant: a token exists only in memory and in the `Authorization` header. No job, log, error or printed value has it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import httpx

from recvault.errors import CredentialsRefused, ProtocolError, Unavailable
from recvault.http import bodies, classify
from recvault.http.client import USER_AGENT, Clients
from recvault.http.exchange_errors import Failures
from recvault.http.tries import Timing
from recvault.log.masking import hide
from recvault.providers.base import TokenRequest
from recvault.shutdown import Stop

_SLACK_SECONDS = 60.0  # before its end a token is replaced; of a short one after four fifths of its life
_LEAST_SECONDS = 10.0  # a token that is refused sooner after it was minted is not replaced: the account is refused
_UNSAID_SECONDS = 600.0  # life of a token whose reply does not say
_LOOK_SECONDS = 0.2  # how often a waiting thread checks for a stop
_REFUSED = frozenset({400, 401, 403})  # RFC 6749: invalid_grant and the like are 400, a wrong client is 401
_ERROR = re.compile(r"[a-z_]{1,40}")  # RFC 6749's error codes, of which a message may quote one
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")  # what a header can carry


@dataclass(frozen=True, slots=True)
class Token:
    """A header's value, by the monotonic clock."""

    header: str = field(repr=False)
    minted_at: float
    until: float


@dataclass(slots=True)
class Tokens:
    """The current token of one source. Thread-safe: one thread mints, the others wait for its result."""

    mint: Callable[[], Token] = field(repr=False)
    stop: Stop
    refused_seconds: float = 300.0  # for which a refusal is remembered, so that a wrong secret is not tried again
    least_seconds: float = _LEAST_SECONDS
    clock: Callable[[], float] = time.monotonic
    _current: Token | None = field(default=None, init=False, repr=False)
    _refusal: tuple[float, CredentialsRefused] | None = field(default=None, init=False, repr=False)
    _minting: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def header(self) -> str:
        """Return a header that is valid for some time yet.

        Raises CredentialsRefused if the service issues none for these credentials, Unavailable if it does not answer.
        """
        current = self._current
        if current is not None and self.clock() < current.until:
            return current.header
        return self._replaced(current).header

    def renew(self, used: str) -> bool:
        """Whether a request that was refused with this header should be sent again, with another one.

        Of many threads that were refused with one token, one mints; all send again. A token that was just minted is
        not replaced: then it is the account that is refused.
        """
        current = self._current
        if current is not None and current.header == used:
            if self.clock() - current.minted_at < self.least_seconds:
                return False
            self._replaced(current)
        return True

    def _replaced(self, old: Token | None) -> Token:
        """Mint a token in place of the old one, unless another thread has done so meanwhile."""
        while not self._minting.acquire(timeout=_LOOK_SECONDS):
            self.stop.check()
        try:
            if self._current is not None and self._current is not old:
                return self._current
            self._check_refusal()
            try:
                self._current = self.mint()
            except CredentialsRefused as error:
                self._refusal = (self.clock(), error)
                raise
            return self._current
        finally:
            self._minting.release()

    def _check_refusal(self) -> None:
        if self._refusal is None:
            return
        since, refusal = self._refusal
        if self.clock() - since < self.refused_seconds:
            raise CredentialsRefused(refusal.message, refusal.hint).answered(refusal.status)
        self._refusal = None


def tokens_of(
    grant: TokenRequest, clients: Clients, timing: Timing, stop: Stop, clock: Callable[[], float] = time.monotonic
) -> Tokens:
    """Return the tokens of a source."""
    return Tokens(lambda: _minted(grant, clients, timing, stop, clock()), stop, timing.circuit, clock=clock)


def _minted(grant: TokenRequest, clients: Clients, timing: Timing, stop: Stop, now: float) -> Token:
    """Ask the token endpoint once. Redirects are not followed: they would send the secret elsewhere."""
    url = httpx.URL(grant.url)
    clients.rule.check_url(url)
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json", "Authorization": grant.login}
    sent = httpx.Request("POST", url, headers=headers, data=dict(grant.form))
    with Failures(url.host), closing(clients.get(stop.check_enforced).send(sent, stream=True)) as response:
        if response.status_code != 200:
            raise _refusal(url.host, response)
        body = bodies.whole(response, timing, stop, bodies.MOST_ROW)
    return _read(url.host, body, now)


def _refusal(host: str, response: httpx.Response) -> Exception:
    """Return the error for an unsuccessful answer; of its body only an error code is quoted, as it may echo secrets."""
    status, code = response.status_code, ""
    try:
        said = json.loads(bodies.beginning(response)).get("error")
        code = said if isinstance(said, str) and _ERROR.fullmatch(said) else ""
    except (ValueError, AttributeError, RecursionError):
        pass
    message = f"{host} issued no token: it answered {status}{f' {code}' if code else ''}"
    if status in _REFUSED:
        return CredentialsRefused(message, "check the source's credentials and their permissions").answered(status)
    return Unavailable(message, retry_after=classify.retry_after(response.headers), status=status)


def _read(host: str, body: bytes, now: float) -> Token:
    """Read a token reply (RFC 6749, 5.1)."""
    try:
        document = json.loads(body)
        token, seconds = document["access_token"], float(document.get("expires_in") or _UNSAID_SECONDS)
        kind = str(document.get("token_type") or "bearer").lower()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ProtocolError(f"{host} answered 200 without a token") from None  # its text may have the token
    if not (isinstance(token, str) and _TOKEN.fullmatch(token) and kind == "bearer" and 0 < seconds < float("inf")):
        raise ProtocolError(f"{host} answered 200 with a token that cannot be used")
    hide(token)
    return Token(f"Bearer {token}", now, now + seconds - min(_SLACK_SECONDS, seconds / 5))
