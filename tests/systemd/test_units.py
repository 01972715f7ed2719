"""The units load in systemd without warnings, are as restricted as claimed, and agree with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from recvault.config.settings import DaemonSettings
from systemd.lab import UNITS

ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
DAEMON, BACKFILL, TIMER = "recvault.service", "recvault-backfill@.service", "recvault.timer"
DROP_INS = sorted(path.name for path in (UNITS / "recvault.service.d").iterdir())
NEWER = "restart-steps.conf.example"  # its keys need systemd 254


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with an existing program."""
    place = tmp_path / "units"
    shutil.copytree(UNITS, place, ignore=shutil.ignore_patterns("*.md", "*.json", "*.yml"))
    for path in (*place.glob("*.service"), *place.glob("*.d/*")):
        path.write_text(path.read_text().replace("/opt/recvault/bin/recvault", "/bin/true"))
    return place


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ANALYZE or "", *words], capture_output=True, text=True, timeout=60)


def version() -> int:
    return int(re.findall(r"systemd (\d+)", analyze("--version").stdout)[0])


def enable(units: Path, drop_in: str) -> None:
    folder = units / "recvault.service.d"
    (folder / drop_in).rename(folder / drop_in.removesuffix(".example"))


def assert_clean(unit: Path) -> None:
    said = analyze("verify", str(unit))
    assert (said.stdout + said.stderr, said.returncode) == ("", 0)


def assert_exposed_at_most(unit: Path, tenths: int) -> None:
    said = analyze("security", "--offline=true", f"--threshold={tenths}", str(unit))
    assert said.returncode == 0, said.stdout + said.stderr


def settings(unit: str, first: str = "") -> list[str]:
    """Return a unit's lines that begin so, without comments."""
    lines = [line for line in (UNITS / unit).read_text().splitlines() if line and not line.startswith("#")]
    start = next((number for number, line in enumerate(lines) if line.startswith(first)), 0)
    return lines[start : next((number for number, line in enumerate(lines) if line == "[Install]"), None)]


@needs_analyze
@pytest.mark.parametrize("unit", [DAEMON, BACKFILL, TIMER])
def test_systemd_has_no_word_to_say(units: Path, unit: str) -> None:
    """systemd finds no unknown key, bad value or missing program."""
    assert_clean(units / unit)


@needs_analyze
@pytest.mark.parametrize("drop_in", DROP_INS)
def test_neither_with_a_drop_in(units: Path, drop_in: str) -> None:
    """The shipped examples can be used unchanged, and weaken nothing."""
    if drop_in == NEWER and version() < 254:
        pytest.skip(f"systemd {version()} does not know RestartSteps=")
    enable(units, drop_in)
    assert_clean(units / DAEMON)
    assert_exposed_at_most(units / DAEMON, 11)


@needs_analyze
@pytest.mark.parametrize("unit", [DAEMON, BACKFILL])
def test_the_sandbox_is_tight(units: Path, unit: str) -> None:
    """The exposure is 1.1: only the network and a socket to systemd are left."""
    assert_exposed_at_most(units / unit, 11)


@needs_analyze
def test_it_is_tighter_where_addresses_are_named(units: Path) -> None:
    """With the shipped address list, this machine only, the exposure is 0.9."""
    enable(units, "addresses.conf.example")
    assert_exposed_at_most(units / DAEMON, 9)


def test_no_drop_in_is_at_work_unasked() -> None:
    """Copying the whole directory activates no drop-in."""
    assert DROP_INS and all(name.endswith(".conf.example") for name in DROP_INS)


def test_both_units_run_in_the_same_place() -> None:
    """The backfill unit has the daemon's user, state, secrets, limits and sandbox, and its own log name."""
    own = {"SyslogIdentifier=recvault", "SyslogIdentifier=recvault-backfill"}
    daemon, backfill = (settings(unit, "User=") for unit in (DAEMON, BACKFILL))
    assert [line for line in daemon if line not in own] == [line for line in backfill if line not in own]
    assert len(daemon) > 50


def test_systemd_waits_longer_than_the_drain() -> None:
    """systemd's stop timeout is longer than the drain."""
    for unit in (DAEMON, BACKFILL):
        (seconds,) = (int(line.partition("=")[2]) for line in settings(unit) if line.startswith("TimeoutStopSec="))
        assert seconds > DaemonSettings().drain_timeout.total_seconds() + 15


def test_what_does_not_mend_itself_is_not_tried_again() -> None:
    """Refused credentials and configuration errors end the service, a one-shot's 3 too."""
    prevented = {
        unit: {int(code) for line in settings(unit) if line.startswith("RestartPrevent") for code in line[25:].split()}
        for unit in (DAEMON, BACKFILL)
    }
    assert prevented == {DAEMON: {2, 77, 78}, BACKFILL: {1, 2, 3, 77, 78}}
