"""What runs beside an erasure brings nothing back."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from operations.erasing.conftest import Vault
from operations.erasing.test_erase import archived, outcomes
from recvault.archive.late_calls import LateCall
from recvault.dispatch.call_desk import CallDesk
from recvault.dispatch.calls_writer import LateCalls
from recvault.operations.catalog import Catalog, catalog_run
from recvault.operations.erasing.erase import Erase
from recvault.reading import Archive


@pytest.mark.parametrize("rebuild", [False, True], ids=["missing", "everything"])
def test_a_catalog_that_is_being_written_does_not_bring_it_back(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, rebuild: bool
) -> None:
    """A catalog run that read the sidecar before it was erased, and writes its month afterwards, leaves no row."""
    pytest.importorskip("duckdb")
    vault.rig.catalog["enabled"] = True
    one, two, other = archived(vault)
    with vault.rig.runtime(lambda: vault.now) as runtime:
        Catalog.of(runtime, threads=1).write(rebuild=True)
    close, done = catalog_run.MonthFiles.close, list[Any]()

    def erased_now(self: Any) -> None:
        close(self)
        if not done:
            done.append(1)
            done.append(outcomes(vault.erase(number=vault.number)))

    three = vault.add()
    vault.sync()
    monkeypatch.setattr(catalog_run.MonthFiles, "close", erased_now)
    with vault.rig.runtime(lambda: vault.now) as runtime:
        Catalog.of(runtime, threads=1).write(rebuild=rebuild)
    assert done[1] == {one: "erased", two: "erased", three: "erased"}
    with vault.rig.runtime(lambda: vault.now) as runtime:
        archive = Archive.over(runtime.store, runtime.keys, stop=runtime.stop)
        found = [each.recording_id for each in archive.recordings()]
        archive.catalog.close()
    assert found == [other]


def test_call_facts_that_come_during_an_erasure_are_deleted(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts that the daemon writes after the erasure has begun are taken out, though there were none before."""
    one, two, _ = archived(vault)
    delete = Erase._delete

    def late(self: Erase, cases: Any) -> None:
        call = {"from": f"+{vault.number}"}
        identity = {"provider": "twilio", "account_id": vault.account.account_id, "recording_id": one}
        store = self.runtime.store
        LateCalls(store=store, prefix="", clock=lambda: vault.now).put([LateCall(**identity, call=call)])
        delete(self, cases)

    monkeypatch.setattr(Erase, "_delete", late)
    assert outcomes(vault.erase(number=vault.number)) == {one: "erased", two: "erased"}
    assert vault.where(vault.number) == []


def test_call_facts_of_an_erased_recording_are_not_written(vault: Vault) -> None:
    """Facts that were asked for before an erasure, and come after it, are not put into the bucket."""
    one, *_ = archived(vault)
    identity = ("twilio", vault.account.account_id, one)
    with sqlite3.connect(vault.rig.root / "ledger.db") as db:
        db.execute("INSERT OR IGNORE INTO uncalled (id, next_at) SELECT id, '2026' FROM recordings")
    db.close()
    with vault.rig.runtime(lambda: vault.now) as runtime:
        rows = runtime.ledger.uncalled.due("voice", vault.now, 9)
    assert identity in [row.identity for row in rows]
    vault.erase(recordings=(one,))
    put: list[Any] = []
    with vault.rig.runtime(lambda: vault.now) as runtime:
        writer = SimpleNamespace(put=lambda late: put.extend(late) or [])
        memory = SimpleNamespace(forget=list)
        desk: Any = SimpleNamespace(ledger=runtime.ledger, memory=memory, late_calls=lambda: writer)
        CallDesk._put(desk, {row.identity: {"from": "+1"} for row in rows}, rows)
    assert identity not in [each.identity for each in put]
    assert len(put) == 2
