"""Foreign input to the ledger: text from providers, and files that were there before it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from ledger.rows import FEED, NOW, POLICIES, failure, recording, register, rejected
from recvault.errors import ConfigError
from recvault.ledger import Feed, Ledger
from recvault.models import Verdict

STATEMENTS = [
    "'; DROP TABLE recordings; --",
    '"; DROP TABLE recordings; --',
    "x' OR '1'='1",
    "RE%",
    "RE_",
    "'' UNION SELECT * FROM facts",
    "\\'; --",
    ":state",
    "?",
    "[1]",
    "\u2019; --",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_text_of_a_provider_is_never_a_statement(ledger: Ledger, text: str) -> None:
    """Ids, accounts, statuses and messages are stored exactly, and affect no other row."""
    feed = Feed("main", text, text)
    odd = recording(provider=text, account_id=text, recording_id=text, status=text, call_id=text, raw={text: text})
    register(ledger, recording(1))
    register(ledger, odd, feed=feed, rejected=[rejected(text, text)])
    ledger.note_scan_error(feed, text, NOW)
    ledger.remember(text, text)
    jobs = ledger.claim("main", NOW, 10)
    about = next(job for job in jobs if job.recording.recording_id == text)
    ledger.settle([failure(about, Verdict.FATAL, reason=text, message=text)], NOW, POLICIES)

    [found] = ledger.ask.find(text)
    assert [found[name] for name in ("provider", "account_id", "recording_id", "reason", "message")] == [text] * 5
    assert ledger.ask.find(text, text) == []
    assert [row["recording_id"] for row in ledger.ask.failures()] == [text]
    assert [row["body"] for row in ledger.ask.quarantined()] == [text]
    assert ledger.fact(text) == text
    assert ledger.ask.standing("main", FEED.account_id).pending == 1
    assert [each.error for each in ledger.ask.feeds() if each.feed.key == feed.key] == [text]


def test_a_link_in_the_ledgers_place_is_not_followed(tmp_path: Path) -> None:
    """A link in the ledger's place is refused, and its target stays unchanged."""
    target = tmp_path / "elsewhere.db"
    sqlite3.connect(target).close()
    target.write_bytes(b"")
    target.chmod(0o640)
    path = tmp_path / "ledger.db"
    path.symlink_to(target)
    with pytest.raises(ConfigError, match=r"ledger\.db is a symbolic link.*ledger\.path"):
        Ledger.open(path, NOW)
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"", 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for another user")
def test_a_ledger_that_another_user_laid_there_is_refused(tmp_path: Path) -> None:
    """A ledger owned by another user is refused, whatever its mode, since its owner could read it."""
    path = tmp_path / "ledger.db"
    path.touch()
    os.chown(path, 54321, 54321)
    with pytest.raises(ConfigError, match="belongs to another user, 54321"):
        Ledger.open(path, NOW)
    assert path.stat().st_size == 0
