"""`recvault backup` makes a copy of the ledger that can replace it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from cli.commands import run
from recvault.ledger import Ledger
from recvault.simulator import Simulator
from rig import Rig, now


def test_a_backup_takes_the_ledgers_place(rig: Rig, simulator: Simulator) -> None:
    """A copy made while the ledger is open can replace it, and the next pass has nothing to do."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    ledger, copy = rig.root / "ledger.db", rig.root / "copy.db"
    open_now = Ledger.open(ledger, now())
    try:
        assert run(rig, "backup", str(copy)).code == 0
    finally:
        open_now.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in rig.root.iterdir() if "copy" in path.name] == ["copy.db"]
    for path in rig.root.glob("ledger.db*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    copy.rename(ledger)
    simulator.clear_requests()
    report = rig.sync()
    assert (report.exit_code, sum(row.archived for row in report.accounts.values())) == (0, 0)
    assert [each.path for each in simulator.requests if each.path.endswith(".wav")] == []


def test_nothing_is_overwritten(rig: Rig, simulator: Simulator) -> None:
    """An existing file is not overwritten, and the error says so."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sync()
    kept = rig.root / "kept"
    kept.write_text("mine")
    ran = run(rig, "backup", str(kept))
    assert (ran.code, kept.read_text()) == (2, "mine")
    assert "already exists: nothing was overwritten" in ran.stderr


def test_where_there_is_no_directory(rig: Rig, simulator: Simulator) -> None:
    """The error names the copy's directory, not the ledger's."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sync()
    ran = run(rig, "backup", str(rig.root / "none" / "copy.db"))
    assert (ran.code, ran.stdout) == (2, "")
    assert f"{rig.root / 'none'} does not exist: nothing was copied" in ran.stderr


def test_where_there_is_no_ledger(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """Without a ledger none is created to be copied."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    ran = run(rig, "backup", str(tmp_path / "copy.db"))
    assert (ran.code, (rig.root / "ledger.db").exists()) == (2, False)
    assert "there is no ledger at" in ran.stderr
