"""Measure each query and verb of the ledger at 100,000 and a million recordings, and its size.

    python tests/benchmarks/ledger.py [--rows N]… [--repeats N] [--cold N] [--directory DIR]

A ledger is filled by SQL; then another process uses its public methods. Cold means after the kernel dropped the file
from its cache, by a new connection. Prints tables, asserts no time. README.md in this folder explains them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from installed import add_python, installed, plain

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.remove(str(Path(__file__).parent))  # in which `ledger` would be this file

from ledger.rows import POLICY, RECHECK, receipt, recording
from recvault.ledger import Feed, Ledger
from recvault.models import Job, Receipt, Recording, Rejected

NOW = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
SOURCES = 20
_DAYS = 5 * 365  # over which all recordings are spread
_OPEN = {"pending": 3000, "failing": 2000, "not_ready": 1000, "dead": 1000, "gone": 500, "external": 500}
_QUARANTINED = 200
_REAL = 20_000  # recordings that use the ledger's own verbs, to measure its size
_PAGE, _BATCH = 1000, 50
_ACCOUNTS = [f"AC{number:032x}" for number in range(SOURCES)]
_POLICIES = {f"voice-{number}": POLICY for number in range(SOURCES)}

# Sources alternate. Ids are random, like a provider's.
_ARCHIVED = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows),
    made AS (
        SELECT i, 'RE' || lower(hex(randomblob(16))) AS id, printf('AC%032x', i % :sources) AS a,
            strftime('%Y-%m-%dT%H:%M:%S.000000Z', :first, '+' || (i * 86400 * :days / :rows) || ' seconds') AS t
        FROM n
    )
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
        state, attempts, settled_at, sidecar_key, bytes, media)
    SELECT 'twilio', a, id, 'voice-' || (i % :sources), '2010-04-01', t, t, t, 'archived', 1, t, key || '.json', 480044,
        json_array(json_array(NULL, 'wav', 480044, lower(hex(randomblob(32))), 'audio/x-wav', 'pcm_s16le', 8000, 1,
            30.0, 'ok', 'wav sizes', NULL))
    FROM (SELECT *, 'recordings/provider=twilio/account=' || a || '/date=' || substr(t, 1, 10) || '/' || id AS key
          FROM made)
"""
_OTHERS = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
    INSERT INTO recordings (provider, account_id, recording_id, source, api, created_at, registered_at, watched_since,
        state, attempts, next_attempt_at, failing_since, reason, message, settled_at)
    SELECT 'twilio', printf('AC%032x', i % :sources), 'RE' || lower(hex(randomblob(16))), 'voice-' || (i % :sources),
        '2010-04-01', :now, :now, :now, :state, 1, iif(:due, :now, NULL), iif(:fails, :now, NULL),
        iif(:fails, 'provider.unavailable', NULL), iif(:fails, 'the provider answered 503', NULL), iif(:due, NULL, :now)
    FROM n
"""
_LISTED = "INSERT INTO listed SELECT id, replace(:told, 'RE1', recording_id) FROM recordings WHERE state <> 'archived'"
_DAYS_OF_ROWS = """
    INSERT INTO days
    SELECT source, account_id, substr(settled_at, 1, 10) AS day, count(*), sum(bytes), max(settled_at)
    FROM recordings WHERE state = 'archived' GROUP BY source, account_id, day
"""
# As in the Voice API's list.
_ROW = {
    "account_sid": _ACCOUNTS[0],
    "api_version": "2010-04-01",
    "call_sid": f"CA{1:032x}",
    "conference_sid": None,
    "date_created": "Thu, 01 Oct 2026 08:56:34 +0000",
    "date_updated": "Thu, 01 Oct 2026 08:56:38 +0000",
    "start_time": "Thu, 01 Oct 2026 08:56:34 +0000",
    "duration": "30",
    "sid": "RE1",
    "price": "-0.00250",
    "price_unit": "USD",
    "status": "completed",
    "channels": 1,
    "source": "StartCallRecordingAPI",
    "error_code": None,
    "track": "both",
    "media_url": f"https://api.twilio.com/2010-04-01/Accounts/{_ACCOUNTS[0]}/Recordings/RE{1:032x}",
    "uri": f"/2010-04-01/Accounts/{_ACCOUNTS[0]}/Recordings/RE{1:032x}.json",
    "encryption_details": None,
    "subresource_uris": {
        name: f"/2010-04-01/Accounts/{_ACCOUNTS[0]}/Recordings/RE{1:032x}/{name}.json"
        for name in ("AddOnResults", "Transcriptions")
    },
}


# -- made --------------------------------------------------------------------------------------------------------------


def feed(number: int) -> Feed:
    """Return one of the twenty feeds."""
    return Feed(f"voice-{number}", "twilio", _ACCOUNTS[number])


def fresh(number: int) -> Recording:
    """Return an unknown recording."""
    name = f"RE{secrets.token_hex(16)}"
    return recording(recording_id=name, account_id=_ACCOUNTS[number], created_at=NOW, raw={**_ROW, "sid": name})


def fill(path: Path, rows: int) -> None:
    """Make a ledger of that many recordings, mostly archived, by SQL; its own triggers keep its tallies."""
    empty = Ledger.open(path, NOW - timedelta(days=_DAYS))
    for number in range(SOURCES):
        empty.advance(feed(number), NOW, NOW)
    unreadable = [
        Rejected(body=json.dumps({**_ROW, "sid": n}), reason="no date", recording_id=f"RE{n}") for n in range(10)
    ]
    for number in range(_QUARANTINED // 10):
        empty.register(feed(number % SOURCES), [], unreadable, NOW, RECHECK)
    empty.close()
    now = f"{NOW:%Y-%m-%dT%H:%M:%S.%fZ}"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA cache_size=-3000000")
        db.execute("BEGIN")
        archived = rows - sum(_OPEN.values())
        first = f"{NOW - timedelta(days=_DAYS):%Y-%m-%d}"
        db.execute(_ARCHIVED, {"rows": archived, "sources": SOURCES, "days": _DAYS, "first": first})
        for state, count in _OPEN.items():
            due, fails = state in ("pending", "failing", "not_ready"), state in ("failing", "dead")
            wanted = {"count": count, "state": state, "due": due, "fails": fails, "sources": SOURCES, "now": now}
            db.execute(_OTHERS, wanted)
        db.execute(_LISTED, {"told": recording(raw=_ROW).to_json()})
        db.execute(_DAYS_OF_ROWS)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    os.sync()  # else the first measured commit would wait for all of it


def size_by_its_verbs(path: Path) -> tuple[float, float]:
    """Return the bytes per recording while all wait and once all are archived, by the ledger's verbs."""
    ledger = Ledger.open(path, NOW)
    for _ in range(_REAL // _PAGE):
        ledger.register(feed(0), [fresh(0) for _ in range(_PAGE)], [], NOW, RECHECK)
    waiting = _used(path)
    while jobs := ledger.claim("voice-0", NOW, _BATCH):
        ledger.settle([archived_as(job) for job in jobs], NOW, _POLICIES)
    ledger.close()
    return waiting / _REAL, _used(path) / _REAL


def _used(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        [pages], [free] = (db.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count"))
        return int(pages - free) * 4096


def archived_as(job: Job) -> Receipt:
    """Return its receipt, with keys of the usual length."""
    standing, name = receipt(job), job.recording.recording_id
    stem = f"recordings/provider=twilio/account={job.recording.account_id}/date=2026-10-01/{name}"
    medium = replace(standing.media[0], key=f"{stem}.wav", sha256=secrets.token_hex(32), content_type="audio/x-wav")
    return replace(standing, sidecar_key=f"{stem}.json", media=(medium,))


# -- asked, in a process of its own ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Asking:
    """An open ledger, and the arguments of its verbs."""

    path: Path
    ledger: Ledger
    known: list[str]  # a page of successive archived recordings of one account
    jobs: list[Job] = field(default_factory=list)
    turn: int = 0

    def next_feed(self) -> int:
        self.turn += 1
        return self.turn % SOURCES

    def claim(self) -> Callable[[], object]:
        number = self.next_feed()
        return lambda: self.jobs.extend(self.ledger.claim(f"voice-{number}", NOW + RECHECK, _BATCH))

    def settle(self) -> Callable[[], object]:
        outcomes = [
            archived_as(job) for job in (self.jobs or self.ledger.claim("voice-0", NOW + RECHECK, _BATCH))[-_BATCH:]
        ]
        del self.jobs[-_BATCH:]
        assert len(outcomes) == _BATCH
        return lambda: self.ledger.settle(outcomes, NOW, _POLICIES)

    def register_new(self) -> Callable[[], object]:
        number = self.next_feed()
        page = [fresh(number) for _ in range(_PAGE)]
        return lambda: self.ledger.register(feed(number), page, [], NOW, RECHECK)

    def register_known(self) -> Callable[[], object]:
        page = [recording(recording_id=name, account_id=_ACCOUNTS[7]) for name in self.known]
        return lambda: self.ledger.register(feed(7), page, [], NOW, RECHECK)

    def register_unreadable(self) -> Callable[[], object]:
        page = [Rejected(body=f'{{"sid": "XX{n}"}}', reason="no date", recording_id=f"XX{n}") for n in range(_PAGE)]
        return lambda: self.ledger.register(feed(8), [], page, NOW, RECHECK)


CASES: dict[str, Callable[[Asking], Callable[[], object]]] = {
    "claim 50": Asking.claim,
    "settle 50": Asking.settle,
    "register 1,000 new": Asking.register_new,
    "register 1,000 archived": Asking.register_known,
    "register 1,000 unreadable": Asking.register_unreadable,
    "feeds, as `status` asks": lambda at: at.ledger.ask.feeds,
    "next due": lambda at: lambda: at.ledger.ask.next_due(list(_POLICIES)),
    "failures, all 3,000": lambda at: at.ledger.ask.failures,
    "failures, 20 and their number": lambda at: (
        lambda: (at.ledger.ask.failures(20), at.ledger.ask.failures_total(list(_POLICIES)))
    ),
    "find": lambda at: lambda: at.ledger.ask.find(at.known[at.next_feed()]),
    "days, the last 30": lambda at: lambda: at.ledger.ask.days((NOW - timedelta(days=30)).date()),
    "quarantined, all 200": lambda at: at.ledger.ask.quarantined,
    "retry all": lambda at: lambda: at.ledger.retry(None, NOW),
    "free dead leases": lambda at: lambda: at.ledger.free_dead_leases(NOW),
}


@contextmanager
def opened(path: Path, known: list[str]) -> Iterator[Asking]:
    ledger = Ledger.open(path, NOW)
    try:
        yield Asking(path, ledger, known)
    finally:
        ledger.close()


def forget(path: Path) -> None:
    """Let the kernel drop the file from its cache, after a sync."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def ask(path: Path, repeats: int, cold: int) -> dict[str, list[list[float]]]:
    """Return the milliseconds of each case, warm and cold."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT recording_id FROM recordings WHERE account_id = ? LIMIT ?", [_ACCOUNTS[7], _PAGE])
        known = [name for (name,) in rows]
    took: dict[str, list[list[float]]] = {"open": [[], []], **{name: [[], []] for name in CASES}}
    for number in range(repeats + cold):
        if number >= repeats:
            forget(path)
        ledgers: list[Ledger] = []
        took["open"][number >= repeats].append(timed(lambda: ledgers.append(Ledger.open(path, NOW))))  # noqa: B023
        ledgers[0].close()
    with opened(path, known) as asking:
        for name, prepare in CASES.items():
            took[name][0] = [timed(prepare(asking)) for _ in range(repeats)]
    for name, prepare in CASES.items():
        for _ in range(cold):
            with opened(path, known) as asking:
                work = prepare(asking)
                forget(path)
                took[name][1].append(timed(work))
    return took


# -- told --------------------------------------------------------------------------------------------------------------


def status(python: str, path: Path, repeats: int) -> dict[str, list[list[float]]]:
    """Return the milliseconds of `recvault status`, a whole process: elapsed, and CPU."""
    config = path.with_suffix(".toml")
    sources = "".join(
        f'[[sources]]\nname = "voice-{number}"\nprovider = "twilio"\naccount_sid = "{account}"\n'
        'auth_token = { env = "TOKEN" }\n'
        for number, account in enumerate(_ACCOUNTS)
    )
    config.write_text(f'[archive]\nbucket = "recordings"\n[ledger]\npath = "{path}"\n{sources}')
    command = [python, "-m", "recvault", "--config", str(config), "status"]
    environment = plain({**os.environ, "TOKEN": "token"})
    went, used = [], []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        went.append(timed(lambda: subprocess.run(command, env=environment, capture_output=True, check=True)))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return {"`recvault status`": [went, []], "`recvault status`, its CPU": [used, []]}


def measured(python: str, path: Path, rows: int, repeats: int, cold: int) -> dict[str, list[list[float]]]:
    """Fill a ledger, measure its queries and its size."""
    began = time.monotonic()
    fill(path, rows)
    size = path.stat().st_size
    print(f"{rows:,} rows, {size / rows:.0f} bytes a row, made in {time.monotonic() - began:.0f} s", flush=True)
    asked = [sys.executable, __file__, "--ask", str(path), "--repeats", str(repeats), "--cold", str(cold)]
    took: dict[str, list[list[float]]] = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)
    return {**took, **status(python, path, 5)}


def tell(rows: list[int], took: list[dict[str, list[list[float]]]]) -> None:
    """Print the table: median and worst, warm and cold, for each size."""
    print("| ms, median (worst) | " + " | ".join(f"{each:,} warm | cold" for each in rows) + " |")
    print("|---|" + "---|---|" * len(rows))
    for name in took[0]:
        cells = [_cell(times) for each in took for times in each[name]]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _cell(times: list[float]) -> str:
    return f"{statistics.median(times):.3g} ({max(times):.3g})" if times else ""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="recordings; several times for several ledgers")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--cold", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="where ledgers are made, and removed")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    add_python(parser)
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(ask(given.ask, given.repeats, given.cold)))
        return 0
    rows, took = given.rows or [100_000, 1_000_000], []
    with tempfile.TemporaryDirectory(dir=given.directory) as root:
        waiting, archived = size_by_its_verbs(Path(root) / "ledger.db")
        print(f"by its own verbs: {waiting:.0f} bytes a recording that waits, {archived:.0f} once it is archived")
    for each in rows:
        with tempfile.TemporaryDirectory(dir=given.directory) as root:
            python = installed(given, Path(root))
            took.append(measured(python, Path(root) / "ledger.db", each, given.repeats, given.cold))
    tell(rows, took)
    return 0


if __name__ == "__main__":
    sys.exit(main())
