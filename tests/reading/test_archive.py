"""`recvault.Archive` reads an archive by its URL, with keys that may only read, and proves what it hands over."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

import recvault
from reading.documents import blocks
from reading.flat import catalog
from reading.population import NUMBER, Sidecar, body_of, encoded, key_of, sidecars
from recvault import Archive, NotAsArchived
from recvault.catalog.flatten import Numbers
from recvault.errors import ConfigError, StoreRefused, UnknownName
from strict_s3 import Bucket, StrictS3

SINCE, UNTIL = "2026-10-01", "2026-11-01"
READING = {"GET", "HEAD", "LIST"}
LATER = {"apscheduler", "click", "sqlite3", "pydantic", "sqlite_utils", "waitress", "prometheus_client"}
"""Libraries of the daemon's and of commands."""
OURS = {"ledger", "config", "daemon", "cli", "app", "monitoring", "dispatch", "discovery", "transfer", "operations"}


@pytest.fixture(scope="module")
def known() -> list[Sidecar]:
    made = sidecars(300)
    october = next(each for each in made[3:] if "call" in each and each["created_at"].startswith("2026-10"))
    october["call"]["from"] = f"+{NUMBER}"
    made[2]["call"]["legs"] = [{"call_id": "CAleg", "from": "client:anna", "to": f"sip:+{NUMBER}@example.com"}]
    return made


def place(bucket: Bucket, each: Sidecar, prefix: str = "") -> None:
    body = encoded(each)
    if prefix:
        document = json.loads(body)
        for medium in document["media"]:
            medium["key"] = prefix + medium["key"]
        body = json.dumps(document).encode() + b"\n"
    bucket.place(prefix + key_of(each), body)
    bucket.place(prefix + each["media"][0]["key"], body_of(each))


@pytest.fixture(scope="module")
def full(strict_s3: StrictS3, known: list[Sidecar]) -> Iterator[Bucket]:
    """A bucket of sidecars and media; it is only read."""
    bucket = strict_s3.bucket()
    for each in known:
        place(bucket, each)
    yield bucket
    strict_s3.forget(bucket)


def archive_of(bucket: Bucket, prefix: str = "", **options: Any) -> Archive:
    url = f"s3://{bucket.name}{f'/{prefix}' if prefix else ''}"
    return Archive(url, endpoint_url=bucket.url, region="us-east-1", addressing_style="path", **options)


def ids(found: Any) -> list[str]:
    return sorted(each.recording_id for each in found)


def wanted(known: list[Sidecar], takes: Callable[[Sidecar], bool]) -> list[str]:
    found = sorted(each["recording_id"] for each in known if takes(each))
    assert found
    return found


def numbers(each: Sidecar) -> set[str]:
    call = each.get("call") or {}
    legs = [side for leg in call.get("legs", ()) for side in (leg["from"], leg["to"])]
    return {"".join(filter(str.isdigit, text)) for text in (call.get("from"), call.get("to"), *legs) if text}


def test_what_it_loads(tmp_path: Path) -> None:
    """In a new process it loads no scheduler, ledger, configuration, daemon or command line."""
    code = """
import json, sys
from recvault import Archive, NotAsArchived
Archive("file:///tmp")
print(json.dumps([*sys.modules]))
"""
    told = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    ran = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, check=True, cwd=tmp_path)
    loaded = set(json.loads(ran.stdout))
    assert "recvault.reading.archive" in loaded
    assert {each for each in loaded if each.split(".")[0] in LATER} == set()
    assert {each for each in loaded if each.startswith("recvault.") and each.split(".")[1] in OURS} == set()


def test_an_unknown_name_of_the_package_is_an_error() -> None:
    """The package has its two public names and no other."""
    assert set(recvault.__all__) == {"Archive", "NotAsArchived", "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'archive_of'"):
        recvault.archive_of  # noqa: B018 - read on purpose


def test_every_recording_by_time_source_and_number(full: Bucket, known: list[Sidecar]) -> None:
    """What is selected is exactly what the sidecars say, by read requests alone."""
    full.clear_counts()
    with archive_of(full, catalog=False) as archive:
        october = lambda each: SINCE <= each["created_at"] < UNTIL  # noqa: E731
        assert ids(archive.recordings()) == wanted(known, lambda each: True)
        assert ids(archive.recordings(since=SINCE, until=UNTIL)) == wanted(known, october)
        assert ids(archive.recordings(since=date(2026, 10, 1), source="telnyx")) == wanted(
            known, lambda each: each["created_at"] >= SINCE and each["source"] == "telnyx"
        )
        for spelled in (f"+{NUMBER}", "+1 (555) 123-45 67", NUMBER):
            assert ids(archive.recordings(number=spelled)) == wanted(known, lambda each: NUMBER in numbers(each))
        noon = datetime(2026, 10, 5, 12, tzinfo=UTC)
        assert ids(archive.recordings(until=noon)) == wanted(
            known, lambda each: each["created_at"] < "2026-10-05T12:00:00Z"
        )
        assert archive.unreadable == []
    assert set(full.counts) <= READING


def test_the_guides_example(
    full: Bucket, known: list[Sidecar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example for readers runs as written, but for the bucket: it downloads a number's calls of October."""
    [example] = [block for title, language, block in blocks() if (title, language) == ("Archive", "python")]
    monkeypatch.setenv("AWS_ENDPOINT_URL", full.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.chdir(tmp_path)
    exec(example.replace("acme-recordings", full.name), {})
    asked = [each for each in known if SINCE <= each["created_at"] < UNTIL and NUMBER in numbers(each)]
    assert asked
    names = {f"{each['recording_id']}.{each['media'][0]['media_format']}": body_of(each) for each in asked}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == names


def test_days_that_are_not_asked_for_are_not_read(full: Bucket, known: list[Sidecar]) -> None:
    """One day costs the sidecars of that day, and a few listings an account."""
    full.clear_counts()
    day = "2026-10-10"
    with archive_of(full, catalog=False) as archive:
        found = ids(archive.recordings(since=day, until="2026-10-11"))
    assert found == wanted(known, lambda each: each["created_at"][:10] == day)
    assert full.counts["GET"] == len(found)
    assert full.counts["LIST"] <= 3 * 5 + 1


def test_the_catalog_gives_the_same(full: Bucket, strict_s3: StrictS3, known: list[Sidecar], tmp_path: Path) -> None:
    """Recordings of the catalog equal those of the sidecars, without a request for any sidecar."""
    pytest.importorskip("duckdb")
    with archive_of(full, catalog=False) as archive:
        plain = {each.identity: each.row for each in archive.recordings(since=SINCE, until=UNTIL)}
    bucket = strict_s3.bucket()
    for key, body in catalog(known, tmp_path).items():
        bucket.place(key, body)
    bucket.clear_counts()
    with archive_of(bucket) as archive:
        found = list(archive.recordings(since=SINCE, until=UNTIL))
        assert {each.identity: each.row for each in found} == plain
        assert bucket.counts["GET"] == 1
        assert ids(archive.recordings(number=f"+{NUMBER}")) == wanted(known, lambda each: NUMBER in numbers(each))
        [(count,)] = archive.table("recordings", since=SINCE, until=UNTIL).aggregate("count(*)").fetchall()
        assert count == len(plain)
        assert archive.table("days").aggregate("sum(recordings)").fetchall() == [(len(known),)]
    strict_s3.forget(bucket)
    assert set(bucket.counts) <= READING


def test_read_to_its_end_it_is_proven(full: Bucket, known: list[Sidecar], tmp_path: Path) -> None:
    """A medium is a seekable file with the object's bytes; a download and a presigned URL give the same."""
    each = known[0]
    with archive_of(full, catalog=False) as archive:
        [recording] = archive.recordings(recording_id=each["recording_id"])
        body, medium = body_of(each), recording.media[0]
        with medium.open() as file:
            assert (file.seek(-4, io.SEEK_END), file.read()) == (len(body) - 4, body[-4:])
            assert (file.seek(0), file.read(5), file.read(), file.read()) == (0, body[:5], body[5:], b"")
        assert recording.download(tmp_path / "a.wav").read_bytes() == body
        url = urlsplit(recording.url(minutes=5))
        asked = dict(parse_qsl(url.query))
        assert (f"http://{url.netloc}", unquote(url.path)) == (full.url, f"/{full.name}/{medium.key}")
        assert asked["X-Amz-Expires"] == "300" and len(asked["X-Amz-Signature"]) == 64
        assert recording.sidecar_body() == encoded(each)
        with pytest.raises(UnknownName, match="is not archived as ogg"):
            recording.medium("ogg")


@pytest.mark.parametrize("harm", ["another bit", "cut short", "longer", "gone"])
def test_what_is_not_as_archived_is_not_handed_over(strict_bucket: Bucket, tmp_path: Path, harm: str) -> None:
    """Another bit, another size or no object at all: NotAsArchived, no file, and a file of that name stays."""
    [each] = sidecars(1)
    place(strict_bucket, each)
    key, body = each["media"][0]["key"], body_of(each)
    spoilt = {"another bit": bytes([body[0] ^ 1]) + body[1:], "cut short": body[:-1], "longer": body + b"x"}
    if harm in spoilt:
        strict_bucket.place(key, spoilt[harm])
    else:
        del strict_bucket.objects[key]
    (tmp_path / "old.wav").write_bytes(b"old")
    with archive_of(strict_bucket, catalog=False) as archive:
        [recording] = archive.recordings()
        for place_ in ("new.wav", "old.wav"):
            with pytest.raises(NotAsArchived, match=r"differs|is not in the bucket"):
                recording.download(tmp_path / place_)
        for read in (lambda file: file.read(), lambda file: [*iter(lambda: file.read(7), b"")]):
            with recording.media[0].open() as file, pytest.raises(NotAsArchived):
                read(file)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old.wav": b"old"}


def test_a_large_medium_is_read_by_ranges(strict_bucket: Bucket) -> None:
    """A seek to the end of a large medium reads one range, not what is before it."""
    [each] = sidecars(1)
    body = os.urandom(10 << 20)
    each["media"][0] |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    place(strict_bucket, each)
    strict_bucket.place(each["media"][0]["key"], body)
    with archive_of(strict_bucket, catalog=False) as archive:
        [recording] = archive.recordings()
        strict_bucket.clear_counts()
        with recording.media[0].open() as file:
            file.seek(-100, io.SEEK_END)
            assert file.read(100) == body[-100:]
            assert strict_bucket.counts["GET"] == 1
            file.seek(0)
            assert file.read() == body


def test_under_a_prefix_and_under_another_template(strict_s3: StrictS3) -> None:
    """A prefix holds its own archive only; keys of an unknown template are found as well, in their latest edition."""
    bucket, (one, two, three) = strict_s3.bucket(), sidecars(3)
    place(bucket, one, "calls-of-a/")
    place(bucket, two)
    bucket.place("elsewhere/notes.json", b"[]")
    bucket.place("elsewhere/x.json", encoded(three))
    bucket.place("elsewhere/x~2.json", encoded({**three, "status": "second"}))
    with archive_of(bucket, "calls-of-a", catalog=False) as archive:
        assert ids(archive.recordings()) == [one["recording_id"]]
        assert next(archive.recordings()).media[0].open().read() == body_of(one)
    with archive_of(bucket, catalog=False) as archive:
        found = {each.recording_id: each.row["status"] for each in archive.recordings()}
        assert found == {
            one["recording_id"]: one["status"],
            two["recording_id"]: two["status"],
            three["recording_id"]: "second",
        }
        assert archive.unreadable == []
    strict_s3.forget(bucket)


@pytest.mark.parametrize("harm", ["no JSON", "another recording's", "another schema"])
def test_a_sidecar_that_cannot_be_read_is_told(strict_bucket: Bucket, harm: str) -> None:
    """What is under a recording's key but is not its sidecar is listed in `unreadable`; all others are found."""
    one, two, three = sidecars(3)
    place(strict_bucket, one)
    bad = {"no JSON": b"{", "another recording's": encoded(three), "another schema": b'{"schema": "x"}'}[harm]
    strict_bucket.place(key_of(two), bad)
    with archive_of(strict_bucket, catalog=False) as archive:
        assert ids(archive.recordings()) == [one["recording_id"]]
        assert [each.key for each in archive.unreadable] == [key_of(two)]


def test_a_catalog_in_another_bucket(full: Bucket, strict_s3: StrictS3, known: list[Sidecar], tmp_path: Path) -> None:
    """With `catalog_url` the catalog is read there, and sidecars and media in the archive."""
    pytest.importorskip("duckdb")
    other = strict_s3.bucket()
    for key, body in catalog(known, tmp_path).items():
        other.place(key, body)
    full.clear_counts()
    with archive_of(full, catalog_url=f"s3://{other.name}") as archive:
        assert ids(archive.recordings()) == wanted(known, lambda each: True)
        assert (archive.read_from, full.counts) == ("catalog", {})
        assert next(archive.recordings()).sidecar_body()
    strict_s3.forget(other)


def test_numbers_that_the_catalog_does_not_hold_are_found_by_sidecars(
    full: Bucket, strict_s3: StrictS3, known: list[Sidecar], tmp_path: Path
) -> None:
    """Where the catalog has hashes or no numbers, a number is looked for in the sidecars, and all else in the
    catalog."""
    pytest.importorskip("duckdb")
    other = strict_s3.bucket()
    for key, body in catalog(known, tmp_path, numbers=Numbers("hmac", b"key")).items():
        other.place(key, body)
    with archive_of(full, catalog_url=f"s3://{other.name}") as archive:
        assert ids(archive.recordings(number=NUMBER)) == wanted(known, lambda each: NUMBER in numbers(each))
        assert archive.read_from == "sidecars"
        assert ids(archive.recordings(source="telnyx")) == wanted(known, lambda each: each["source"] == "telnyx")
        assert archive.read_from == "catalog"
    strict_s3.forget(other)


def test_a_sidecar_that_was_changed_since_is_not_handed_over(strict_bucket: Bucket) -> None:
    """`sidecar_body` returns the bytes that the recording was read from, or NotAsArchived."""
    [each] = sidecars(1)
    place(strict_bucket, each)
    with archive_of(strict_bucket, catalog=False) as archive:
        [recording] = archive.recordings()
        strict_bucket.place(key_of(each), encoded({**each, "status": "changed"}))
        with pytest.raises(NotAsArchived, match="is not the one that was read before"):
            recording.sidecar_body()
        del strict_bucket.objects[key_of(each)]
        with pytest.raises(NotAsArchived, match="is not in the bucket"):
            recording.sidecar_body()


def test_the_profile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict_bucket: Bucket) -> None:
    """Credentials are those of the profile that is named, and a profile that is not there is an error."""
    (tmp_path / "credentials").write_text("[reader]\naws_access_key_id = AKREADER\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    [each] = sidecars(1)
    place(strict_bucket, each)
    with archive_of(strict_bucket, profile="reader", catalog=False) as archive:
        asked = dict(parse_qsl(urlsplit(next(archive.recordings()).url()).query))
        assert asked["X-Amz-Credential"].startswith("AKREADER/")
    with pytest.raises(StoreRefused, match="nobody"):
        archive_of(strict_bucket, profile="nobody")


def test_an_archive_in_a_directory(tmp_path: Path, known: list[Sidecar]) -> None:
    """A file:// URL reads a directory in the same way."""
    (tmp_path / ".recvault").mkdir()
    for each in known[:3]:
        for key, body in ((key_of(each), encoded(each)), (each["media"][0]["key"], body_of(each))):
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(body)
    with Archive(tmp_path.as_uri()) as archive:
        found = {each.recording_id: each for each in archive.recordings()}
        assert found.keys() == {each["recording_id"] for each in known[:3]}
        for each in known[:3]:
            assert found[each["recording_id"]].media[0].open().read() == body_of(each)
            with urllib.request.urlopen(found[each["recording_id"]].url()) as answer:
                assert answer.read() == body_of(each)


@pytest.mark.parametrize("url", ["acme", "s3://", "http://acme/x", "file://host/x", "file:///", "s3://a?b"])
def test_a_url_that_names_no_archive(url: str) -> None:
    """Any other URL is an error that says what one looks like."""
    with pytest.raises(ConfigError, match="does not say where the archive is"):
        Archive(url)


@pytest.mark.parametrize("asked", [{"since": "yesterday"}, {"number": "anonymous"}])
def test_a_question_that_cannot_be_understood(full: Bucket, asked: dict[str, Any]) -> None:
    """A wrong value is an error when the question is asked, not when its answer is read."""
    with archive_of(full) as archive, pytest.raises(ValueError, match=r"neither a day|has no digits"):
        archive.recordings(**asked)
