"""Static keys replaced in a credentials file are read again once the old ones are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recvault.errors import StoreRefused
from recvault.shutdown import Stop
from recvault.store.s3.clients import make_client
from recvault.store.s3.reader import S3Reader
from recvault.store.s3.s3_store import S3Store
from store.places import SENDERS, make_put, store_with, transport_of
from strict_s3 import Bucket, StrictS3

KEY = "recordings/RE1.json"


def write(path: Path, access_key: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = secret-of-{access_key}\n")


@pytest.fixture
def keys(tmp_path: Path, strict_s3: StrictS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A credentials file, whose first keys the store accepts."""
    path = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    write(path, "OLD")
    yield path
    strict_s3.refused_keys.clear()


ASKS: dict[str, Callable[[S3Store], object]] = {
    "put": lambda store: store.put(make_put(KEY, b"{}")),
    "get": lambda store: store.get(KEY),
    "head": lambda store: store.head(KEY),
    "list": lambda store: list(store.list("recordings/")),
    "read": lambda store: S3Reader(store, Stop()).get(KEY),
    "described": lambda store: S3Reader(store, Stop()).describe(KEY),
}


def made(bucket: Bucket, sender: str) -> tuple[Any, S3Store]:
    how = {"addressing_style": "path", "pool": 2, "transport": transport_of(sender)}
    client = make_client(region="us-east-1", endpoint_url=bucket.url, **how)
    return client, store_with(sender, client, bucket.name)


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("ask", ASKS)
def test_new_keys_are_read(keys: Path, strict_s3: StrictS3, strict_bucket: Bucket, ask: str, sender: str) -> None:
    """The refused request is repeated with the new keys, which are used from then on."""
    client, store = made(strict_bucket, sender)
    store.put(make_put(KEY, b"{}"))
    reading = ASKS[ask]
    write(keys, "NEW")
    strict_s3.refused_keys.add("OLD")
    reading(store)
    strict_bucket.clear_counts()
    reading(store)
    assert {each.status for each in strict_bucket.log} <= {200, 412}
    client.close()


@pytest.mark.parametrize("sender", SENDERS)
def test_refused_keys_that_are_not_replaced_are_told(
    keys: Path, strict_s3: StrictS3, strict_bucket: Bucket, sender: str
) -> None:
    """Without new keys it is StoreRefused after a few requests, with where keys are read from."""
    client, store = made(strict_bucket, sender)
    strict_s3.refused_keys.add("OLD")
    for _ in range(3):
        with pytest.raises(StoreRefused) as raised:
            store.get(KEY)
    assert ("credentials file" in raised.value.hint, raised.value.code) == (True, "InvalidAccessKeyId")
    assert strict_bucket.counts["GET"] <= 3
    client.close()
