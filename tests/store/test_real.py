"""What only a real server shows: that a lock holds, and what `check` says of a store that drops an option."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from real_s3 import ceph, swift
from real_s3.fixtures import NAMES
from real_s3.servers import RealServer
from recvault.check import Probe, bucket
from recvault.errors import KeyConflict
from recvault.simulator import Simulator
from recvault.store.s3.options import WriteOptions
from rig import Rig
from store import real
from store.places import SENDERS, Place, make_put

pytestmark = pytest.mark.real_s3

KEY = "recordings/provider=twilio/account=AC1/date=2026-10-01/RE1.wav"
BODY = b"RIFF" + bytes(range(256)) * 40
_numbers = itertools.count(1)


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_run_against_it(name: str, real_server: Callable[[str], RealServer]) -> None:
    """The contract includes this server over http and https; if it is absent, the summary says so."""
    real_server(name)
    places = [place for place, _ in real.places()]
    assert {f"real-{name}", f"real-{name}-https"} <= set(places)


# Object Lock


@pytest.fixture(params=SENDERS)
def locked(
    request: pytest.FixtureRequest, real_server: Callable[[str], RealServer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """A bucket with Object Lock at Ceph."""
    endpoint = real.way("real-ceph", real_server, monkeypatch)
    place = Place("real-ceph", endpoint, f"recvault-locked-{os.getpid()}-{next(_numbers)}", sender=request.param)
    place.client.create_bucket(Bucket=place.bucket, ObjectLockEnabledForBucket=True)
    yield place
    for where in versions(place):
        place.client.put_object_legal_hold(Bucket=place.bucket, **where, LegalHold={"Status": "OFF"})


def versions(place: Place) -> list[dict[str, str]]:
    """Return every version of every object, without delete markers."""
    listed = place.client.list_object_versions(Bucket=place.bucket).get("Versions", ())
    return [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed]


def refused(ask: Callable[..., Any], place: Place, **arguments: Any) -> bool:
    """Whether the server denies it."""
    try:
        ask(Bucket=place.bucket, **arguments)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, error
        return True
    return False


LOCKS = {
    "governance": WriteOptions(lock_mode="GOVERNANCE", lock_days=2),
    "compliance": WriteOptions(lock_mode="COMPLIANCE", lock_days=2),
    "hold": WriteOptions(legal_hold=True),
}


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_locked_cannot_be_removed(locked: Place, lock: str) -> None:
    """A locked or held object survives deletes of version and key, and a put."""
    assert locked.store(asked=False, options=LOCKS[lock]).put(make_put(KEY, BODY)) is True
    (version,) = versions(locked)
    delete = locked.client.delete_object
    assert refused(delete, locked, **version)
    if lock != "governance":  # which privileged users may bypass explicitly
        assert refused(delete, locked, **version, BypassGovernanceRetention=True)
    delete(Bucket=locked.bucket, Key=KEY)
    locked.client.put_object(Bucket=locked.bucket, Key=KEY, Body=b"other")
    kept = locked.client.get_object(Bucket=locked.bucket, **version)
    assert kept["Body"].read() == BODY


def test_a_lock_cannot_be_shortened(locked: Place) -> None:
    """A COMPLIANCE lock cannot be shortened or become GOVERNANCE."""
    locked.store(asked=False, options=LOCKS["compliance"]).put(make_put(KEY, BODY))
    (version,) = versions(locked)
    soon, late = (datetime.now(UTC) + timedelta(days=days) for days in (1, 3))
    change = locked.client.put_object_retention
    for retention in ({"Mode": "COMPLIANCE", "RetainUntilDate": soon}, {"Mode": "GOVERNANCE", "RetainUntilDate": late}):
        assert refused(change, locked, **version, Retention=retention, BypassGovernanceRetention=True)


def test_a_locked_object_is_met_again(locked: Place) -> None:
    """In a locked bucket the same bytes are no second version, and other bytes are refused."""
    store = locked.store(asked=True, options=LOCKS["governance"])
    assert [store.put(make_put(KEY, BODY)) for _ in range(2)] == [True, False]
    with pytest.raises(KeyConflict):
        store.put(make_put(KEY, BODY[::-1]))
    assert len([each for each in versions(locked) if each["Key"] == KEY]) == 1


# check


@pytest.fixture
def checked(
    tmp_path: Path,
    simulator: Simulator,
    real_server: Callable[[str], RealServer],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Probe]]:
    """Run `check` on a new bucket of a real server with these options of `[archive]`."""

    def check(name: str, *, lockable: bool = False, **archive: Any) -> dict[str, Probe]:
        place = Place(f"real-{name}", real.way(f"real-{name}", real_server, monkeypatch), f"recvault-{os.getpid()}")
        place = replace(place, bucket=f"{place.bucket}-check-{next(_numbers)}")
        lock = {"ObjectLockEnabledForBucket": True} if lockable else {}
        place.client.create_bucket(Bucket=place.bucket, **lock)
        rig = Rig(root=tmp_path, simulator=simulator, s3_url=place.url, bucket=place.bucket, archive=archive)
        rig.add_source("voice", "twilio", simulator.add_account("twilio"))
        with rig.runtime() as runtime:
            return {probe.name: probe for probe in bucket.answers(runtime)}

    return check


def test_check_says_that_a_lock_is_kept(checked: Callable[..., dict[str, Probe]]) -> None:
    """For a store that locks, `check` states what each put requests and that it is kept."""
    options = {"object_lock": {"mode": "GOVERNANCE", "days": 2, "legal_hold": True}, "tags": {"team": "law"}}
    found = checked(ceph.NAME, lockable=True, **options)
    assert [name for name, probe in found.items() if not probe.ok] == []
    assert found["bucket: settings applied"].detail == "kept: GOVERNANCE for 2 days, legal hold, tags"


def test_check_says_that_a_lock_is_dropped(checked: Callable[..., dict[str, Probe]]) -> None:
    """For a store that drops locks, `check` fails and names what is dropped."""
    found = checked(swift.NAME, object_lock={"mode": "GOVERNANCE", "days": 2, "legal_hold": True})
    assert not found["bucket: settings applied"].ok
    assert "object_lock GOVERNANCE, reported is none" in found["bucket: settings applied"].detail


@pytest.mark.parametrize(
    ("name", "proof"), [(ceph.NAME, "the store verifies MD5"), (swift.NAME, "the store verifies SHA-256")]
)
def test_check_says_what_proves_a_put(checked: Callable[..., dict[str, Probe]], name: str, proof: str) -> None:
    """For each server `check` states what proves a put, and all lines are good."""
    found = checked(name)
    assert [name for name, probe in found.items() if not probe.ok] == []
    assert found["bucket: put and conditional put"].detail.startswith(proof)
