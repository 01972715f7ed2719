"""A new ledger from the sidecars alone is as good as the lost one, despite all obstacles."""

from __future__ import annotations

import itertools
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import forked
from cli.commands import environment, kill, run_each, until
from lines import NOW, a_recording
from recvault.archive import DEFAULT_TEMPLATE, KeyTemplate, sidecar_bytes
from recvault.cli.rebuild import _made
from recvault.errors import ConfigError, LedgerDamaged, LedgerLocked, LedgerStands, StoreUnavailable
from recvault.ledger import DaemonLock, Feed, Ledger, running_daemon
from recvault.models import Check, MediaObject, Receipt
from recvault.operations import rebuild as rebuild_module
from recvault.operations.rebuild import Rebuilt
from recvault.simulator import Simulator
from rig import Rig, now, sha256
from strict_s3 import Bucket

KILLED_HERE = """
import sys, recvault.operations.rebuild as rebuild
rebuild._BATCH = 4
from recvault.cli import main
main(sys.argv[1:])
"""
PLACED_HERE = """
import os, sys
from recvault.cli import main
from recvault.operations.rebuild import Rebuild
run = Rebuild.run
def told(self, **options):
    print(len(os.sched_getaffinity(0)), flush=True)
    return run(self, **options)
Rebuild.run = told
main(sys.argv[1:])
"""
ROWS = """
    SELECT provider, account_id, recording_id, source, api, created_at, state, next_attempt_at, lease, sidecar_key,
           sidecar_sha256, bytes, media FROM recordings ORDER BY recording_id, account_id
"""


@pytest.fixture
def archived(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """Three accounts of two sources, all archived: sub-accounts, two formats, external recordings."""
    rig.s3_url, rig.bucket = strict_bucket.url, strict_bucket.name
    voice, telnyx = simulator.add_account("twilio"), simulator.add_account("telnyx")
    for account, count in ((voice, 12), (simulator.add_account("twilio", parent=voice), 3)):
        simulator.populate(account, "voice", count=count, conference_share=0)
    simulator.populate(telnyx, "telnyx", count=5)
    simulator.add(voice, "voice", status_final="absent", created_at=simulator.now - timedelta(days=2))
    rig.add_source("voice", "twilio", voice, subaccounts=True, formats=["wav", "mp3"])
    rig.add_source("telnyx", "telnyx", telnyx)
    rig.sync()
    strict_bucket.clear_counts()
    return rig


@pytest.fixture
def placed(rig: Rig, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """Twenty sidecars in the bucket and an earlier ledger, without a pass or a provider."""
    rig.s3_url, rig.bucket = strict_bucket.url, strict_bucket.name
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    place(strict_bucket, DEFAULT_TEMPLATE)
    with closing(Ledger.open(rig.root / "ledger.db", now())) as ledger:
        ledger.register(Feed("voice", "twilio", "AC1"), [a_recording(n) for n in range(200)], [], now(), timedelta())
    return rig


def place(bucket: Bucket, template: str) -> None:
    """Put the sidecars of twenty passes, without media."""
    keys = KeyTemplate(template)
    for number in range(20):
        recording = a_recording(number)
        media = (medium(keys(recording, "wav")),)
        receipt = Receipt(
            source="voice",
            recording=recording,
            sidecar_key=keys(recording, "json"),
            media=media,
            archived_at=NOW + timedelta(hours=number),
        )
        body = sidecar_bytes(receipt, attempts=1, fetched_from=None, formats_wanted=["wav"])
        bucket.place(receipt.sidecar_key, body, sha256=sha256(body))


def medium(key: str) -> MediaObject:
    return MediaObject(
        key=key,
        media_format="wav",
        bytes=44,
        sha256="00" * 32,
        content_type="audio/wav",
        codec="pcm_s16le",
        sample_rate=8000,
        channels=1,
        duration_seconds=1.0,
        check=Check(status="ok", method="wav sizes"),
    )


def path_of(rig: Rig) -> Path:
    return rig.root / "ledger.db"


def lose(rig: Rig) -> None:
    """Remove the ledger with all its files."""
    for each in rig.root.glob("ledger.db*"):
        if each.is_file():
            each.rename(rig.root / f"lost-{each.name}")


def damage(rig: Rig) -> bytes:
    """Cut the ledger in half and write these bytes."""
    half = path_of(rig).read_bytes()[: path_of(rig).stat().st_size // 2]
    path_of(rig).write_bytes(half)
    return half


def rebuilt(
    rig: Rig,
    *,
    set_aside: bool = False,
    on_read: Callable[[Rebuilt], None] = lambda _: None,
    earlier: Sequence[str] = (),
) -> Rebuilt:
    with rig.runtime() as runtime:
        return _made(runtime, on_read, earlier).run(set_aside=set_aside)


def rows(path: Path, query: str = ROWS) -> list[Any]:
    with closing(sqlite3.connect(path)) as plain:
        return plain.execute(query).fetchall()


def counts(rig: Rig) -> dict[str, Any]:
    """Return each account's archived recordings in `status`."""
    (ran,) = run_each(rig, ["status", "--json"])
    sources = ran.document["sources"]
    return {
        f"{row['source']} {row['account_id']}": (row["counts"]["archived"], row["archived_per_day"]) for row in sources
    }


def sidecar(bucket: Bucket, number: int = 0) -> str:
    return sorted(key for key in bucket.objects if key.endswith(".json") and not key.startswith("schemas/"))[number]


def change(bucket: Bucket, key: str, **values: Any) -> None:
    """Change a sidecar, with a matching hash."""
    bucket.place(key, json.dumps({**json.loads(bucket.body(key)), **values}).encode())


# -- what it makes -----------------------------------------------------------------------------------------------------


def test_the_new_ledger_is_as_good_as_the_old_one(archived: Rig, strict_bucket: Bucket) -> None:
    """Every archived row and all counts are as before; each sidecar is read once, and the records of deletions."""
    before, shown = rows(path_of(archived)), counts(archived)
    lose(archived)

    made = rebuilt(archived)

    assert (made.outcome, made.exit_code, made.sidecars, made.archived) == ("ok", 0, 20, 20)
    assert dict(strict_bucket.counts) == {"LIST": 2, "GET": 20}
    kept = [row for row in before if row[6] == "archived"]
    assert (len(before), len(kept)) == (21, 20)
    assert rows(path_of(archived)) == kept
    assert counts(archived) == shown
    settled = rows(path_of(archived), "SELECT recording_id, settled_at, attempts FROM recordings")
    sidecars = archived.sidecars()
    whole = {name: each["archive"]["archived_at"] for name, each in sidecars.items()}
    assert {name: at.replace(".000000Z", "Z") for name, at, _ in settled} == whole
    assert {attempts for _, _, attempts in settled} == {1}
    assert rows(path_of(archived), "SELECT watermark, last_success_at FROM feeds") == [(None, None)] * 3


def test_a_sync_afterwards_downloads_and_writes_nothing(
    archived: Rig, simulator: Simulator, strict_bucket: Bucket
) -> None:
    """The next sync lists all history once, and requests nothing about archived recordings."""
    lose(archived)
    rebuilt(archived)
    objects = dict(strict_bucket.objects)
    strict_bucket.clear_counts()

    report = archived.sync()

    listed = {row.account_id: (row.listed, row.archived, row.already_archived) for row in report.accounts.values()}
    assert sorted(listed.values()) == [(3, 0, 0), (5, 0, 0), (13, 0, 0)]
    assert (report.exit_code, strict_bucket.counts["GET"], strict_bucket.counts["HEAD"]) == (0, 0, 0)
    assert set(strict_bucket.writes) == {"schemas/sidecar-v1.json"}  # written once to test what the store enforces
    assert {key: kept.sha256 for key, kept in strict_bucket.objects.items()} == {
        key: kept.sha256 for key, kept in objects.items()
    }


def test_what_the_lost_ledger_had_not_archived_comes_home(
    archived: Rig, simulator: Simulator, strict_bucket: Bucket
) -> None:
    """Recordings that were failing or unlisted are registered by the next pass, and archived."""
    account = list(simulator._world.accounts.values())[1]
    late = simulator.add(account, "telnyx", created_at=simulator.now - timedelta(days=1))
    lose(archived)
    rebuilt(archived)
    archived.sync()
    assert late.recording_id in archived.sidecars()
    assert len(rows(path_of(archived))) == 22


def test_a_source_of_an_earlier_configuration_is_known_all_the_same(archived: Rig) -> None:
    """A removed source's recordings are in the ledger, and `status` shows it as not configured."""
    del archived.sources[0]
    lose(archived)
    made = rebuilt(archived)
    assert {(each.source, each.recordings) for each in made.accounts} == {("voice", 12), ("voice", 3), ("telnyx", 5)}
    assert {each["source"]: each["configured"] for each in made.document()["sources"]} == {
        "voice": False,
        "telnyx": True,
    }
    (ran,) = run_each(archived, ["status", "--json"])
    assert {row["condition"] for row in ran.document["sources"] if row["source"] == "voice"} == {"unconfigured"}


# -- sidecars that are none --------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[Callable[[Bucket, str], None], str]] = {
    "not JSON": (lambda bucket, key: bucket.place(key, b'{"schema": "recv'), "Unterminated"),
    "empty": (lambda bucket, key: bucket.place(key, b""), "Expecting value"),
    "nested": (lambda bucket, key: bucket.place(key, b"[" * 100_000), "recursion"),
    "another schema": (lambda bucket, key: change(bucket, key, schema="recvault/sidecar/v9"), "schema"),
    "no media": (lambda bucket, key: change(bucket, key, media=[]), "media"),
    "a day that is none": (lambda bucket, key: change(bucket, key, created_at="2026-13-45T00:00:00Z"), "month"),
    "another recording": (
        lambda bucket, key: change(bucket, key, recording_id="REother"),
        "not under the key of its recording",
    ),
    "invalid text": (lambda bucket, key: change(bucket, key, source="\udc80"), "surrogates"),
    "changed since": (lambda bucket, key: bucket.place(key, bucket.body(key) + b" ", sha256="0" * 64), "SHA-256"),
    "too large": (lambda bucket, key: bucket.place(key, b" " * ((16 << 20) + 1)), "too large to be a sidecar"),
}


def test_sidecars_that_cannot_be_read_are_told_and_hold_back_no_other(placed: Rig, strict_bucket: Bucket) -> None:
    """Unreadable sidecars are reported with the reason, exit 3; all others are in the new ledger."""
    spoiled = {sidecar(strict_bucket, number): each for number, each in enumerate(BROKEN)}
    for key, name in spoiled.items():
        BROKEN[name][0](strict_bucket, key)
    lose(placed)

    made = rebuilt(placed)

    counted = (made.outcome, made.exit_code, made.archived, made.unreadable)
    assert counted == ("partial", 3, 20 - len(BROKEN), len(BROKEN))
    reasons = {spoiled[problem.key]: problem.reason for problem in made.problems}
    assert [name for name, (_, words) in BROKEN.items() if words not in reasons[name]] == []
    assert len(rows(path_of(placed))) == made.archived


def test_numbers_beyond_the_ledger_s_are_told(placed: Rig, strict_bucket: Bucket) -> None:
    """Numbers beyond 64 bits in a sidecar are reported."""
    key = sidecar(strict_bucket)
    media = [{**each, "bytes": 1 << 70} for each in json.loads(strict_bucket.body(key))["media"]]
    change(strict_bucket, key, media=media)
    lose(placed)
    assert "too large" in rebuilt(placed).problems[0].reason


def test_a_second_sidecar_of_a_recording_is_told(placed: Rig, strict_bucket: Bucket) -> None:
    """A second sidecar of a recording, as by an earlier template, is reported; the recording counts once."""
    key = sidecar(strict_bucket)
    second = key.replace("/date=", "/moved/date=")
    strict_bucket.place(second, strict_bucket.body(key))
    lose(placed)
    made = rebuilt(placed, earlier=[DEFAULT_TEMPLATE.replace("/date=", "/moved/date=")])
    assert (made.exit_code, made.sidecars, made.archived, made.seconds) == (0, 21, 20, 1)
    assert (made.problems[0].key, key in made.problems[0].reason) == (second, True)


STRANGE: dict[str, Callable[[Bucket, str], str]] = {
    "of another account": lambda bucket, key: moved(bucket, key, key.replace("account=AC", "account=XX")),
    "of another provider": lambda bucket, key: moved(bucket, key, key.replace("provider=twilio", "provider=telnyx")),
    "on another day": lambda bucket, key: moved(bucket, key, key.replace("/date=2", "/date=3")),
    "below its folder": lambda bucket, key: moved(bucket, key, key.replace("/date=", "/x/date=")),
    "with another ending": lambda bucket, key: moved(bucket, key, key.replace(".json", ".json.json")),
    "elsewhere": lambda bucket, key: moved(bucket, key, "recordings/provider=notes/sidecar.json"),
    "of another's media": lambda bucket, key: with_medium(bucket, key, "recordings/provider=twilio/other.wav"),
    "of another recording's media": lambda bucket, key: with_medium(
        bucket, key, sidecar(bucket, 19).replace(".json", ".wav")
    ),
    "of media outside": lambda bucket, key: with_medium(bucket, key, "../../etc/passwd"),
    "of itself as a medium": lambda bucket, key: with_medium(bucket, key, key),
}


def moved(bucket: Bucket, key: str, to: str) -> str:
    """Move a sidecar unchanged to another key."""
    bucket.objects[to] = bucket.objects.pop(key)
    return to


def with_medium(bucket: Bucket, key: str, medium: str) -> str:
    """Return a sidecar that names another medium."""
    media = json.loads(bucket.body(key))["media"]
    change(bucket, key, media=[{**media[0], "key": medium}])
    return key


@pytest.mark.parametrize("strange", STRANGE)
def test_a_sidecar_that_is_not_in_its_own_place_is_refused(placed: Rig, strict_bucket: Bucket, strange: str) -> None:
    """A sidecar under another key, or with another's media, is refused and counted, exit 3."""
    key = STRANGE[strange](strict_bucket, sidecar(strict_bucket))
    lose(placed)
    made = rebuilt(placed)
    assert (made.exit_code, made.sidecars, made.archived, made.foreign, made.unreadable) == (3, 20, 19, 1, 1)
    assert [problem.key for problem in made.problems] == [key]
    assert re.search("not under the key of its recording|a key of another recording", made.problems[0].reason)
    assert made.document()["foreign"] == 1
    assert rows(path_of(placed), "SELECT count(*) FROM recordings WHERE sidecar_key = '" + key + "'") == [(0,)]


def test_an_earlier_template_is_named(placed: Rig, strict_bucket: Bucket) -> None:
    """Sidecars of an earlier template are refused until it is given, then all are used."""
    placed.archive = {"key_template": "recordings/{provider}/{account}/{recording_id}.{ext}"}
    lose(placed)
    assert (rebuilt(placed).foreign, rows(path_of(placed), "SELECT count(*) FROM recordings")) == (20, [(0,)])
    lose(placed)
    (wrong, ran) = run_each(
        placed,
        ["rebuild", "--earlier-template", "{provider}.{ext}"],
        ["rebuild", "--json", "--earlier-template", DEFAULT_TEMPLATE],
    )
    assert (wrong.code, "must contain {account} exactly once" in wrong.stderr) == (2, True)
    assert (ran.code, ran.document["archived"], ran.document["foreign"]) == (0, 20, 0)


def test_other_json_of_the_bucket_is_no_sidecar(placed: Rig, strict_bucket: Bucket) -> None:
    """Catalog, manifests and schemas are no sidecars, even if the template begins at the prefix."""
    placed.archive = {"key_template": "{provider}/{account}/{recording_id}.{ext}"}
    strict_bucket.objects.clear()
    place(strict_bucket, "{provider}/{account}/{recording_id}.{ext}")
    for name in ("catalog/a.json", "manifests/b.json"):
        strict_bucket.place(name, b"{}")
    lose(placed)
    made = rebuilt(placed)
    assert (made.exit_code, made.sidecars, made.unreadable) == (0, 20, 0)


def test_a_bucket_without_sidecars_makes_no_ledger(placed: Rig, strict_bucket: Bucket) -> None:
    """A bucket without sidecars exits 78, and an existing file stays."""
    placed.archive = {"prefix": "elsewhere"}
    half = damage(placed)
    with pytest.raises(ConfigError, match=r"no sidecars in .* under elsewhere/recordings/"):
        rebuilt(placed, set_aside=True)
    assert path_of(placed).read_bytes() == half


# -- what stands in its place ------------------------------------------------------------------------------------------


def test_a_sound_ledger_is_never_replaced(placed: Rig, strict_bucket: Bucket) -> None:
    """A sound ledger is never replaced: exit 2, without a request to the bucket."""
    before = path_of(placed).read_bytes()
    for set_aside in (False, True):
        with pytest.raises(LedgerStands, match="is sound: nothing was done") as caught:
            rebuilt(placed, set_aside=set_aside)
        assert caught.value.exit_code == 2
    assert path_of(placed).read_bytes() == before
    assert strict_bucket.counts.total() == 0


def test_a_damaged_ledger_is_kept_under_another_name(placed: Rig) -> None:
    """A damaged ledger is set aside with all its files, only if requested."""
    half = damage(placed)
    path_of(placed).with_name("ledger.db-wal").write_bytes(b"what is left of a WAL")
    with pytest.raises(LedgerDamaged, match="damaged") as caught:
        rebuilt(placed)
    assert "--set-aside" in caught.value.hint
    assert path_of(placed).read_bytes() == half

    made = rebuilt(placed, set_aside=True)

    assert made.set_aside is not None
    assert made.set_aside.name.startswith("ledger.db.damaged-20")
    assert made.set_aside.read_bytes() == half
    assert made.set_aside.with_name(f"{made.set_aside.name}-wal").read_bytes() == b"what is left of a WAL"
    assert len(rows(path_of(placed))) == 20
    left = {each.name for each in placed.root.glob("ledger.db*")} - {
        "ledger.db",
        "ledger.db.daemon",
        "ledger.db.owners",
    }
    assert all(name.startswith("ledger.db.damaged-") for name in left)
    assert path_of(placed).stat().st_mode & 0o777 == 0o600


def test_a_wal_that_was_left_alone_is_not_taken_for_the_new_ledger_s(placed: Rig) -> None:
    """A WAL left without its ledger is set aside, and does not affect the new one."""
    ledger = Ledger.open(path_of(placed), now())
    ledger.remember("old", "fact")
    (placed.root / "copy").write_bytes(path_of(placed).with_name("ledger.db-wal").read_bytes())
    ledger.close()
    lose(placed)
    (placed.root / "copy").rename(path_of(placed).with_name("ledger.db-wal"))

    rebuilt(placed)

    with closing(Ledger.open(path_of(placed), now())) as opened:
        assert opened.fact("old") is None
        assert opened.ask.accounts("voice") == ["AC1"]
    assert [each.name for each in placed.root.glob("ledger.db.damaged-*-wal")] != []


def test_an_empty_file_that_a_first_start_left_is_no_ledger(placed: Rig) -> None:
    """An empty file of an interrupted start is replaced."""
    lose(placed)
    path_of(placed).touch()
    assert rebuilt(placed).archived == 20


def test_a_ledger_that_is_made_meanwhile_stays(placed: Rig) -> None:
    """A ledger created during the rebuild is not replaced, and the work is kept."""
    lose(placed)

    def meanwhile(_: Rebuilt) -> None:
        Ledger.open(path_of(placed), now()).close()

    with pytest.raises(LedgerStands, match="meanwhile"):
        rebuilt(placed, on_read=meanwhile)
    assert rows(path_of(placed)) == []
    path_of(placed).unlink()
    made = rebuilt(placed)
    assert (made.resumed, made.archived) == (True, 20)


def test_whoever_works_on_the_ledger_is_not_disturbed(placed: Rig) -> None:
    """If a process still has the lost file open, exit 75 names it."""
    ledger = Ledger.open(path_of(placed), now())
    lose(placed)
    with pytest.raises(LedgerLocked, match="another recvault is using the ledger"):
        rebuilt(placed)
    ledger.close()
    lock = DaemonLock(path_of(placed), now())
    with pytest.raises(LedgerLocked, match="another daemon already uses the ledger"):
        rebuilt(placed)
    lock.close()
    assert rebuilt(placed).archived == 20
    assert running_daemon(path_of(placed)) is None


# -- cut short ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Raised for kill -9, in this process."""


def test_cut_short_it_goes_on(placed: Rig, strict_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after any batch, there is no ledger until it is complete, and nothing is read twice."""
    monkeypatch.setattr(rebuild_module, "_BATCH", 6)
    placed.transfer = {"workers": 1}
    strict_bucket.place(sidecar(strict_bucket, 1), b"broken")
    lose(placed)

    for batch in itertools.count(1):

        def strike(_: Rebuilt, left: list[int] = [batch]) -> None:  # noqa: B006 - counted down anew each time
            left[0] -= 1
            if left[0] == 0:
                raise Killed

        try:
            made = rebuilt(placed, on_read=strike)
        except Killed:
            assert not path_of(placed).exists()
        else:
            break

    assert (made.resumed, made.sidecars, made.archived, made.unreadable) == (True, 20, 19, 1)
    assert made.problems[0].key == sidecar(strict_bucket, 1)
    assert len(rows(path_of(placed))) == 19
    days = rows(path_of(placed), "SELECT sum(recordings) FROM days")
    tallies = rows(path_of(placed), "SELECT sum(count) FROM tallies WHERE state = 'archived'")
    assert (days, tallies) == ([(19,)], [(19,)])


def test_kill_9_leaves_no_half_ledger(placed: Rig, strict_bucket: Bucket) -> None:
    """After a real kill there is no ledger, and the rerun makes a complete one."""
    lose(placed)
    strict_bucket.faults.plan("slow", "GET", times=1000, seconds=0.05)
    placed.transfer = {"workers": 2}
    words = [sys.executable, "-c", KILLED_HERE, "--config", str(placed.config_path), "rebuild"]
    pipe = subprocess.PIPE
    process = forked.popen(words, environment(placed.root), stdout=pipe, stderr=pipe, text=True)
    until(lambda: strict_bucket.counts["GET"] >= 8)
    kill(process)
    assert not path_of(placed).exists()
    strict_bucket.faults.off()
    assert rebuilt(placed).archived == 20
    assert len(rows(path_of(placed))) == 20


def test_what_was_begun_of_another_bucket_is_thrown_away(placed: Rig, strict_bucket: Bucket) -> None:
    """An unfinished ledger of another bucket, or a damaged one, is discarded."""
    lose(placed)
    half = path_of(placed).with_name("ledger.db.rebuilding")
    for left in (b"half of a ledger", b""):
        half.write_bytes(left)
        assert (rebuilt(placed).resumed, len(rows(path_of(placed)))) == (False, 20)
        lose(placed)


def test_a_bucket_that_goes_away_is_temporary(
    placed: Rig, strict_bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the bucket fails, exit 75; the rerun reads only the rest."""
    monkeypatch.setattr("recvault.store.s3.retries._TRIES", 1)
    placed.transfer = {"workers": 1}
    lose(placed)
    plan = strict_bucket.faults.plan("error", "GET", times=1000, skip=10)
    with pytest.raises(StoreUnavailable) as caught:
        rebuilt(placed)
    assert (caught.value.exit_code, path_of(placed).exists(), plan.fired > 0) == (75, False, True)
    strict_bucket.faults.off()
    strict_bucket.clear_counts()
    made = rebuilt(placed)
    assert (made.resumed, made.archived, strict_bucket.counts["GET"]) == (True, 20, 10)


def test_a_stop_ends_it_soon(placed: Rig, strict_bucket: Bucket) -> None:
    """On Ctrl-C what was read is kept, the outcome is interrupted, and no ledger is in place."""
    lose(placed)
    placed.transfer = {"workers": 1}
    with placed.runtime() as runtime:
        work = _made(runtime, lambda _: None)
        strict_bucket.faults.plan("slow", "GET", times=1000, seconds=0.01)
        read = work.reader.get

        def get(key: str) -> Any:
            if strict_bucket.counts["GET"] >= 5:
                runtime.stop.asked.set()
            return read(key)

        work.reader.get = get  # type: ignore[method-assign]
        made = work.run(set_aside=False)
    assert (made.outcome, path_of(placed).exists()) == ("interrupted", False)
    assert 0 < made.sidecars < 20


def test_it_keeps_to_one_core(placed: Rig) -> None:
    """Its threads stay on one core, for its caches."""
    lose(placed)
    words = [sys.executable, "-c", PLACED_HERE, "--config", str(placed.config_path), "rebuild"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment(placed.root), check=True)
    assert (done.stdout.splitlines()[0], len(rows(path_of(placed)))) == ("1", 20)
