"""`recvault find` and `get` by the bucket alone, with keys that may only read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Ran, bare, run
from reading.flat import catalog
from reading.population import NUMBER, Sidecar, body_of, encoded, key_of, sidecars
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket, StrictS3

OCTOBER = ("--since", "2026-10-01", "--until", "2026-11-01")
READING = {"GET", "HEAD", "LIST"}


@pytest.fixture(scope="module")
def known() -> list[Sidecar]:
    made = sidecars(60)
    for each in (made[4], made[10]):
        each["call"]["from"] = f"+{NUMBER}"
    return made


@pytest.fixture(scope="module")
def full(strict_s3: StrictS3, known: list[Sidecar]) -> Iterator[Bucket]:
    """A bucket of sidecars and media, without a catalog."""
    bucket = strict_s3.bucket()
    for each in known:
        bucket.place(key_of(each), encoded(each))
        bucket.place(each["media"][0]["key"], body_of(each))
    yield bucket
    strict_s3.forget(bucket)


def ask(bucket: Bucket, place: Path, verb: str, *words: str) -> Ran:
    where = ("--archive", f"s3://{bucket.name}", "--endpoint-url", bucket.url)
    return bare(place, verb, *words, *where, HOME=str(place))


def found(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran
    document: list[dict[str, Any]] = ran.document["recordings"]
    return document


def numbers_of(each: Sidecar) -> tuple[str | None, str | None]:
    call = each.get("call") or {}
    return call.get("from"), call.get("to")


def test_by_number_call_source_and_time(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """What is found is what the sidecars say, the oldest first, by read requests alone, without configuration."""
    full.clear_counts()
    rows = found(ask(full, tmp_path, "find", "--json"))
    truth = sorted(known, key=lambda each: (each["created_at"], each["recording_id"]))
    assert [row["recording_id"] for row in rows] == [each["recording_id"] for each in truth]
    assert [(row["from_number"], row["to_number"]) for row in rows] == [numbers_of(each) for each in truth]
    for words, takes in (
        (("--number", "+1 (555) 123-45 67"), lambda each: f"+{NUMBER}" in numbers_of(each)),
        (("--call", known[7]["call_id"]), lambda each: each["call_id"] == known[7]["call_id"]),
        (("--source", "telnyx", *OCTOBER), lambda each: (each["source"], each["created_at"][:7]) == _TELNYX),
    ):
        wanted = [each["recording_id"] for each in truth if takes(each)]
        assert wanted
        assert [row["recording_id"] for row in found(ask(full, tmp_path, "find", *words, "--json"))] == wanted
    assert set(full.counts) <= READING


_TELNYX = ("telnyx", "2026-10")


def test_the_catalog_answers_where_there_is_one(strict_bucket: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """With a catalog no sidecar is read; the answer says how old it is, and is the same."""
    pytest.importorskip("duckdb")
    (folder := tmp_path / "made").mkdir()
    for key, body in catalog(known, folder).items():
        strict_bucket.place(key, body)
    strict_bucket.clear_counts()
    ran = ask(strict_bucket, tmp_path, "find", "--number", NUMBER, "--json")
    assert {row["recording_id"] for row in found(ran)} >= {known[4]["recording_id"], known[10]["recording_id"]}
    assert (ran.document["read_from"], ran.document["unreadable"]) == ("catalog", [])
    assert ran.document["catalog_as_of"]
    assert "by the catalog of 20" in ran.stderr
    assert {seen.key for seen in strict_bucket.log if seen.op == "GET"} <= {
        f"catalog/recordings/month=2026-{month}/recordings.parquet" for month in ("09", "10", "11")
    }


def test_a_spreadsheet_and_a_script_get_every_column(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """CSV quotes what a spreadsheet would run as a formula; lines and JSON have the values as they are."""
    words = ("find", "--call", known[4]["call_id"])
    [row] = csv.DictReader(io.StringIO(ask(full, tmp_path, *words, "--csv").stdout))
    head, line = ask(full, tmp_path, *words).stdout.splitlines()
    plain = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert row["from_number"] == f"'+{NUMBER}"
    assert plain["from_number"] == f"+{NUMBER}"
    assert row["media_sha256"] == plain["media_sha256"] == known[4]["media"][0]["sha256"]
    assert ask(full, tmp_path, *words, "--csv", "--json").code == 2


def test_the_newest_are_listed_if_there_are_more(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """--limit keeps the newest, in the same order, and says how many there are."""
    ran = ask(full, tmp_path, "find", "--limit", "2", "--json")
    truth = sorted(known, key=lambda each: (each["created_at"], each["recording_id"]))
    assert [row["recording_id"] for row in found(ran)] == [each["recording_id"] for each in truth[-2:]]
    assert "the 2 newest of 60 are listed" in ran.stderr
    none = ask(full, tmp_path, "find", "--call", "CAnone")
    assert (none.code, len(none.stdout.splitlines()), "no recordings" in none.stderr) == (0, 1, True)


@pytest.mark.parametrize(
    "words", [("--number", "anonymous"), ("--since", "2026-11-01", "--until", "2026-10-01"), ("--limit", "-1")]
)
def test_a_question_that_cannot_be_understood(full: Bucket, tmp_path: Path, words: tuple[str, ...]) -> None:
    """It is a mistake of the command line, and nothing is asked."""
    full.clear_counts()
    assert (ask(full, tmp_path, "find", *words).code, full.counts) == (2, {})


def test_what_cannot_be_read_is_told(strict_bucket: Bucket, tmp_path: Path) -> None:
    """A sidecar that is no JSON is exit code 3, named on stderr and in the document; the others are listed."""
    one, two = sidecars(2)
    strict_bucket.place(key_of(one), encoded(one))
    strict_bucket.place(key_of(two), b"{")
    ran = ask(strict_bucket, tmp_path, "find", "--json")
    assert (ran.code, [row["recording_id"] for row in ran.document["recordings"]]) == (3, [one["recording_id"]])
    assert [each["key"] for each in ran.document["unreadable"]] == [key_of(two)]
    assert f"sidecars that could not be read, 1: something may be missing\n  {key_of(two)}: " in ran.stderr


def test_who_called_is_found_if_it_came_after_the_sidecar(strict_bucket: Bucket, tmp_path: Path) -> None:
    """Without a catalog, objects under calls/ are searched for the number; older ones than the range are not read."""
    made = [{**each, "call": None} for each in sidecars(3)]
    for each in made:
        strict_bucket.place(key_of(each), encoded(each))
    facts = {"from": f"+{NUMBER}", "to": "+15550000000", "direction": "inbound", "legs": []}
    name = {each: made[1][each] for each in ("provider", "account_id", "recording_id")}
    line = json.dumps({**name, "call": facts}).encode() + b"\n"
    root = f"calls/provider={made[1]['provider']}/account={made[1]['account_id']}"
    strict_bucket.place(f"{root}/date={made[1]['created_at'][:10]}/a.jsonl", line)
    strict_bucket.place(f"{root}/date=2020-01-01/b.jsonl", b"not read")
    strict_bucket.clear_counts()
    [row] = found(ask(strict_bucket, tmp_path, "find", "--number", NUMBER, "--since", "2026-01-01", "--json"))
    assert (row["recording_id"], row["to_number"]) == (made[1]["recording_id"], "+15550000000")
    assert not any("2020-01-01" in seen.key for seen in strict_bucket.log if seen.op == "GET")


def test_get_by_the_bucket_alone(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """`get ID --archive URL` writes proven bytes, by one sidecar; an unknown ID is exit code 2."""
    full.clear_counts()
    each = known[3]
    ran = ask(full, tmp_path, "get", f"{each['source']}:{each['recording_id']}", "-o", "a.bin")
    assert (ran.code, (tmp_path / "a.bin").read_bytes()) == (0, body_of(each))
    assert {seen.key for seen in full.log if seen.op == "GET"} == {key_of(each), each["media"][0]["key"]}
    assert set(full.counts) <= READING
    assert ask(full, tmp_path, "get", "REnone").code == 2


def test_get_without_bytes_that_are_as_archived(strict_bucket: Bucket, tmp_path: Path) -> None:
    """A flipped bit is exit code 3, and leaves no file."""
    [each] = sidecars(1)
    strict_bucket.place(key_of(each), encoded(each))
    strict_bucket.place(each["media"][0]["key"], b"x" + body_of(each)[1:])
    (place := tmp_path / "here").mkdir()
    ran = ask(strict_bucket, place, "get", each["recording_id"])
    assert (ran.code, [*place.iterdir()]) == (3, [])
    assert "differs from its sidecar" in ran.stderr


def test_get_and_find_by_the_configuration_without_its_ledger(rig: Rig, simulator: Simulator, tmp_path: Path) -> None:
    """A reader's machine with a configuration but no ledger reads the bucket, and makes no ledger."""
    account = simulator.add_account("twilio")
    [made] = simulator.populate(account, "voice", count=1, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.archive = {"prefix": "some", "key_template": "of/{account}/{provider}/{date}/{recording_id}.{ext}"}
    rig.sync()
    rig.ledger = {"path": str(tmp_path / "none" / "ledger.db")}
    [row] = run(rig, "find", "--json").document["recordings"]
    ran = run(rig, "get", made.recording_id, "-o", str(tmp_path / "a.wav"))
    assert (ran.code, (tmp_path / "a.wav").read_bytes()) == (0, rig.objects()[row["media_key"]])
    assert not (tmp_path / "none").exists()
