"""A server on loopback that answers by a function or forwards, records requests, and can change answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any, Self
from urllib.parse import urlsplit

from recvault.simulator.exchange import Request
from recvault.simulator.wire import Server, Wire

_TEXT = ("json", "xml", "html", "text/")
_HOP_BY_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding"}
_UPSTREAM_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, correct unless configured otherwise."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    claimed: int | None = None  # the value of Content-Length; None: the true one
    measured: bool = True  # False: no Content-Length, the end of the connection ends the body

    @classmethod
    def json(cls, document: Any, status: int = 200) -> Answer:
        """Return a document as JSON, with the Date header that services send."""
        headers = (("Content-Type", "application/json"), ("Date", formatdate(usegmt=True)))
        return cls(status=status, headers=headers, body=json.dumps(document).encode())

    def bytes_on_wire(self) -> bytes:
        """Return head and body; after a wrong or missing Content-Length the connection closes."""
        lines = [f"HTTP/1.1 {self.status} Answer", *(f"{name}: {value}" for name, value in self.headers)]
        if self.measured and self.status != 204:
            lines.append(f"Content-Length: {len(self.body) if self.claimed is None else self.claimed}")
        lines.append(f"Connection: {'keep-alive' if self.keeps else 'close'}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    @property
    def keeps(self) -> bool:
        """Whether the connection can be used again."""
        return self.measured and self.claimed in (None, len(self.body))


Answering = Callable[[Request], Answer]
Spoiling = Callable[[Request, Answer], Answer]


def honest(request: Request, answer: Answer) -> Answer:
    """Change nothing."""
    return answer


def always(answer: Answer) -> Spoiling:
    """Give this answer to every request."""
    return lambda request, honest: answer


class Front:
    """One origin. `seen` has every request; `spoil` may change any answer while the server runs."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.spoil: Spoiling = honest
        self.seen: list[Request] = []
        self._server = Server(0, self._answer)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def host(self) -> str:
        """Host and port, as `media_hosts` lists them."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def _answer(self, wire: Wire, request: Request) -> bool:
        self.seen.append(request)
        answer = self.spoil(request, self.answering(request))
        wire.send(answer.bytes_on_wire())
        return answer.keeps


def forward(upstream: str, names: Mapping[str, str]) -> Answering:
    """Forward to the server at `upstream`; origins in headers and text of its answers are replaced by `names`."""
    host = urlsplit(upstream).netloc

    def answering(request: Request) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        connection = http.client.HTTPConnection(host, timeout=_UPSTREAM_SECONDS)
        try:
            connection.request(
                request.method,
                request.target,
                body=request.body or None,
                headers=headers | {"host": host, "accept-encoding": "identity"},
            )
            response = connection.getresponse()
            kept = tuple((k, v) for k, v in response.getheaders() if k.lower() not in _HOP_BY_HOP)
            return _renamed(Answer(status=response.status, headers=kept, body=response.read()), names)
        finally:
            connection.close()

    return answering


def _renamed(answer: Answer, names: Mapping[str, str]) -> Answer:
    headers, body = answer.headers, answer.body
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    for theirs, ours in names.items():
        headers = tuple((name, value.replace(theirs, ours)) for name, value in headers)
        if any(word in kind for word in _TEXT):
            body = body.replace(theirs.encode(), ours.encode())
    return replace(answer, headers=headers, body=body)
