"""Send one signed HEAD or GET, as boto3 does, for a fraction of what that costs; see sender.py for the same of puts."""

from __future__ import annotations

import functools
import hashlib
import hmac
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError, ConnectionClosedError, ConnectionError, HTTPClientError, ReadTimeoutError
from botocore.parsers import create_parser

from recvault.stopping import Stop
from recvault.store.connections import Connections
from recvault.store.sender import (
    _FIRST_WAIT,
    _FIRST_WAIT_WHERE_THROTTLED,
    _LONGEST_WAIT,
    _TRIES,
    Sender,
    _Address,
    _is_throttled,
    _is_transient,
    _pause,
    _Signature,
    _Signing,
)
from recvault.wire import Answer, WireError

_NOTHING = hashlib.sha256(b"").hexdigest()
_OPERATIONS = {"HEAD": "HeadObject", "GET": "GetObject"}
_MORE: Mapping[str, dict[str, str]] = {"HEAD": {"x-amz-checksum-mode": "ENABLED"}, "GET": {}}

Found = tuple[Mapping[str, str], bytes]


class _Asking(_Signature):
    """A signature whose key is not worked out anew for each question: it holds for a day."""

    _region_name: str  # as botocore keeps them
    _service_name: str

    def signature(self, string_to_sign: str, request: Any) -> str:
        day = str(request.context["timestamp"])[:8]
        key = _signing_key(self.credentials.secret_key, day, self._region_name, self._service_name)
        return hmac.new(key, string_to_sign.encode("utf-8"), hashlib.sha256).hexdigest()


@functools.lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode("utf-8"), hashlib.sha256).digest()
    return key


def make_straight(client: Any, bucket: str, stop: Stop) -> Straight | None:
    """None where requests to this bucket do not go straight, or are signed in a way that is not known here."""
    try:
        address = Sender(client, stop)._ask_address(bucket)
        return None if address is None else Straight(client, address, stop)
    except AttributeError:  # a later botocore keeps elsewhere what is used here
        return None


class Straight:
    """HEAD and GET of one bucket's objects. Thread-safe. Raises what botocore raises."""

    def __init__(self, client: Any, address: _Address, stop: Stop) -> None:
        self._client, self._address, self._stop = client, address, stop
        self._credentials = client._request_signer.get_auth_instance
        self._connections = Connections.of(client)
        base = urlsplit(address.url)
        origin = f"{base.scheme}://{base.netloc}"
        self._base = len(origin)
        self._place = self._connections._place(origin, address.url)
        if self._place is None:
            raise AttributeError("a proxy or a certificate of its own: botocore knows the way")

    def ask(self, method: str, key: str) -> Found:
        """The headers by lower name, and the body, whole."""

        def once() -> Found:
            with self._answer(method, key) as answer:
                content = b"".join(answer.chunks())
            return self._checked(method, answer, content)

        return self._persist(once)

    def stream(self, key: str) -> Iterator[bytes]:
        """A body as it comes."""
        with self._answer("GET", key) as answer:
            if answer.status >= 300:
                self._checked("GET", answer, b"".join(answer.chunks()))
            yield from answer.chunks()

    def _persist(self, once: Callable[[], Found]) -> Found:
        """Ask until there is an answer, as often as botocore does and with its waits."""
        for number in range(_TRIES):
            self._stop.pulse.beat()
            try:
                return once()
            except (ClientError, ConnectionError, HTTPClientError) as error:
                if number == _TRIES - 1 or not _is_transient(error):
                    raise
                first = _FIRST_WAIT_WHERE_THROTTLED if _is_throttled(error) else _FIRST_WAIT
            _pause(self._stop, random.random() * min(first * 2**number, _LONGEST_WAIT))  # noqa: S311 - only a wait
            self._stop.check()
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _answer(self, method: str, key: str) -> Iterator[Answer]:
        """An answer whose body is to be read; then its connection is kept."""
        place, url = self._place, self._address.url + quote(key, safe="/~")
        assert place is not None  # noqa: S101 - or this would not have been made
        target = url.encode("ascii")[self._base :]
        wire = self._connections._idle_wire(place) or self._connections._connected(place, url)
        try:
            wire.send(method.encode(), target, self._signed(method, url))
            answer = wire.answer(method.encode())
            yield answer
        except TimeoutError as error:
            wire.close()
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (WireError, OSError) as error:
            wire.close()
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        except BaseException:
            wire.close()
            raise
        self._connections._keep(place, wire, answer)

    def _signed(self, method: str, url: str) -> list[tuple[bytes, bytes]]:
        address = self._address
        named = {"Host": address.host, "User-Agent": self._client.meta.config.user_agent, **_MORE[method]}
        signing: Any = _Signing(url=url, headers=named, context={"sha256": _NOTHING}, method=method)
        credentials = self._credentials(address.service, address.region).credentials
        _Asking(credentials, address.service, address.region).add_auth(signing)
        signing.headers["Accept-Encoding"] = "identity"
        return [(name.encode("ascii"), str(value).encode("ascii")) for name, value in signing.headers.items()]

    def _checked(self, method: str, answer: Answer, content: bytes) -> Found:
        """What was answered. ClientError for a refusal."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status < 300:
            return headers, content
        operation = self._client.meta.service_model.operation_model(_OPERATIONS[method])
        described = {"status_code": answer.status, "headers": headers, "body": content, "context": {}}
        parsed = create_parser("rest-xml").parse(described, operation.output_shape)
        raise ClientError(parsed, operation.name)
