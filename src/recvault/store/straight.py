"""Send one signed HEAD or GET, as boto3 does, for a fraction of what that costs; see sender.py for the same of puts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from recvault.stopping import Stop
from recvault.store.bounds import MOST_ERROR, limited, small
from recvault.store.connections import Connections
from recvault.store.signing import Address, Signer
from recvault.store.tries import persist
from recvault.wire import Answer

_NOTHING = hashlib.sha256(b"").hexdigest()
_OPERATIONS = {"HEAD": "HeadObject", "GET": "GetObject"}

Found = tuple[Mapping[str, str], bytes]


def make_straight(client: Any, bucket: str, stop: Stop) -> Straight | None:
    """None where requests to this bucket do not go straight, or are signed in a way that is not known here."""
    try:
        signer = Signer(client)
        address = signer.address(bucket)
        return None if address is None else Straight(client, signer, address, stop)
    except AttributeError:  # a later botocore keeps elsewhere what is used here
        return None


class Straight:
    """HEAD and GET of one bucket's objects. Thread-safe. Raises what botocore raises."""

    def __init__(self, client: Any, signer: Signer, address: Address, stop: Stop) -> None:
        self._client, self._signer, self._address, self._stop = client, signer, address, stop
        self._connections = Connections.of(client)
        self._place = self._connections.place(address.base, address.base + address.root)
        if self._place is None:
            raise AttributeError("a proxy or a certificate of its own: botocore knows the way")

    def ask(self, method: str, key: str, most: int, more: Mapping[str, str]) -> Found:
        """The headers by lower name, and the body, whole; `more` headers are sent. TooLarge where it has more bytes."""

        def once() -> Found:
            with self._answer(method, key, more) as answer:
                if answer.status >= 300:
                    content = limited(answer.chunks(), MOST_ERROR)
                else:
                    content = small(answer.chunks(), answer.left, most, key)
            return self._checked(method, answer, content)

        return persist(once, self._stop, self._stop.check)

    def stream(self, key: str, more: Mapping[str, str]) -> Iterator[bytes]:
        """A body as it comes."""
        with self._answer("GET", key, more) as answer:
            if answer.status >= 300:
                self._checked("GET", answer, limited(answer.chunks(), MOST_ERROR))
            yield from answer.chunks()

    @contextmanager
    def _answer(self, method: str, key: str, more: Mapping[str, str]) -> Iterator[Answer]:
        """An answer whose body is to be read; then its connection is kept."""
        address, place, path = self._address, self._place, self._address.path(key)
        assert place is not None  # noqa: S101 - or this would not have been made
        signed = self._signer.signed(address, method, path, more, _NOTHING)
        with self._connections.wire(place, address.base + path) as wire:
            wire.send(method, path, signed.items())
            answer = wire.answer(method)
            yield answer
        self._connections.keep(place, wire, answer)

    def _checked(self, method: str, answer: Answer, content: bytes) -> Found:
        """What was answered. ClientError for a refusal."""
        headers = {name.lower(): value for name, value in answer.headers}
        if answer.status < 300:
            return headers, content
        operation = self._client.meta.service_model.operation_model(_OPERATIONS[method])
        described = {"status_code": answer.status, "headers": headers, "body": content, "context": {}}
        parsed = create_parser("rest-xml").parse(described, operation.output_shape)
        raise ClientError(parsed, operation.name)
