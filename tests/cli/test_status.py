"""`status` on a terminal, in a pipe, and as a document."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import forked
from cli.commands import PATIENCE, arguments, bare, each_on_terminal, environment, open_terminal, run, run_each, until
from cli.conftest import World
from recvault.cli import bars
from recvault.cli.app import App
from recvault.cli.bars import BLOCKS, PLAIN, Series, bar
from recvault.cli.tables import Beside, cell
from recvault.dispatch.backfill import Asked
from recvault.ledger.daemon_lock import DaemonLock, DaemonTrouble
from recvault.monitoring.risks import Risk
from recvault.simulator import Simulator
from rig import Rig, now
from strict_s3 import Bucket

STYLE = re.compile(r"\x1b\[[0-9;]*m")
FIRST, LAST = date(2026, 10, 1), date(2026, 10, 30)


@pytest.fixture
def troubled(rig: Rig, simulator: Simulator) -> Rig:
    """Three sources after a pass: one that failed since, one no longer configured, one new."""
    for name in ("good", "left"):
        account = simulator.add_account("twilio")
        simulator.populate(account, "voice", count=2, conference_share=0)
        rig.add_source(name, "twilio", account)
    rig.sync()
    rig.sources = [source for source in rig.sources if source["name"] == "good"]
    token = Path(rig.sources[0]["auth_token"]["file"])
    right = token.read_text()
    token.write_text("f" * 32)
    rig.sync()
    token.write_text(right)
    rig.add_source("fresh", "twilio", simulator.add_account("twilio"))
    return rig


def test_what_was_brought_home_before_any_scan_is_counted(rig: Rig, simulator: Simulator) -> None:
    """An account archived only by a named backfill counts its recordings, and is not new."""
    account = simulator.add_account("twilio")
    recordings = simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    with rig.runtime(now) as runtime:
        named = Asked(recordings=tuple(each.recording_id for each in recordings[:2]))
        assert runtime.backfill("voice", named).exit_code == 0
    (ran,) = run_each(rig, ["status", "--json"])
    (row,) = ran.document["sources"]
    assert (row["condition"], row["counts"]["archived"], row["counts"]["pending"]) == ("ok", 2, 0)
    assert ran.document["verdict"] | {"details": ...} == {
        "safe": False,
        "reasons": [f"voice {account.account_id}: not scanned yet"],
        "details": ...,
    }


def test_the_document_tells_every_sources_condition(troubled: Rig) -> None:
    """The document has condition and message of every source, also a removed one, and archived days."""
    (ran,) = run_each(troubled, ["status", "--json"])
    rows = {row["source"]: row for row in ran.document["sources"]}
    conditions = {name: row["condition"] for name, row in rows.items()}
    assert conditions == {"good": "failing", "left": "unconfigured", "fresh": "new"}
    assert "401" in rows["good"]["words"] and "401" in rows["good"]["error"]
    assert "no longer in the configuration" in rows["left"]["words"]
    assert all(row["message"] == row["words"] for row in rows.values())
    assert [sum(day["recordings"] for day in rows[name]["archived_per_day"]) for name in rows] == [2, 2, 0]
    assert sum(day["bytes"] for day in rows["left"]["archived_per_day"]) > 0
    assert rows["good"]["last_archived_at"] is not None and rows["fresh"]["last_archived_at"] is None


def test_a_pipe_gets_the_table_alone_and_the_trouble_beside_it(troubled: Rig) -> None:
    """stdout has only the tab-separated table; stderr has the daemon and the problems, worst first."""
    (ran,) = run_each(troubled, ["status"])
    head, *rows = [line.split("\t") for line in ran.stdout.splitlines()]
    assert {len(row) for row in rows} == {len(head)} and head[-1] == "condition"
    assert [row[-1] for row in rows] == ["failing", "unconfigured", "new"]
    verdict, daemon, *trouble = ran.stderr.splitlines()
    assert verdict.startswith("not safe: good: the last scan failed: ")
    assert daemon == "no daemon is running; nothing is polled automatically"
    accounts = {row[0]: row[1] for row in rows}
    expected = [f"good {accounts['good']} failing: ", f"left {accounts['left']} unconfigured: "]
    assert [line[: len(start)] for line, start in zip(trouble, expected, strict=False)] == expected
    assert trouble[2] == f"fresh {accounts['fresh']} new: not scanned yet"


def test_the_running_daemon_is_told_first(world: World) -> None:
    """The first line says whether a daemon runs on this ledger, since when, and its pid."""
    started = now().replace(microsecond=0) - timedelta(hours=3)
    lock = DaemonLock(world.rig.root / "ledger.db", started)
    document, plain = run_each(world.rig, ["status", "--json"], ["status"])
    lock.close()
    expected = {"pid": os.getpid(), "started_at": started.strftime("%Y-%m-%dT%H:%M:%SZ"), "errors": [], "troubles": []}
    assert document.document["daemon"] == expected
    assert f"{started:%Y-%m-%d %H:%M} UTC, pid {os.getpid()} (3 h ago)" in plain.stderr.splitlines()[1]
    assert run_each(world.rig, ["status", "--json"])[0].document["daemon"] is None


def test_what_needs_a_hand_is_counted_with_its_reasons(world: World) -> None:
    """Failures are counted, with the command that lists them and the most frequent reasons."""
    document, plain = run_each(world.rig, ["status", "--json"], ["status"])
    reasons = [{"reason": "media.document", "count": 1}]
    assert (
        document.document["needs_hand"]
        == document.document["needs_attention"]
        == {"dead": 0, "failing": 1, "quarantined": 1, "reasons": reasons}
    )
    assert plain.stderr.splitlines()[-2:] == [
        "1 failing, 1 in quarantine: `recvault failures` lists them",
        "most often: media.document 1",
    ]


def test_no_ledger_yet_is_told_in_words(rig: Rig, simulator: Simulator) -> None:
    """Before the first pass sources are new, and a line says what creates a ledger; none is created."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    plain, document = run_each(rig, ["status"], ["status", "--json"])
    assert (plain.code, document.code) == (0, 0)
    assert "no ledger yet; `recvault sync` or `recvault run` creates it" in plain.stderr
    assert [row["condition"] for row in document.document["sources"]] == ["new"]
    assert not (rig.root / "ledger.db").exists()


def test_a_busy_ledger_is_told_in_words(world: World) -> None:
    """A ledger held by another process is a temporary error that names it."""
    impatient = (
        "import sys, recvault.ledger.connection as connection\n"
        "connection.BUSY_SECONDS = 0.2\n"
        "from recvault.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", impatient, "--config", str(world.rig.config_path), "status", "--json"]
    with contextlib.closing(sqlite3.connect(world.rig.root / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        code, stdout, stderr = forked.run(command, environment(world.rig.root), world.rig.root, PATIENCE)
        other.execute("ROLLBACK")
    assert (code, stdout) == (75, ""), stderr
    assert "ledger.db is locked by another process" in stderr


def test_ages_read_as_people_say_them() -> None:
    """Ages get coarser with length, and past times read as due; a script gets timestamps."""
    moment = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
    ages = [timedelta(seconds=65), timedelta(hours=3, seconds=4), timedelta(days=2, minutes=5)]
    assert [cell(Beside(moment - age, moment)) for age in ages] == ["1 min 5 s ago", "3 h ago", "2 d ago"]
    assert cell(Beside(moment + timedelta(minutes=4), moment, awaited=True)) == "in 4 min"
    assert cell(Beside(moment - timedelta(minutes=4), moment, awaited=True)) == "due"


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_terminal_shows_all_of_it_within_its_width(world: World, columns: int) -> None:
    """Bars by day, conditions and problems fit into the terminal's width."""
    (shown,) = each_on_terminal(world.rig, ["status"], columns=columns)
    plain = STYLE.sub("", shown)
    assert max(len(line) for line in plain.splitlines() if "recvault --config" not in line) <= columns
    (line,) = [line for line in plain.splitlines() if line.startswith("voice ") and "recordings," in line]
    days = "%m-%d" if columns == 80 else "%Y-%m-%d"
    today = now().date()
    name, first, shown_bar, last, *totals = line.split()
    assert (name, totals[:2]) == ("voice", ["6", "recordings,"])
    assert len(shown_bar) == 30 and set(shown_bar) == {"·", "█"}
    assert (first, last) == (f"{today - timedelta(days=29):{days}}", f"{today:{days}}")
    assert "1 failing, 1 in quarantine" in plain and "most often: media.document 1" in plain


def test_a_terminal_that_cannot_show_blocks_gets_digits(world: World) -> None:
    """If stdout's encoding has no block characters, the output is plain ASCII."""
    (shown,) = each_on_terminal(world.rig, ["status"], columns=100, env={"PYTHONIOENCODING": "ascii"})
    assert shown.isascii()
    assert re.search(r"voice +\S+ \.+8\.* \S+  6 recordings,", shown)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([0, 1, 1000], "·▁█"), ([0, 0], "··"), ([4, 8, 6, 1], "▄█▆▁"), ([], ""), ([7], "█")],
    ids=["least", "none", "eighths", "empty", "one"],
)
def test_a_bar_shows_any_recording_at_all(counts: list[int], expected: str) -> None:
    """The busiest day has a full bar, and a single recording is still visible beside thousands."""
    assert bar(counts, BLOCKS) == expected
    assert bar(counts, PLAIN) == "".join(PLAIN[BLOCKS.index(each)] for each in expected)


def test_days_of_several_accounts_are_summed_by_source() -> None:
    """A source's bars sum its accounts; days outside the range are not in its totals."""
    days = [(FIRST, 2, 10), (FIRST, 3, 20), (LAST, 1, 5), (FIRST - timedelta(days=1), 9, 9)]
    series = Series.of("voice", FIRST, LAST, days)
    assert (series.recordings[0], series.recordings[-1], sum(series.recordings), series.bytes) == (5, 1, 6, 35)
    (line,) = bars.lines([series], encoding="utf-8", width=120)
    assert line == f"voice  2026-10-01 █{'·' * 28}▂ 2026-10-30  6 recordings, 35 B"
    (short,), (shorter,) = (bars.lines([series], encoding="utf-8", width=width) for width in (len(line) - 1, 60))
    assert short == f"voice  10-01 █{'·' * 28}▂ 10-30  6 recordings, 35 B"
    assert shorter == f"voice  10-01 █{'·' * 28}▂ 10-30  6, 35 B"


def test_watch_writes_over_the_page_and_ends_by_a_signal(world: World) -> None:
    """Each page overwrites the last, the screen is cleared once, and Ctrl-C exits 130."""
    ours, theirs = open_terminal(12, 90)
    environ = environment(world.rig.root, TERM="xterm-256color")
    command = arguments(world.rig, "status", "--watch")
    process = forked.popen(command, environ, stdin=theirs, stdout=theirs, stderr=theirs, cwd=world.rig.root)
    os.close(theirs)
    shown = bytearray()

    def pages(wanted: int) -> bool:
        if select.select([ours], [], [], 0.1)[0]:
            shown.extend(os.read(ours, 65536))
        return shown.count(b"\x1b[J") >= wanted

    try:
        until(lambda: pages(1), PATIENCE)
        lock = DaemonLock(world.rig.root / "ledger.db", now())
        until(lambda: pages(3), PATIENCE)
        lock.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    first, *_, last, _ = shown.decode().split("\x1b[J")
    assert shown.count(b"\x1b[2J") == 1 and "no daemon is running" in first
    assert "the daemon has been running since" in last and last.count("\x1b[H") == 1
    assert last.count("\n") == 11 and "more lines" in last  # in a window of 12 lines


def test_the_verdict_comes_first_and_can_be_an_exit_code(rig: Rig, simulator: Simulator) -> None:
    """The verdict is first: safe, or not safe because of the daemon, dead recordings or nothing listed."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    (before,) = run_each(rig, ["status", "--exit-code"])
    assert (before.code, before.stderr.splitlines()[0]) == (3, "not safe: no pass has run yet (and 1 more)")
    rig.sync()
    well, document = run_each(rig, ["status", "--exit-code"], ["status", "--json"])
    assert (well.code, well.stderr.splitlines()[0]) == (0, "safe: 3 archived, 0 waiting, none lost")
    assert document.document["verdict"] == {"safe": True, "reasons": [], "details": []}
    assert document.document["sources"][0]["lag_beyond_lookback_seconds"] < 60
    lock = DaemonLock(rig.root / "ledger.db", now())
    lock.tell([DaemonTrouble("bucket", "bucket: the store answered AccessDenied", "recvault check")])
    ill, told = run_each(rig, ["status", "--exit-code"], ["status", "--json"])
    lock.close()
    assert ill.code == 3
    assert ill.stderr.splitlines()[0] == "not safe: bucket: the store answered AccessDenied"
    assert (
        told.document["daemon"]["troubles"]
        == told.document["daemon"]["errors"]
        == ["bucket: the store answered AccessDenied"]
    )


def test_a_bucket_that_the_last_pass_could_not_use_is_not_safe(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket
) -> None:
    """Without a daemon, `status` says so until a pass finds the bucket well again."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    strict_bucket.denied.add("PUT")
    simulator.populate(account, "voice", count=3, start=simulator.now - timedelta(minutes=5), conference_share=0)
    assert rig.sync().exit_code == 77
    (ill,) = run_each(rig, ["status", "--exit-code"])
    strict_bucket.denied.clear()
    rig.sync(lambda: now() + timedelta(hours=1))
    (well,) = run_each(rig, ["status", "--exit-code"])
    assert ill.code == 3 and ill.stderr.startswith("not safe: bucket: the store answered AccessDenied for ")
    assert (well.code, well.stderr.splitlines()[0]) == (0, "safe: 6 archived, 0 waiting, none lost")


def test_what_only_the_configuration_can_change_is_not_safe_at_once(rig: Rig, simulator: Simulator) -> None:
    """A source whose every recording fails by its configuration is not safe after the first pass, nor dead or stale;
    it is safe after the first pass with a correct one."""
    account = simulator.add_account("telnyx")
    simulator.populate(account, "telnyx", count=3)
    rig.add_source("main", "telnyx", account, media_hosts=[])
    rig.sync()
    ill, document = run_each(rig, ["status", "--exit-code"], ["status", "--json"])
    rig.sources.clear()
    rig.add_source("main", "telnyx", account)
    rig.sync(lambda: now() + timedelta(hours=1))
    (well,) = run_each(rig, ["status", "--exit-code"])
    assert (ill.code, ill.stderr.splitlines()[0]) == (
        3,
        "not safe: main: recordings fail until the configuration is corrected: media.unsafe_address",
    )
    assert [each["risk"] for each in document.document["verdict"]["details"]] == ["configuration"]
    assert document.document["sources"][0]["condition"] == "attention"
    assert (well.code, well.stderr.splitlines()[0]) == (0, "safe: 3 archived, 0 waiting, none lost")


def test_a_pass_beside_a_daemon_does_not_speak_for_it(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> None:
    """What a `sync` by hand met at the bucket, perhaps with other credentials, is over when the daemon has ended."""
    account = simulator.add_account("twilio")
    rig.add_source("voice", "twilio", account)
    rig.sync()
    lock = DaemonLock(rig.root / "ledger.db", now())
    strict_bucket.denied.add("PUT")
    simulator.populate(account, "voice", count=1, start=simulator.now - timedelta(minutes=5), conference_share=0)
    assert rig.sync().exit_code == 77
    lock.close()
    (after,) = run_each(rig, ["status"])
    assert after.stderr.startswith("safe: 0 archived, 1 waiting")


def test_a_daemon_that_was_not_stopped_is_not_safe(rig: Rig, simulator: Simulator) -> None:
    """Killed, or ended by an error: nothing is polled, however well the last pass went; a clean stop is no trouble."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sync()
    lock = DaemonLock(rig.root / "ledger.db", now())
    named = (rig.root / "ledger.db.daemon").read_text()
    lock.close("the bucket refuses the credentials")
    (ended,) = run_each(rig, ["status"])
    (rig.root / "ledger.db.daemon").write_text(named)
    (killed,) = run_each(rig, ["status", "--exit-code"])
    DaemonLock(rig.root / "ledger.db", now()).close()
    (stopped,) = run_each(rig, ["status", "--exit-code"])
    who = f"(pid {os.getpid()})"
    told = f"{who} ended with an error: the bucket refuses the credentials; nothing is polled automatically"
    assert ended.stderr.splitlines()[0].startswith("not safe: the daemon that started at ")
    assert ended.stderr.splitlines()[0].endswith(told)
    assert f"{who} died: it was killed, or the machine went down" in killed.stderr.splitlines()[0]
    assert (killed.code, stopped.code) == (3, 0)


def test_one_source_is_told_in_depth(world: World) -> None:
    """Watermark, lag, counts, what fails for which reason, next attempt and what to do; nothing of another source."""
    whole, document, unknown = run_each(
        world.rig, ["status", "voice"], ["status", "voice", "--json"], ["status", "nobody"]
    )
    facts = dict(re.findall(r"^(\w[\w ]+?) {2,}(.+)$", whole.stdout, re.MULTILINE))
    names = ("source", "account", "condition", "watermark", "last success", "recordings", "last archived")
    assert set(names) | {"oldest pending", "next attempt"} <= set(facts)
    assert facts["source"] == "voice (twilio)"
    assert facts["recordings"] == "1 pending, 1 failing, 1 not ready, 6 archived, 1 gone, 1 external, 1 quarantined"
    assert whole.stdout.splitlines()[0] == "not safe: voice: 1 row in quarantine"
    assert "      1 failing voice  media.document  since " in whole.stdout and "telnyx" not in whole.stdout
    assert [row["source"] for row in document.document["sources"]] == ["voice"]
    assert [(row["reason"], row["count"]) for row in document.document["failure_reasons"]] == [("media.document", 1)]
    assert [each["source"] for each in document.document["verdict"]["details"]] == ["voice"]
    assert (unknown.code, "there is no source named nobody" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("columns", [80, 100])
def test_one_source_fits_a_terminal(world: World, columns: int) -> None:
    """No line is wider than the window, but a command, which must be copied whole."""
    (shown,) = each_on_terminal(world.rig, ["status", "voice"], columns=columns)
    lines = [line for line in STYLE.sub("", shown).splitlines() if f"--config {world.rig.config_path}" not in line]
    assert max(map(len, lines)) <= columns


def test_each_command_that_is_named_works_as_it_is_typed(rig: Rig, simulator: Simulator) -> None:
    """Whatever is wrong: what `status` names to type is a command of ours, with the configuration that was given."""
    rig.transfer = {"max_attempts": 1}
    account = simulator.add_account("twilio")
    broken = simulator.add(account, "voice", created_at=simulator.now - timedelta(days=2))
    simulator.add(account, "voice", malformed="bad_date", created_at=simulator.now - timedelta(days=2))
    simulator.faults.plan("error_body_200", match=broken.recording_id, times=99, kind="media")
    rig.add_source("voice", "twilio", account)
    rig.sync()
    rig.add_source("fresh", "twilio", simulator.add_account("twilio"))
    lock = DaemonLock(rig.root / "ledger.db", now())
    kinds = [(Risk.RELOAD, "recvault check --config-only"), (Risk.BUG, "recvault support-bundle")]
    lock.tell([DaemonTrouble(kind.value, "something", command) for kind, command in kinds])
    whole, document = run_each(rig, ["status", "voice"], ["status", "--json"])
    lock.close()
    told = {each["risk"]: each["command"] for each in document.document["verdict"]["details"]}
    assert set(told) == {"dead", "quarantined", "unseen", "reload", "bug"}
    typed = [shlex.split(line) for line in whole.stdout.splitlines() if line.lstrip().startswith("recvault ")]
    hinted = [shlex.split(each) for each in re.findall(r"`(recvault [^`]+)`", whole.stdout)]
    assert {tuple(command.split()[1:]) for risk, command in told.items() if risk != "unseen"} <= {
        tuple(words[3:]) for words in typed
    }
    assert [words[:3] for words in typed + hinted] == [["recvault", "--config", str(rig.config_path)]] * (
        len(typed) + len(hinted)
    )
    chosen = [words[3:] for words in [*typed, *hinted]]
    assert ["retry", "--source", "voice", "--reason", "media.document"] in chosen
    assert all(ran.code in (0, 3) for ran in run_each(rig, *chosen, told["unseen"].split()[1:])), chosen


def test_a_command_names_the_configuration_that_was_given() -> None:
    """A command alone, and each in backticks in a text; without --config they stay as they are."""
    options = {"verbose": 0, "quiet": False, "log_format": None}
    app = App(config=Path("/etc/a b.toml"), **options)  # type: ignore[arg-type]
    assert app.typed("recvault check") == "recvault --config '/etc/a b.toml' check"
    assert app.typed("see `recvault show X` or recvault") == (
        "see `recvault --config '/etc/a b.toml' show X` or recvault"
    )
    assert App(config=None, **options).typed("`recvault check`") == "`recvault check`"  # type: ignore[arg-type]


def test_what_is_tried_again_is_safe_and_told(rig: Rig, simulator: Simulator) -> None:
    """A recording that failed, and is not dead, puts nothing at risk yet; the first line counts it."""
    account = simulator.add_account("twilio")
    made = simulator.populate(account, "voice", count=2, conference_share=0)
    simulator.faults.plan("error_body_200", match=made[0].recording_id, times=99, kind="media")
    rig.transfer = {"retry_base": "1h", "retry_max": "2h"}
    rig.add_source("voice", "twilio", account)
    rig.sync()
    (ran,) = run_each(rig, ["status", "--exit-code"])
    first = ran.stderr.splitlines()[0]
    assert (ran.code, first) == (0, "safe: 1 archived, 1 waiting (1 failing, tried again), none lost")


def test_an_account_that_was_corrected_does_not_haunt_its_source(rig: Rig, simulator: Simulator) -> None:
    """A mistyped account that never listed anything disappears when the configuration is corrected."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    right = rig.sources[0]["account_sid"]
    rig.sources[0]["account_sid"] = "AC" + "0" * 32
    assert rig.sync().exit_code != 0
    rig.sources[0]["account_sid"] = right
    assert rig.sync().exit_code == 0
    (ran,) = run_each(rig, ["status", "--json"])
    assert [row["account_id"] for row in ran.document["sources"]] == [right]
    assert ran.document["verdict"]["safe"]


def test_what_a_command_lacks_is_not_the_daemons_trouble(rig: Rig, simulator: Simulator) -> None:
    """A manual pass without its secret fails alone; the source's state stays that of the daemon's polls."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.sync()
    daemon = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(rig.root / "ledger.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None and daemon.stdin is not None
    daemon.stdout.readline()
    rig.sources[0]["auth_token"] = {"env": "NOT_SET_HERE"}
    try:
        failed, after = run_each(rig, ["sync"], ["status", "--json"])
    finally:
        daemon.stdin.close()
        daemon.wait(PATIENCE)
        daemon.stdout.close()
    assert failed.code == 78
    assert after.document["sources"][0]["condition"] == "ok"


_HOLDS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from recvault.ledger import DaemonLock
lock = DaemonLock(Path(sys.argv[1]), datetime.now(UTC))
print("held", flush=True)
sys.stdin.read()
lock.close()
"""


def test_a_wrong_configuration_does_not_hide_the_daemon(rig: Rig, simulator: Simulator) -> None:
    """With a wrong configuration, exit 78 lists every problem, and says that the daemon still runs."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    rig.sync()
    lock = DaemonLock(rig.root / "ledger.db", now())
    path = rig.root / "broken.toml"
    path.write_text(rig.config_path.read_text() + "\n[archive2]\n")
    ran = bare(rig.root, "--config", str(path), "status")
    lock.close()
    assert (ran.code, ran.stdout) == (78, "")
    assert "the daemon has been running since" in ran.stderr
    assert "with the previous configuration" in ran.stderr
    assert "archive2" in ran.stderr


def test_the_last_success_of_the_catalog_is_told(rig: Rig, simulator: Simulator) -> None:
    """Where the catalog is enabled, page and document say when it was last written; elsewhere nothing."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    assert rig.sync().exit_code == 0
    assert run(rig, "status", "--json").document["catalog"] is None
    rig.catalog = {"enabled": True}
    page, document = run(rig, "status"), run(rig, "status", "--json").document
    assert "the catalog was not written yet" in page.stderr.splitlines()
    assert document["catalog"] == {"written_at": None}
    assert run(rig, "catalog").code == 0
    page, document = run(rig, "status"), run(rig, "status", "--json").document
    [line] = [each for each in page.stderr.splitlines() if "catalog" in each]
    assert re.fullmatch(r"the catalog was last written 20\d\d-.* \(.*\)", line)
    assert document["catalog"]["written_at"].startswith("20")
