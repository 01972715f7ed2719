"""Objects that are replaced: each put names the version that it replaces."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from recvault.store.s3.options import WriteOptions
from store.places import Directory, Place, make_put

KEY = "catalog/days.parquet"


def fetched(anywhere: Place | Directory) -> tuple[str | None, bytes]:
    into = io.BytesIO()
    return anywhere.store().replacer().fetch(KEY, into), into.getvalue()


def test_a_version_is_replaced_once(anywhere: Place | Directory) -> None:
    """Of two writers that read the same version, the first replaces it, and the second is refused."""
    replacer = anywhere.store().replacer()
    assert (replacer.version(KEY), fetched(anywhere)) == (None, (None, b""))
    assert replacer.replace(make_put(KEY, b"one"), None)
    assert not replacer.replace(make_put(KEY, b"another"), None)
    version, body = fetched(anywhere)
    assert (body, version) == (b"one", replacer.version(KEY))
    assert replacer.replace(make_put(KEY, b"two"), version)
    assert not replacer.replace(make_put(KEY, b"three"), version)
    assert fetched(anywhere)[1] == b"two"


def test_a_version_that_is_gone_is_not_replaced(anywhere: Place | Directory) -> None:
    """If the object was deleted meanwhile, nothing is put."""
    store = anywhere.store()
    store.replacer().replace(make_put(KEY, b"one"), None)
    version = store.replacer().version(KEY)
    store.delete(KEY)
    assert not store.replacer().replace(make_put(KEY, b"two"), version)
    assert store.get(KEY) is None


@pytest.mark.parametrize("days", [None, 2])
def test_a_replaced_object_has_a_lock_of_its_own_or_none(make_place, days: int | None) -> None:  # type: ignore[no-untyped-def]
    """It never has the archive's lock, hold or storage class; with retention_days a short GOVERNANCE."""
    place = make_place("aws")
    options = WriteOptions(storage_class="GLACIER", lock_mode="COMPLIANCE", lock_days=365, legal_hold=True)
    place.store(options=options).replacer(days).replace(make_put(KEY, b"one"), None)
    found = place.client.head_object(Bucket=place.bucket, Key=KEY)
    until = found.get("ObjectLockRetainUntilDate")
    assert (found.get("ObjectLockMode"), found.get("StorageClass")) == ("GOVERNANCE" if days else None, None)
    assert found.get("ObjectLockLegalHoldStatus") is None
    assert (until is None) == (days is None)
    assert until is None or until < datetime.now(UTC) + timedelta(days=3)
