"""`recvault support-bundle`: what a report needs, nothing secret, and nothing written before it is shown."""

from __future__ import annotations

import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.commands import PATIENCE, arguments, environment, run, run_each
from cli.conftest import World
from operations.decrypt.keypairs import key_file
from recvault.simulator import SimAccount, Simulator
from rig import SOURCES, Rig, now
from test_canary import APIS, forbidden

NAMES = ["versions.txt", "machine.txt", "config.toml", "ledger.json", "status.json", "failures.json", "unit.txt"]


def unpacked(path: Path) -> dict[str, str]:
    """Return the files of a bundle by name."""
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert all(member.isfile() and member.mode == 0o600 for member in members)
        read = ((member.name, archive.extractfile(member)) for member in members)
        return {name.removeprefix("recvault-support/"): file.read().decode() for name, file in read if file}


def shown(world: World, name: str) -> Any:
    """Return a JSON file as `--show` prints it."""
    return json.loads(run_each(world.rig, ["support-bundle", "--show", name])[0].stdout)


def test_it_is_listed_and_not_written_unless_that_is_wanted(world: World, tmp_path: Path) -> None:
    """Each file is listed with its size; --yes writes a new file readable only by its owner, and never replaces one."""
    place = tmp_path / "bundle.tar.gz"
    listed, written, again = run_each(
        world.rig,
        ["support-bundle", "-o", str(place)],
        ["support-bundle", "-o", str(place), "--yes"],
        ["support-bundle", "-o", str(place), "--yes"],
    )
    assert (listed.code, listed.stdout) == (0, "")
    assert [line.split()[0] for line in listed.stderr.splitlines()[:-1]] == NAMES
    assert listed.stderr.splitlines()[-1].startswith("nothing is written yet: ")
    assert (written.code, written.stdout, again.code) == (0, f"{place}\n", 2)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(unpacked(place)) == NAMES
    assert list(tmp_path.iterdir()) == [place]


def test_a_terminal_is_asked_and_may_read_first(world: World) -> None:
    """On a terminal a file can be read before the answer, and "no" writes nothing."""
    before = {path.name for path in world.rig.root.iterdir()}
    code, _ = on_terminal_answering(world.rig, "nothing.txt\nversions.txt\nn\n")
    assert code == 0
    assert {path.name for path in world.rig.root.iterdir()} == before
    code, said = on_terminal_answering(world.rig, "versions.txt\ny\n")
    made = {path.name for path in world.rig.root.iterdir()} - before
    assert (code, len(made), "Python 3." in said) == (0, 1, True)
    (world.rig.root / made.pop()).unlink()


def on_terminal_answering(rig: Rig, answers: str) -> tuple[int, str]:
    """Run it with a pipe that claims to be a terminal, and type answers."""
    code = (
        "import sys\nfrom recvault.cli import main\n"
        "sys.stdin.isatty = sys.stderr.isatty = lambda: True\nmain(sys.argv[1:])\n"
    )
    words = [arguments(rig)[0], "-c", code, "--config", str(rig.config_path), "support-bundle"]
    process = forked.popen(words, environment(rig.root), stdin=-1, stdout=-1, stderr=-1, text=True, cwd=rig.root)
    said = "".join(process.communicate(answers, PATIENCE))
    return process.returncode, said


def test_what_it_holds(world: World) -> None:
    """It has versions, the effective configuration, the verdict, failures with reasons, and the ledger's counts and
    integrity."""
    status, failures, ledger = (shown(world, f"{name}.json") for name in ("status", "failures", "ledger"))
    assert status["schema"] == "recvault/status/v1" and not status["verdict"]["safe"]
    assert [row["reason"] for row in failures["reasons"]] == ["media.document"]
    assert [row["recording_id"] for row in failures["failures"]] == [world.failing.recording_id]
    assert len(failures["quarantined"]) == 1 and "body" not in failures["quarantined"][0]
    assert ledger["checked"] == {"whole": True, "rows": ledger["checked"]["rows"]} and ledger["checked"]["rows"] > 0
    assert "calls" in ledger["migrations"] and {row["state"] for row in ledger["states"]} >= {"archived", "failing"}
    config, unknown = run_each(
        world.rig, ["support-bundle", "--show", "config.toml"], ["support-bundle", "--show", "nothing"]
    )
    assert 'retry_max = "2h"' in config.stdout and "[[sources]]" in config.stdout
    assert (unknown.code, "the bundle has no file nothing" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("harm", ["no ledger", "a wrong configuration", "a damaged ledger"])
def test_what_cannot_be_had_does_not_keep_the_rest(rig: Rig, simulator: Simulator, harm: str) -> None:
    """If something cannot be read, its error takes its place, and the rest is complete."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    if harm == "a wrong configuration":
        rig.archive = {"no_such_key": True}
    elif harm == "a damaged ledger":
        (rig.root / "ledger.db").write_bytes(b"no database" * 1000)
    ran = run(rig, "support-bundle", "--yes", "-o", str(rig.root / "b.tar.gz"))
    assert ran.code == 0, ran.stderr
    files = unpacked(rig.root / "b.tar.gz")
    assert list(files) == NAMES
    if harm == "a wrong configuration":
        assert "archive.no_such_key" in files["config.toml"]
    if harm == "a damaged ledger":
        assert files["ledger.json"].startswith("not available: ") and "ledger.db" in files["status.json"]
    if harm == "no ledger":
        assert json.loads(files["ledger.json"])["exists"] is False
        assert not (rig.root / "ledger.db").exists()


def test_nothing_secret_is_in_it(rig: Rig, tmp_path: Path) -> None:
    """It has no secret of any source, key or channel, no signature and no phone number, whatever an error quoted."""
    accounts: dict[str, SimAccount] = {}
    for name, (provider, kind) in SOURCES.items():
        if kind not in accounts:
            accounts[kind] = rig.simulator.add_account(kind)
            for api in APIS[kind]:
                rig.simulator.populate(accounts[kind], api, count=4)
        rig.add_source(name, provider, accounts[kind])
    key = key_file(tmp_path, 0)
    rig.sources[0]["private_keys"] = [{"file": str(key)}]
    rig.daemon = {"ping_url": "https://monitor.example.com/ping-key-0123456789"}
    rig.simulator.faults.all_on(0.5)
    rig.sync()
    plain = {"account_sid", "project_id", "space", "api_key_sid"}
    secrets = [value for each in accounts.values() for name, value in each.credentials.items() if name not in plain]
    quoted = f"{secrets} https://h.example/a?X-Amz-Signature=00ff00ff +15550001111 test-secret-key"
    with rig.runtime(now) as runtime:
        runtime.ledger.remember("quoted", quoted)
        runtime.ledger.note_scan_error(runtime.feeds()[0].feed, quoted, now())
    ran = run(rig, "support-bundle", "--yes", "-o", str(tmp_path / "b.tar.gz"))
    assert ran.code == 0, ran.stderr
    text = "\n".join(unpacked(tmp_path / "b.tar.gz").values())
    assert "h.example/a?[cut]" in text and "auth_token = { file = " in text
    lines = [line for line in key.read_text().splitlines() if len(line) > 20]
    for word in [*forbidden(accounts), *lines, "ping-key-0123456789", "00ff00ff", "15550001111"]:
        assert word not in text, f"{word!r} is in the bundle"
