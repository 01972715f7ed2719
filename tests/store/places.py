"""The stores that the contract is run against: moto, the strict server in each strictness, and real servers."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

import strict_s3 as strict
from recvault.stopping import Stop
from recvault.store import Put, S3Store
from recvault.store.s3 import make_client
from recvault.store.sender import Sender
from store import real

_numbers = itertools.count(1)

STRICTNESS = {
    "aws": strict.AWS,
    "ceph": strict.CEPH,
    "ceph-versioned": strict.CEPH_VERSIONED,
    "rclone": strict.RCLONE,
    "careless": strict.CARELESS,
    "backblaze": strict.BACKBLAZE,
    "sumless": strict.SUMLESS,
    "sealed": strict.SEALED,
}
SENDERS = ("fast", "boto3")
PLACES = [
    *((name, "fast") for name in ("moto", *STRICTNESS)),
    *((name, "boto3") for name in ("moto", "aws")),
    *real.places(),
]
PART = 5 * 1024**2  # the smallest part that S3 takes


def make_put(key: str, body: bytes, **changes: Any) -> Put:
    """A put as archiving makes it."""
    sha256 = hashlib.sha256(body).hexdigest()
    values = {
        "key": key,
        "body": io.BytesIO(body),
        "bytes": len(body),
        "sha256": sha256,
        "content_type": "audio/wav",
        "metadata": {"sha256": sha256, "recording-id": "%2E%2E"},
    }
    return Put(**{**values, **changes})


_clients: dict[tuple[str, ...], Any] = {}


def client_of(url: str, **options: Any) -> Any:
    """A client of the project's own making: one for each server, as in a process, for all tests."""
    values = {"region": "us-east-1", "endpoint_url": url, "addressing_style": "path", "pool": 8, **options}
    key = (os.environ.get("AWS_ACCESS_KEY_ID", ""), *map(str, values.values()))
    if key not in _clients:
        _clients[key] = make_client(**values)
    return _clients[key]


def close_clients() -> None:
    for client in _clients.values():
        client.close()
    _clients.clear()


@dataclass(frozen=True)
class Place:
    """One bucket somewhere, and the way to it."""

    name: str
    url: str
    bucket: str
    strict: strict.Bucket | None = None
    sender: str = "fast"

    @property
    def client(self) -> Any:
        return client_of(self.url)

    def store(self, *, asked: bool = True, **options: Any) -> S3Store:
        """A store over this bucket; `asked`: it knows what the server enforces."""
        store = store_with(self.sender, self.client, self.bucket, **options)
        if asked:
            store.facts = store.ask_facts(make_put("schemas/known.json", b"{}"))
        return store

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())


def store_with(sender: str, client: Any, bucket: str, **options: Any) -> S3Store:
    """A store that sends its puts so."""
    send = Sender(client, options.get("stop") or Stop()) if sender == "fast" else None
    return S3Store(client, bucket, send=send, **options)


def real_place(name: str, endpoint: str) -> Place:
    """A new bucket at a real server."""
    place = Place(name, endpoint, f"recvault-test-{os.getpid()}-{next(_numbers)}")
    place.client.create_bucket(Bucket=place.bucket)
    if name.endswith("-versioned"):
        real.keep_versions(place.client, place.bucket)
    return place


def lose_replies(
    patch: pytest.MonkeyPatch, store: S3Store, wanted: Callable[[Any], bool], *, times: int = 1
) -> list[str]:
    """Let the server do what it is asked, and lose its reply on the way back. The list grows with each one lost."""
    session = store._client._endpoint.http_session
    send, lost = session.send, []

    def losing(request: Any) -> Any:
        response = send(request)
        if len(lost) < times and wanted(request):
            lost.append(f"{request.method} {request.url}")
            raise ConnectionClosedError(endpoint_url=request.url)
        return response

    patch.setattr(session, "send", losing)
    return lost
