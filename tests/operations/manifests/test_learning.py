"""Missing hashes of sidecars are learnt from manifests that prove them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from operations.manifests.conftest import Open
from operations.manifests.shelf import Shelf, files, manifest_key, place, remove
from recvault.operations.manifests import learn_sums
from recvault.shutdown import Stop


def forget(shelf: Shelf) -> None:
    """Remove the hashes, as if an earlier version had archived everything."""
    with closing(sqlite3.connect(shelf.root / "ledger.db")) as plain, plain:
        plain.execute("UPDATE recordings SET sidecar_sha256=NULL")


def sums(shelf: Shelf) -> dict[str, str]:
    """Return the ledger's hashes by key."""
    with closing(sqlite3.connect(shelf.root / "ledger.db")) as plain:
        return dict(plain.execute("SELECT sidecar_key, sidecar_sha256 FROM recordings WHERE sidecar_sha256 NOT NULL"))


def learnt(shelf: Shelf) -> int:
    return learn_sums(shelf.ledger, shelf.store, shelf.keys.prefix, Stop())


def rewrite(shelf: Shelf, key: str) -> None:
    document = json.loads(remove(shelf, key))
    place(shelf, key, json.dumps({**document, "call_id": "CA-of-another"}).encode())


@pytest.fixture
def listed(shelf: Shelf) -> Shelf:
    """Three days with a manifest each; the ledger has no hashes."""
    for number in (1, 2, 3):
        shelf.archive(number)
        shelf.next_day()
        shelf.write()
    forget(shelf)
    return shelf


def test_what_manifests_list_is_learnt(listed: Shelf) -> None:
    """The manifests' hashes are learnt, even of sidecars rewritten since; a second run learns nothing."""
    sidecars = [key for key in files(listed) if key.endswith(".json")]
    archived = {key: listed.store.head(key).sha256 for key in sidecars}  # type: ignore[union-attr]
    rewrite(listed, sidecars[0])
    assert learnt(listed) == 3
    assert sums(listed) == archived
    assert learnt(listed) == 0


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_a_chain_is_believed_as_far_as_it_holds(listed: Shelf, broken: int) -> None:
    """A changed manifest and all before it prove nothing; those after it are proven by the ledger's head."""
    key = manifest_key(broken)
    place(listed, key, remove(listed, key).replace(b"0", b"1"))
    assert learnt(listed) == 3 - broken


def test_a_manifest_that_is_gone_ends_the_chain(listed: Shelf) -> None:
    """A missing manifest ends the chain without an error."""
    del listed.objects[manifest_key(2)]
    assert learnt(listed) == 1


def test_two_sums_of_one_sidecar_prove_neither(listed: Shelf) -> None:
    """A sidecar listed with two hashes is not learnt."""
    sidecar = next(key for key in files(listed) if key.endswith(".json"))
    with closing(sqlite3.connect(listed.root / "ledger.db")) as plain, plain:
        plain.execute("INSERT INTO unlisted SELECT id FROM recordings WHERE sidecar_key=?", [sidecar])
    rewrite(listed, sidecar)
    listed.next_day()
    listed.write()
    forget(listed)
    assert learnt(listed) == 2
    assert sidecar not in sums(listed)


def test_what_a_manifest_lists_first_is_known_from_then_on(open_shelf: Open) -> None:
    """Hashes of unlisted rows are stored when their manifest is written."""
    shelf = open_shelf()
    shelf.archive(1, 2)
    archived = sums(shelf)
    forget(shelf)
    shelf.next_day()
    assert shelf.write().troubles == []
    assert sums(shelf) == archived


def test_a_sidecar_that_was_rewritten_before_its_manifest_is_told_and_not_vouched_for(shelf: Shelf) -> None:
    """The manifest lists the archived hash, so that `sha256sum -c` fails on a rewritten sidecar."""
    shelf.archive(1)
    sidecar = next(key for key in files(shelf) if key.endswith(".json"))
    archived = sums(shelf)
    rewrite(shelf, sidecar)
    shelf.next_day()
    assert shelf.write().troubles == [("different", sidecar)]
    assert f"{archived[sidecar]}  {sidecar}\n".encode() in shelf.objects[manifest_key(1)]
    assert sums(shelf) == archived
