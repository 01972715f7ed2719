"""What others can see: with a stolen ledger or spool, in the process list, as readers of the bucket."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from cli.commands import PATIENCE, children, finish, fork_server, start
from recvault.simulator import SimAccount, Simulator, Switches
from rig import SOURCES, Rig
from strict_s3 import Bucket

MARKS = ("X-Amz-Signature=", "X-Amz-Credential=", "Bearer ", "Basic ", "test-secret-key")
KINDS = {"twilio": ("voice", "video"), "telnyx": ("telnyx",), "signalwire": ("signalwire",)}


@pytest.fixture
def whole(rig: Rig, simulator: Simulator) -> list[str]:
    """All five providers with some recordings; every secret and every pattern of a credential."""
    accounts: dict[str, SimAccount] = {}
    for name, (provider, kind) in SOURCES.items():
        if kind not in accounts:
            accounts[kind] = simulator.add_account(kind)
            for api in KINDS[kind]:
                simulator.populate(accounts[kind], api, count=3)
        rig.add_source(name, provider, accounts[kind])
    plain = {"account_sid", "project_id"}
    pairs = [pair for account in accounts.values() for pair in account.credentials.items()]
    return [*MARKS, *(value for key, value in pairs if key not in plain)]


def kept(rig: Rig) -> dict[str, bytes]:
    """Return every file of recvault's own, without the operator's configuration and secrets."""
    theirs = {rig.config_path, *rig.root.glob("*.secret")}
    return {str(each): each.read_bytes() for each in rig.root.rglob("*") if each.is_file() and each not in theirs}


def test_a_stolen_ledger_opens_nothing(rig: Rig, simulator: Simulator, whole: list[str]) -> None:
    """No file that a pass leaves, even a killed one's journals, contains a credential or signature."""
    simulator.faults.all_on(0.2)
    rig.sync()
    simulator.faults.off()
    with rig.runtime() as runtime:  # open, so that its journals exist
        runtime.sync("sync", [source["name"] for source in rig.sources])
        files = kept(rig)
    assert {"ledger.db", "ledger.db-wal"} <= {Path(name).name for name in files}
    assert [(name, word) for name, body in files.items() for word in whole if word.encode() in body] == []


def test_a_reader_of_the_bucket_gets_no_key_to_a_provider(rig: Rig, strict_bucket: Bucket, whole: list[str]) -> None:
    """Nothing in sidecars, keys, tags or metadata gives access to an account."""
    rig.sync()
    objects = rig.objects()
    texts = [key.encode() + body for key, body in objects.items() if key.endswith(".json")]
    for key in objects:
        told = repr([key, strict_bucket.objects[key].headers])  # its metadata and tags, if any
        texts.append(told.encode())
        assert not re.search(r"\+1[0-9]{8}", told)  # no phone number; a checksum may have a plus and digits, too
    assert len(texts) > len(objects)
    assert [word for text in texts for word in whole if word.encode() in text] == []


def test_what_a_pass_leaves_is_its_owners(rig: Rig, whole: list[str]) -> None:
    """With the widest umask others can read only the lock files, which contain a pid."""
    assert rig.config_path.exists()  # the operator's, made with their umask
    before = os.umask(0)
    try:
        with rig.runtime() as runtime:
            runtime.sync("sync", [source["name"] for source in rig.sources])
            modes = {Path(name).name: stat.S_IMODE(Path(name).stat().st_mode) for name in kept(rig)}
    finally:
        os.umask(before)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077 and mode != 0o644} == {}
    assert {mode for name, mode in modes.items() if name.startswith("ledger.db")} >= {0o600}
    assert modes["ledger.db"] == modes["ledger.db-wal"] == 0o600


@pytest.mark.process
def test_ps_shows_no_secret(rig: Rig, simulator: Simulator) -> None:
    """A secret from a file is in no process's arguments or environment, workers included."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=8)
    simulator.switches = Switches(latency_seconds=0.05)
    rig.add_source("voice", "twilio", account)
    rig.transfer = {"processes": 2, "workers": 2}
    process = start(rig, "sync", "--json")
    seen: dict[int, bytes] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=[process, seen, ended])
    watcher.start()
    ran = finish(process)
    ended.set()
    watcher.join(PATIENCE)
    assert ran.code == 0
    assert len(seen) >= 4  # the command, its fork server, and two workers
    assert all(account.secret.encode() not in shown for shown in seen.values())


def _watch(process: subprocess.Popen[str], seen: dict[int, bytes], ended: threading.Event) -> None:
    while not ended.wait(0.02):
        found = [process.pid, *children(process.pid), *children(fork_server(process.pid))]
        for pid in found:
            for name in ("cmdline", "environ"):
                try:
                    shown = Path(f"/proc/{pid}/{name}").read_bytes()
                except OSError:
                    continue
                seen[pid] = seen.get(pid, b"") + shown
