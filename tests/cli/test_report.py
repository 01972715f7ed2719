"""`recvault report` as it is typed: by the bucket, with and without configuration and ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from cli.commands import bare, run
from reading import population
from reading.flat import catalog
from recvault.simulator import Simulator
from rig import START, Rig
from strict_s3 import Bucket, StrictS3

OCTOBER = ("report", "--since", "2026-10-01", "--until", "2026-11-01")


@pytest.fixture
def with_catalog(strict_bucket: Bucket, tmp_path: Path) -> Bucket:
    """A bucket with a catalog of a few hundred recordings, which may only be read."""
    known = population.sidecars(400)
    client = boto3.client("s3", endpoint_url=strict_bucket.url, region_name="us-east-1")
    (folder := tmp_path / "made").mkdir()
    for key, body in catalog(known, folder).items():
        client.put_object(Bucket=strict_bucket.name, Key=f"some/{key}", Body=body)
    strict_bucket.denied = {"PUT", "DELETE", "CREATE", "COMPLETE"}
    strict_bucket.clear_counts()
    return strict_bucket


def count() -> str:
    return f"{sum(1 for each in population.sidecars(400) if each['created_at'].startswith('2026-10')):,}"


def test_it_needs_only_keys_that_read(with_catalog: Bucket, tmp_path: Path) -> None:
    """With --archive it reads no configuration and no ledger; it fetches the range's months and the sums of days."""
    where = ("--archive", f"s3://{with_catalog.name}/some")
    ran = bare(tmp_path, *OCTOBER, *where, AWS_ENDPOINT_URL=with_catalog.url, HOME=str(tmp_path))
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("recvault-report-2026-10-01-2026-10-31.html: ")
    text = (tmp_path / "recvault-report-2026-10-01-2026-10-31.html").read_text()
    assert f"<dd>{count()}</dd>" in text
    assert "Made from the bucket alone" in text
    fetched = sorted(seen.key for seen in with_catalog.log if seen.op == "GET")
    assert fetched == ["some/catalog/days.parquet", "some/catalog/recordings/month=2026-10/recordings.parquet"]
    again = bare(tmp_path, *OCTOBER, *where, AWS_ENDPOINT_URL=with_catalog.url, HOME=str(tmp_path))
    assert (again.code, "exists: use --output PATH" in again.stderr) == (2, True)


def test_the_ledger_tells_what_could_not_be_archived(rig: Rig, simulator: Simulator, with_catalog: Bucket) -> None:
    """With a configuration and a ledger, failures are in the report, with what to do."""
    with_catalog.denied = set()
    simulator.set_now(START)
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=3, conference_share=0)
    rig.archive = {"prefix": "some"}
    rig.add_source("voice", "twilio", account)
    simulator.faults.plan("http_403", simulator.truth(account)[0].recording_id, times=99, kind="media")
    rig.sync_at(START + timedelta(hours=1))
    with_catalog.denied = {"PUT"}
    ran = run(rig, *OCTOBER, "-o", "-")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("<!doctype html>")
    assert "1 recording could not be archived yet" in ran.stdout
    assert "<h2>Not archived yet</h2>" in ran.stdout
    assert "Made from the bucket alone" not in ran.stdout


@pytest.mark.parametrize("apart", [False, True], ids=["with the archive", "in a bucket of its own"])
def test_it_reads_what_the_catalog_command_writes(
    rig: Rig, simulator: Simulator, strict_bucket: Bucket, strict_s3: StrictS3, apart: bool
) -> None:
    """From a pass over manifests and catalog to the report: its counts are those of the provider."""
    simulator.set_now(START)
    account = simulator.add_account("telnyx")
    simulator.populate(account, "telnyx", count=25)
    rig.add_source("phones", "telnyx", account)
    other = strict_s3.bucket() if apart else strict_bucket
    rig.catalog = {"bucket": other.name}
    assert rig.sync_at(START + timedelta(hours=1)).exit_code == 0
    truth = simulator.truth(account)
    assert [run(rig, verb).code for verb in ("manifest", "catalog")] == [0, 0]
    first = min(each.created_at for each in truth)
    ran = run(rig, "report", "--since", f"{first:%Y-%m-%d}", "--until", "2026-10-02", "-o", "-")
    assert (ran.code, ran.stderr) == (0, "")
    assert f"<dt>Recordings</dt><dd>{len(truth)}</dd>" in ran.stdout
    assert "<dt>Checks passed</dt><dd>100 %</dd>" in ran.stdout
    assert "in no manifest" not in ran.stdout
    assert "catalog/days.parquet" in other.objects


def test_without_a_catalog_it_says_what_to_do(strict_bucket: Bucket, tmp_path: Path) -> None:
    """An archive without a catalog gets no report, but the command that writes one."""
    where = ("--archive", f"s3://{strict_bucket.name}")
    ran = bare(tmp_path, *OCTOBER, *where, AWS_ENDPOINT_URL=strict_bucket.url)
    assert ran.code == 78
    assert "the archive has no catalog" in ran.stderr
    assert "recvault catalog" in ran.stderr


def test_a_damaged_catalog_is_told(with_catalog: Bucket, tmp_path: Path) -> None:
    """A file that is no Parquet ends the report, with what makes the catalog again, and leaves no file."""
    with_catalog.denied = set()
    client = boto3.client("s3", endpoint_url=with_catalog.url, region_name="us-east-1")
    key = "some/catalog/recordings/month=2026-10/recordings.parquet"
    client.put_object(Bucket=with_catalog.name, Key=key, Body=b"PAR1 not at all")
    where = ("--archive", f"s3://{with_catalog.name}/some")
    ran = bare(tmp_path, *OCTOBER, *where, "-o", "report.html", AWS_ENDPOINT_URL=with_catalog.url)
    assert (ran.code, (tmp_path / "report.html").exists()) == (1, False)
    assert "a file of the catalog cannot be read: " in ran.stderr
    assert "`recvault catalog --rebuild`" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("url", ["acme", "s3://", "https://acme.example", "s3://A B/x", "file://relative"])
def test_a_wrong_address_is_refused(url: str, tmp_path: Path) -> None:
    """An address that is neither a bucket nor a directory is wrong usage, before anything is asked."""
    ran = bare(tmp_path, *OCTOBER, "--archive", url)
    assert ran.code == 2
    assert "--archive: write s3://BUCKET/PREFIX" in ran.stderr


def test_a_directory_is_an_archive_too(tmp_path: Path) -> None:
    """The catalog of an archive in a directory is read there."""
    (made := tmp_path / "made").mkdir()
    for key, body in catalog(population.sidecars(400), made).items():
        (path := tmp_path / "archive" / key).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (tmp_path / "archive/.recvault").mkdir()
    ran = bare(tmp_path, *OCTOBER, "--archive", f"file://{tmp_path}/archive", "-o", "-")
    assert (ran.code, f"<dd>{count()}</dd>" in ran.stdout) == (0, True), ran.stderr


def test_before_the_first_recording(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """Of an empty archive with its catalog, the report says that nothing is archived yet: exit code 0."""
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    assert rig.sync().exit_code == 0
    assert run(rig, "catalog").code == 0
    place = tmp_path / "report.html"
    ran = run(rig, "report", "--output", str(place))
    assert (ran.stderr, ran.code, ran.stdout) == ("", 0, f"{place}: Nothing is archived yet\n")
    assert "nothing is archived yet" in place.read_text()
