"""Who may see a page: the bearer of the one-time link, at this address alone; and what a page may load.

Invariant: without the cookie that the link gave, the answer is 403 whatever is asked for; with another Host, 421, so
that a page elsewhere cannot reach the archive by a name that it makes point here.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:",
        "media-src 'self'; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_IMPLIED = 80
_FORBIDDEN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>recvault browse</title>
<h1>This page needs the link of `recvault browse`</h1>
<p>Open the address that it printed. It works once; start it again for another.
<p><a href="">Try again</a>, if you came from a link and have opened it already."""


class Guard:
    """Wraps the pages. `token` opens them once."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self._app = app
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names}
        if port == _IMPLIED:  # browsers leave it out
            self._hosts.update(names)
        self._cookie = f"recvault-{port}"  # cookies are shared by all ports of a host
        self._session = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        self.token: str | None = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the pages answer."""
        if scope["type"] != "http":
            return
        request, nonce = Request(scope), secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce
        answer = self._refusal(request)
        await (answer or self._app)(scope, receive, _sealed(send, nonce))

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host", "").lower() not in self._hosts:
            return Response("Misdirected: this server is recvault browse's, on this machine alone.\n", 421)
        if request.method in ("GET", "HEAD") and self._takes(request.query_params.get("token", "")):
            rest = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
            path = "/" + request.url.path.lstrip("/")  # // would be another host
            answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
            answer.set_cookie(self._cookie, self._session, httponly=True, samesite="strict", path="/")
            return answer
        if not compare_digest(request.cookies.get(self._cookie, "").encode(), self._session.encode()):
            return HTMLResponse(_FORBIDDEN, 403)
        if request.method not in ("GET", "HEAD"):
            return Response("Only reading is possible.\n", 405, {"allow": "GET, HEAD"})
        return None

    def _takes(self, given: str) -> bool:
        """Whether this is the token. It is not afterwards."""
        with self._lock:
            if not given or self.token is None or not compare_digest(given.encode(), self.token.encode()):
                return False
            self.token = None
            return True


def _sealed(send: Send, nonce: str) -> Callable[[Message], Awaitable[None]]:
    """Add the headers that every response has."""

    async def sealed(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = {**HEADERS, "content-security-policy": POLICY.format(nonce=nonce)}
            kept = [(name, value) for name, value in message["headers"] if name.decode().lower() not in added]
            message["headers"] = [*kept, *((name.encode(), value.encode()) for name, value in added.items())]
        await send(message)

    return sealed
