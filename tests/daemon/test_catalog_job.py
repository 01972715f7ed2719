"""The daemon writes the catalog once a day, after the manifests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from catalog.conftest import read
from daemon.conftest import start, told  # noqa: F401 - fixtures
from daemon.started import free_port
from recvault.app.runtime import Runtime
from recvault.catalog import spawned
from recvault.daemon.catalog_job import CatalogJob
from recvault.daemon.manifest_job import ManifestJob
from recvault.monitoring.metrics import Metrics
from recvault.simulator import Simulator
from rig import START, Rig
from strict_s3 import Bucket


@pytest.fixture
def archived(rig: Rig, simulator: Simulator) -> Rig:
    """A recording of a past day, and the catalog switched on."""
    simulator.set_now(START)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    assert rig.sync_at(START + timedelta(hours=2)).exit_code == 0
    rig.catalog = {"enabled": True}
    return rig


class Days:
    """Runs both jobs at given times."""

    def __init__(self, rig: Rig) -> None:
        self.now = datetime(2026, 10, 2, 0, 5, tzinfo=UTC)
        self.runtime: Runtime = rig.runtime(lambda: self.now)
        self.metrics = Metrics()
        self.manifests = ManifestJob(self.runtime, self.metrics)
        self.catalog = CatalogJob(self.runtime, lambda: self.manifests.through, self.metrics)

    @property
    def written_at(self) -> float:
        """The metric of the last success."""
        lines, name = self.metrics.text().decode().splitlines(), "recvault_catalog_written_timestamp_seconds "
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def look(self, later: timedelta) -> None:
        self.now += later
        self.manifests.look()
        self.catalog.look()


@pytest.fixture
def days(archived: Rig) -> Iterator[Days]:
    made = Days(archived)
    yield made
    made.runtime.__exit__(None, None, None)


def files(bucket: Bucket) -> list[str]:
    return sorted(key for key in bucket.objects if key.startswith("catalog/"))


def test_once_a_day_after_the_manifests(days: Days, strict_bucket: Bucket, tmp_path: Any) -> None:
    """It is written when the day's manifests are, with their number, and not again on that day or after a restart."""
    days.look(timedelta(minutes=10))
    assert files(strict_bucket) == []
    days.look(timedelta(minutes=30))
    [month] = [key for key in files(strict_bucket) if "month=" in key]
    (tmp_path / "month").write_bytes(strict_bucket.body(month))
    assert [row["manifest_number"] for row in read(tmp_path / "month")] == [1]
    strict_bucket.clear_counts()
    for _ in range(10):
        days.look(timedelta(minutes=10))
    CatalogJob(days.runtime, lambda: days.manifests.through, Metrics()).look()
    assert dict(strict_bucket.counts) == {}


def test_the_last_success_is_a_metric(days: Days, strict_bucket: Bucket) -> None:
    """It is the ledger's creation before the first success, then the time of the last one, also after a restart."""
    assert days.written_at == days.runtime.ledger.born_at.timestamp()
    strict_bucket.denied.add("LIST")
    days.look(timedelta(minutes=40))
    assert days.written_at == days.runtime.ledger.born_at.timestamp()
    strict_bucket.denied.clear()
    days.look(timedelta(minutes=10))
    written_at = days.now.timestamp()
    assert days.written_at == written_at
    days.look(timedelta(minutes=10))
    days.catalog = CatalogJob(days.runtime, lambda: None, days.metrics)
    assert days.written_at == written_at


def test_a_bucket_that_is_away_is_tried_again(
    days: Days,
    strict_bucket: Bucket,
    told: Any,  # noqa: F811
) -> None:
    """If the bucket refuses, it is logged, and the next look writes."""
    days.manifests.look()
    days.look(timedelta(hours=1))
    days.runtime.ledger.remember("catalog.through", "")
    with days.runtime.ledger._connection.write() as db:
        db.execute("INSERT INTO uncatalogued (id) SELECT id FROM recordings")
    strict_bucket.denied.add("LIST")
    days.look(timedelta(minutes=10))
    assert len(told("catalog.failed")) == 1
    strict_bucket.denied.clear()
    days.look(timedelta(minutes=10))
    assert (len(told("catalog.failed")), days.runtime.ledger.fact("catalog.through")) == (1, "2026-10-01")


def test_without_the_extra_it_is_said_once(
    archived: Rig,
    monkeypatch: pytest.MonkeyPatch,
    told: Any,  # noqa: F811
) -> None:
    """Where DuckDB is not installed, the daemon says so at its start, and goes on."""
    monkeypatch.setattr(spawned, "is_installed", lambda: False)
    with archived.runtime() as runtime:
        job = CatalogJob(runtime, lambda: date(2026, 10, 1), Metrics())
        job.look()
        job.look()
    assert [line["message"] for line in told("catalog.not_installed")] == ["pip install 'recvault[catalog]'"]
    assert told("catalog.failed") == []


def test_a_daemon_writes_it(archived: Rig, start: Any) -> None:  # noqa: F811
    """A daemon with the catalog switched on writes it."""
    archived.daemon = {"metrics_listen": f"127.0.0.1:{free_port()}"}
    daemon = start(
        prelude="import datetime\nfrom recvault.daemon import manifest_job as job\n"
        "job.SETTLING = datetime.timedelta()\n"
        "from recvault.daemon import service\nservice.LOOK_EVERY = datetime.timedelta(seconds=1)"
    )
    assert daemon.tells("catalog.written")["rows"] == 1
    assert daemon.stopped().code == 143
