"""The exit codes that scripts depend on."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import forked
from cli.commands import PATIENCE, Ran, bare, environment, run, run_each
from recvault.simulator import Simulator
from rig import Rig

# Normally the ledger waits for a lock: here it gives up at once.
IMPATIENT = (
    "import sys, recvault.ledger.connection as connection\n"
    "connection.BUSY_SECONDS = 0.2\n"
    "from recvault.cli import main\n"
    "main(sys.argv[1:])\n"
)
NOTHING_LISTENS = "http://127.0.0.1:9"


@pytest.fixture
def small(rig: Rig, simulator: Simulator) -> Rig:
    """A rig with one source and three recordings."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    return rig


@contextlib.contextmanager
def refusing_bucket() -> Iterator[str]:
    """An S3 endpoint that refuses all credentials."""
    body = b"<Error><Code>InvalidAccessKeyId</Code><Message>not in our records</Message></Error>"

    class Refuse(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = _refuse  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def said(ran: Ran) -> str:
    return " ".join(ran.stderr.split())


def test_0_everything_due_is_archived(small: Rig) -> None:
    """A sync that leaves nothing open exits 0, also with nothing to do; a source named twice counts once."""
    first = run(small, "sync", "--source", "voice", "--source", "voice", "--json")
    assert (first.code, first.document["outcome"]) == (0, "ok")
    assert [(row["source"], row["listed"], row["archived"]) for row in first.document["sources"]] == [("voice", 3, 3)]
    again = run(small, "sync")
    assert again.code == 0
    assert again.stdout.splitlines()[0].split("\t")[:5] == ["source", "account", "listed", "registered", "archived"]


@pytest.mark.parametrize(
    "words",
    [
        ["nosuchverb"],
        ["sync", "--nosuch"],
        ["show"],
        ["retry"],
        ["retry", "--all", "RE1"],
        ["status", "--json", "--watch"],
    ],
    ids=" ".join,
)
def test_2_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    """Wrong usage exits 2 with a message on stderr and nothing on stdout, whatever the configuration."""
    ran = bare(tmp_path, *words)
    assert (ran.code, ran.stdout) == (2, "")
    assert "Usage: recvault" in ran.stderr and "Error: " in ran.stderr


def test_75_a_provider_that_is_down(small: Rig) -> None:
    """An unreachable provider exits 75, and the other sources are archived."""
    small.sources.append({**small.sources[0], "name": "down", "base_url": NOTHING_LISTENS})
    ran = run(small, "sync", "--json", "--source", "down", "--source", "voice")
    rows = {row["source"]: row for row in ran.document["sources"]}
    assert (ran.code, ran.document["outcome"]) == (75, "partial")
    assert "cannot be reached" in rows["down"]["error"]
    assert (rows["voice"]["archived"], rows["voice"]["error"]) == (3, None)


def test_78_a_ledger_that_is_damaged(small: Rig) -> None:
    """A damaged ledger is reported by every verb, including `check`, with a hint at `rebuild`; stdout is empty."""
    small.sync()
    path = small.root / "ledger.db"
    path.write_bytes(path.read_bytes()[:5000])
    ran = run_each(small, *(words.split() for words in ("status", "sync --json", "reconcile", "failures", "rebuild")))
    for each in ran:
        told = [line for line in each.stderr.splitlines() if not line.startswith("{")]
        assert (each.code, each.stdout, len(told)) == (78, "", 2)
        assert told[0].startswith(f"recvault: the ledger {path} is damaged: ") and "recvault rebuild" in told[1]
    checked, rebuilt, shown = run_each(small, ["check", "--offline"], ["rebuild", "--set-aside"], ["status"])
    [line] = [line for line in checked.stdout.splitlines() if line.startswith("FAIL")]
    assert (checked.code, "ledger: sound" in line, "recvault rebuild" in line) == (78, True, True)
    assert (rebuilt.code, rebuilt.stdout.splitlines()[1].split("\t")[2]) == (0, "3")
    assert "the damaged ledger is kept as" in rebuilt.stderr and "`recvault sync` lists the rest" in rebuilt.stderr
    assert (shown.code, shown.stdout.splitlines()[1].split("\t")[7]) == (0, "3")


def test_75_a_ledger_that_is_locked(small: Rig) -> None:
    """A ledger held by another process exits 75, with a message that names it."""
    with small.runtime() as runtime:
        assert runtime.ledger
    with contextlib.closing(sqlite3.connect(small.root / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        command = [sys.executable, "-c", IMPATIENT, "--config", str(small.config_path), "sync", "--json"]
        code, stdout, stderr = forked.run(command, environment(small.root), small.root, PATIENCE)
    assert (code, stdout) == (75, ""), stderr
    assert "ledger.db is locked by another process" in stderr


def test_75_a_bucket_that_is_down(small: Rig) -> None:
    """An unreachable bucket exits 75; listed recordings are registered, and the report states both."""
    small.s3_url = NOTHING_LISTENS
    ran = run(small, "sync", "--json")
    assert ran.code == 75
    (row,) = ran.document["sources"]
    assert (row["registered"], row["archived"]) == (3, 0)
    assert small.bucket in row["error"] and "cannot be reached" in row["error"]


def test_77_a_wrong_token(small: Rig) -> None:
    """A provider's refusal of the credentials is in the row of its account."""
    Path(small.sources[0]["auth_token"]["file"]).write_text("f" * 32)
    ran = run(small, "sync", "--json")
    assert (ran.code, ran.document["outcome"]) == (77, "failed")
    (row,) = ran.document["sources"]
    assert "401" in row["error"] and "credentials" in row["error"]
    assert "f" * 32 not in ran.stdout + ran.stderr


def test_77_a_bucket_that_refuses(small: Rig) -> None:
    """Refused keys of the bucket are reported with its code and where the keys are read from."""
    with refusing_bucket() as small.s3_url:
        ran = run(small, "sync", "--json")
    assert ran.code == 77
    (row,) = ran.document["sources"]
    assert (row["registered"], row["archived"]) == (3, 0)
    assert "InvalidAccessKeyId" in row["error"] and "new ones are read " in row["error"]


def test_78_all_problems_of_a_configuration_at_once(tmp_path: Path) -> None:
    """Every problem of a configuration is printed as FILE:LINE: path: problem, without secrets."""
    path = tmp_path / "config.toml"
    path.write_text(
        '[archive]\nbucket = "b"\nregon = "eu"\n\n[transfer]\nworkers = "many"\n\n'
        '[[sources]]\nname = "a"\nprovider = "twilo"\n\n'
        '[[sources]]\nname = "b"\nprovider = "telnyx"\napi_key = "KEYplain-secret"\n'
    )
    ran = bare(tmp_path, "--config", str(path), "sync", "--json")
    assert (ran.code, ran.stdout) == (78, "")
    for line, what in ((3, "archive.regon"), (6, "transfer.workers"), (10, "sources[0].provider"), (15, "api_key")):
        assert any(f"{path}:{line}: " in each and what in each for each in ran.stderr.splitlines()), (line, ran.stderr)
    assert "did you mean region?" in ran.stderr
    assert "KEYplain-secret" not in ran.stderr


def test_78_no_configuration(tmp_path: Path) -> None:
    """Without a configuration the message lists the searched places."""
    ran = bare(tmp_path, "status", RECVAULT_CONFIG=str(tmp_path / "nowhere.toml"))
    assert (ran.code, ran.stdout) == (78, "")
    assert "nowhere.toml" in ran.stderr and "--config" in ran.stderr


def test_2_an_unknown_source(small: Rig) -> None:
    """An unknown `--source` lists the known names, and nothing is done."""
    ran = run(small, "sync", "--source", "voice", "--source", "voise", "--json")
    assert (ran.code, ran.stdout) == (2, "")
    assert "voise" in ran.stderr and "the configuration has voice" in said(ran)
    assert small.objects() == {}


def test_check_names_each_thing_that_fails_and_goes_on(small: Rig, simulator: Simulator) -> None:
    """A wrong token and a wrong bucket each have a line with a hint; the good source is still checked."""
    other = simulator.add_account("telnyx", secret="KEYwrong")
    small.add_source("other", "telnyx", other)
    Path(small.sources[1]["api_key"]["file"]).write_text("KEYof-somebody-else")
    small.archive = {"bucket": "no-such-bucket"}
    ran = run(small, "check")
    assert ran.code == 78  # the bucket's; the token's is 77
    lines = ran.stdout.splitlines()
    failed = [line for line in lines if line.startswith("FAIL")]
    assert len(failed) == 2, lines
    assert "source other: list" in failed[0] and "credentials" in failed[0]
    assert "bucket" in failed[1] and "NoSuchBucket" in failed[1] and "archive.bucket" in failed[1]
    assert any(line.startswith("ok    source voice: list") for line in lines)
    assert "KEYof-somebody-else" not in ran.stdout + ran.stderr


def test_check_names_a_ledger_and_a_spool_without_a_place(small: Rig) -> None:
    """A missing directory and a full disk each have a line with the key to correct."""
    small.ledger = {"path": str(small.root / "none" / "ledger.db")}
    small.transfer["min_free_disk"] = "8000000GiB"
    ran = run(small, "check", "--offline")
    assert ran.code == 78
    configuration, ledger, spool, *_ = ran.stdout.splitlines()
    assert configuration == f"ok    configuration: {small.config_path} is valid, 1 source"
    assert ledger.startswith("FAIL  ledger: ") and "ledger.path" in ledger
    assert spool.startswith("FAIL  spool: ") and "min_free_disk" in spool


def test_check_config_only_reads_no_secret(small: Rig) -> None:
    """`check --config-only` reads only the file, without secrets: valid, or 78."""
    small.sources[0]["auth_token"] = {"file": str(small.root / "none")}
    small.ledger = {"path": str(small.root / "none" / "ledger.db")}
    ran = run(small, "check", "--config-only")
    assert (ran.code, ran.stdout) == (0, f"ok    configuration: {small.config_path} is valid, 1 source\n")
    small.sources[0]["pol_every"] = "5m"
    ran = run(small, "check", "--config-only")
    assert (ran.code, ran.stdout) == (78, "")
    assert "pol_every: unknown key (did you mean poll_every?)" in ran.stderr


def test_check_offline_needs_no_network(small: Rig) -> None:
    """`check --offline` reads the configuration and its secrets, and sends nothing."""
    small.sources[0]["base_url"] = small.s3_url = NOTHING_LISTENS
    small.sources.append({**small.sources[0], "name": "other", "auth_token": {"file": str(small.root / "none")}})
    ran = run(small, "check", "--offline")
    assert ran.code == 78
    _, ledger, spool, good, bad, proof, transport = ran.stdout.splitlines()
    assert ledger.startswith("ok    ledger: ") and spool.startswith("ok    spool: ")
    assert proof.startswith("ok    media proof: ") and transport.startswith("ok    transport: ")
    assert good.startswith("ok    source voice: settings: ")
    assert bad.startswith("FAIL  source other: settings: ") and str(small.root / "none") in bad
