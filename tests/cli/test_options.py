"""Options of every verb in any position, mistyped verbs, and unreadable configurations."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.commands import bare, run
from recvault.cli import main
from recvault.simulator import Simulator
from rig import Rig


@pytest.fixture
def small(rig: Rig, simulator: Simulator) -> Rig:
    """A rig with one source and three recordings."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    return rig


def test_options_stand_before_the_verb_or_after_it(small: Rig) -> None:
    """`recvault status --config PATH -q` equals `recvault -q --config PATH status`."""
    path = str(small.config_path)
    before, after = (
        bare(small.root, *words) for words in (["-q", "--config", path, "status"], ["status", "--config", path, "-q"])
    )
    assert (before.code, before.stdout) == (after.code, after.stdout)
    assert before.code == 0 and "voice" in before.stdout


def test_quiet_prints_nothing_where_all_is_well(small: Rig) -> None:
    """With -q a successful pass prints nothing, so that cron sends no mail."""
    ran = run(small, "sync", "-q")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("typed", "meant"), [("snyc", "sync"), ("statsu", "status"), ("backfil", "backfill"), ("verfiy", "verify")]
)
def test_a_typo_is_answered_with_the_verb_that_was_meant(tmp_path: Path, typed: str, meant: str) -> None:
    """A mistyped verb is answered with a similar one, if any."""
    ran = bare(tmp_path, typed)
    assert (ran.code, ran.stdout) == (2, "")
    assert f"No such command '{typed}'. Did you mean {meant}?" in ran.stderr


def test_a_word_that_is_near_no_verb_is_answered_plainly(tmp_path: Path) -> None:
    """A word similar to no verb is answered without a suggestion."""
    assert "No such command 'xyzzy'." in bare(tmp_path, "xyzzy").stderr


def test_checks_answers_stand_alone(small: Rig) -> None:
    """The output of `check` contains no log lines."""
    ran = run(small, "check")
    assert (ran.code, ran.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
@pytest.mark.parametrize("closed", ["file", "directory"])
def test_a_configuration_that_this_user_may_not_read(small: Rig, tmp_path: Path, closed: str) -> None:
    """An unreadable configuration exits 78, not 2, and the error names the user and what to do."""
    place = tmp_path / "etc"
    place.mkdir()
    path = place / "config.toml"
    path.write_text(small.config_path.read_text())
    path.chmod(0o600)
    place.chmod(0o700 if closed == "directory" else 0o755)
    for parent in [tmp_path, *tmp_path.parents]:
        parent.chmod(parent.stat().st_mode | 0o011)
    CliRunner().invoke(main, ["--config", str(path), "status"])  # imports everything needed, as root
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        ran = CliRunner().invoke(main, ["--config", str(path), "status"])
    finally:
        os.seteuid(0)
    assert ran.exit_code == 78, ran.output
    assert f"{path}: cannot be read by user nobody: Permission denied" in ran.output
    assert f"allow that user to read it and to enter {place}" in ran.output
