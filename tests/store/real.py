"""Places at real servers: all senders for servers started by hand; for Swift three, one of them per test.

Any other server, path style, with permission to create buckets (they stay, named recvault-test-…):

    RECVAULT_TEST_S3_ENDPOINT=https://s3.example AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… pytest tests/store
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

import pairs
from real_s3 import servers, swift
from real_s3.fixtures import NAMES, lacking
from real_s3.servers import RealServer

ENDPOINT = os.environ.get("RECVAULT_TEST_S3_ENDPOINT")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE")
_NAMED = {name: os.environ[name] for name in _KEYS if name in os.environ}  # read before tests hide them
NAMED = "real"
_SHORT = ((NAMED, "fast"), (f"{NAMED}-https", "fast"), (f"{NAMED}-https", "plain"))
_WHOLE = (
    *_SHORT,
    (f"{NAMED}-versioned", "fast"),
    *((name, sender) for sender in ("boto3", "plain") for name in (NAMED, f"{NAMED}-https")),
)


def places() -> list[tuple[str, str]]:
    """Return the places at real servers, with their senders."""
    found = []
    for name in NAMES:
        if lacking(name) is None:
            kinds = _WHOLE if servers.running(name) else _SHORT
            found += [(kind.replace(NAMED, f"{NAMED}-{name}"), sender) for kind, sender in kinds]
    if ENDPOINT:
        found += [(name, sender) for name in (NAMED, f"{NAMED}-versioned") for sender in ("fast", "boto3", "plain")]
    return found


IN_TURN = "in turn"


def thinned(places: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Reduce Swift, if started by the tests, and moto to one place each: each test uses one of its senders."""
    if pairs.IS_WHOLE:
        return places
    slow = ["moto", *[f"{NAMED}-{swift.NAME}"] * (servers.running(swift.NAME) is None)]
    kept = [next(((name, IN_TURN) for name in slow if place[0].startswith(name)), place) for place in places]
    return list(dict.fromkeys(kept))


def taken(place: tuple[str, str], test: str, places: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the place and sender for a test of that name."""
    name, sender = place
    if sender != IN_TURN:
        return place
    ways = [each for each in places if each[0].startswith(name)]
    return ways[zlib.crc32(test.encode()) % len(ways)]


def way(place: str, real_server: Callable[[str], RealServer], patch: pytest.MonkeyPatch) -> str:
    """Return a place's endpoint, and the environment for its client."""
    name = place.removeprefix(f"{NAMED}-").partition("-")[0]
    if name not in NAMES:
        for key, value in _NAMED.items():
            patch.setenv(key, value)
        assert ENDPOINT
        return ENDPOINT
    server = real_server(name)
    for key, value in server.keys.items():
        patch.setenv(key, value)
    patch.setenv("AWS_CA_BUNDLE", server.authority)
    return server.tls_url if place.endswith("-https") else server.url


def keep_versions(client: object, bucket: str) -> None:
    """Turn versioning on, or skip if the server has none."""
    try:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})  # type: ignore[attr-defined]
    except ClientError as error:
        pytest.skip(f"this server has no versions: {error}")
