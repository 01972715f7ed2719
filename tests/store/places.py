"""The stores of the contract: moto, the strict server with each strictness, and real servers."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import strict_s3 as strict
from recvault.shutdown import Stop
from recvault.store import Put
from recvault.store.local.local_store import LocalStore
from recvault.store.s3.clients import Client, make_client
from recvault.store.s3.s3_store import S3Store
from recvault.transport import Cut, ExchangeFailed, Head, Receiver, Request
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
SENDERS = ("fast", "boto3", "plain")  # libcurl alone; boto3 over libcurl; boto3 over httpx
PLACES = [
    *((name, "fast") for name in ("moto", *STRICTNESS)),
    *((name, "boto3") for name in ("moto", "aws")),
    *((name, "plain") for name in ("moto", "aws", "ceph-versioned", "backblaze")),
    *real.places(),
]
PART = 5 * 1024**2  # S3's smallest part
LARGE = random.Random(5).randbytes(2 * PART + 4321)  # three parts


def make_put(key: str, body: bytes, **changes: Any) -> Put:
    """Return a put as archiving makes it."""
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


_clients: dict[tuple[str, ...], Client] = {}


def transport_of(sender: str) -> Any:
    """Return the transport of one of SENDERS."""
    return "plain" if sender == "plain" else "curl"


def client_of(url: str, **options: Any) -> Client:
    """Return the project's client for a server, shared by all tests as in a process."""
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
    """One bucket, and how to reach it."""

    name: str
    url: str
    bucket: str
    strict: strict.Bucket | None = None
    sender: str = "fast"

    @property
    def client(self) -> Client:
        return client_of(self.url, transport=transport_of(self.sender))

    def store(self, *, asked: bool = True, **options: Any) -> S3Store:
        """Return a store over this bucket; `asked`: it knows what the server enforces."""
        store = store_with(self.sender, self.client, self.bucket, **options)
        if asked:
            store.facts = store.ask_facts(make_put("schemas/known.json", b"{}"))
        return store

    def body(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def lay(self, key: str, body: bytes) -> None:
        """Put an object that recvault did not put."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def content_type(self, key: str) -> str:
        return str(self.client.head_object(Bucket=self.bucket, Key=key)["ContentType"])


@dataclass(frozen=True)
class Directory:
    """A local directory with a begun archive, with Place's interface."""

    root: Path
    name: str = "directory"
    strict: None = None

    def store(self, *, asked: bool = True, stop: Stop | None = None) -> LocalStore:
        """Return a store over this directory, as in another process."""
        store = LocalStore(self.root, stop=stop)
        store.begin(known=False, make=True)
        if asked:
            store.facts = store.ask_facts(make_put("schemas/known.json", b"{}"))
        return store

    def body(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def lay(self, key: str, body: bytes) -> None:
        """Write a file that recvault did not write."""
        (self.root / key).parent.mkdir(parents=True, exist_ok=True)
        (self.root / key).write_bytes(body)

    def content_type(self, key: str) -> str:
        try:
            return os.getxattr(self.root / key, "user.mime_type").decode()
        except OSError:
            pytest.skip("this file system keeps no attributes")

    @property
    def incoming(self) -> list[Path]:
        """Return the unfinished files."""
        return sorted((self.root / ".recvault" / "incoming").iterdir())


def store_with(sender: str, client: Any, bucket: str, **options: Any) -> S3Store:
    """Return a store with this sender, whose client is one of transport_of."""
    assert not isinstance(client, Client) or client.signs is (sender != "plain")
    return S3Store(client, bucket, straight=sender == "fast", **options)


def real_place(name: str, endpoint: str) -> Place:
    """Make a new bucket at a real server."""
    place = Place(name, endpoint, f"recvault-test-{os.getpid()}-{next(_numbers)}")
    place.client.create_bucket(Bucket=place.bucket)
    if name.endswith("-versioned"):
        real.keep_versions(place.client, place.bucket)
    return place


def lose_replies(
    patch: pytest.MonkeyPatch, store: S3Store, wanted: Callable[[Any], bool], *, times: int = 1
) -> list[str]:
    """Let the server do what is requested and lose its replies, which are appended to the list."""
    routes, lost = store.client.sending.routes, []
    exchange = routes.exchange

    def losing(request: Request, receiver: Receiver, cut: Cut) -> Head:
        head = exchange(request, receiver, cut)
        if len(lost) < times and wanted(request):
            lost.append(f"{request.method} {request.url}")
            raise ExchangeFailed("broken")
        return head

    patch.setattr(routes, "exchange", losing)
    return lost
