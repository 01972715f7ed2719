"""Each problem that `check` finds is produced: one line says what is wrong and how to fix it."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import socket
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import strict_s3 as strict
from recvault import check
from recvault.check import Probe, catalog_bucket, machine, sources
from recvault.errors import CredentialsRefused, Unavailable
from recvault.ledger.daemon_lock import DaemonLock
from recvault.simulator import Simulator
from rig import Rig, now, sha256
from strict_s3 import StrictS3

_numbers = itertools.count(1)
LOCKED = {"object_lock": {"mode": "GOVERNANCE", "days": 2}}


@pytest.fixture
def small(tmp_path: Path, simulator: Simulator, strict_s3: StrictS3) -> Rig:
    """One source, one strict bucket."""
    rig = Rig(root=tmp_path, simulator=simulator, s3_url=strict_s3.url, bucket=strict_s3.bucket().name)
    rig.add_source("voice", "twilio", simulator.add_account("twilio"))
    return rig


@pytest.fixture
def locked(small: Rig, moto_url: str) -> Rig:
    """The same with a bucket that has Object Lock, by moto."""
    small.s3_url, small.bucket = moto_url, f"locked-{next(_numbers)}"
    small.s3.create_bucket(Bucket=small.bucket, ObjectLockEnabledForBucket=True)
    return small


def asked(rig: Rig, clock: Callable[[], Any] = now) -> dict[str, Probe]:
    """Return all lines about sources and bucket, by name."""
    with rig.runtime(clock) as runtime:
        found = [*check.sources.answers(runtime), *check.bucket.answers(runtime)]
    return {probe.name: probe for probe in found}


def wrong(found: dict[str, Probe]) -> list[str]:
    return [name for name, probe in found.items() if not probe.ok]


@contextmanager
def s3_that_says(*answers: tuple[str, str, int, dict[str, str], str]) -> Iterator[str]:
    """An S3 server that gives the first answer matching method and path; else 200 with an empty body."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _say(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            suits = (each for each in answers if each[0] == self.command and re.search(each[1], self.path))
            _, _, status, headers, body = next(suits, ("", "", 200, {}, ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_PUT = do_HEAD = do_DELETE = _say  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def refusal(code: str, more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>told by a test</Message>{more}</Error>"


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_wrong_token_names_the_place_of_the_secret(small: Rig) -> None:
    """After a 401 the line names the source and its secret's place, never the secret; the bucket is still checked."""
    place = Path(small.sources[0]["auth_token"]["file"])
    place.write_text("wrong-token-of-a-test")
    found = asked(small)
    assert wrong(found) == ["source voice: list"]
    line = found["source voice: list"]
    assert (line.exit_code, "401" in line.detail) == (77, True)
    assert f"correct auth_token ({place})" in line.hint
    assert "wrong-token-of-a-test" not in line.detail + line.hint


def test_a_missing_scope_is_told_in_the_providers_words(small: Rig) -> None:
    """After a 403 the line quotes the provider, and says that a permission is missing, not that the secret is wrong."""
    words = '{"code": 70051, "message": "this key may not read recordings"}'
    with s3_that_says(("GET", "Recordings", 403, {"content-type": "application/json"}, words)) as url:
        small.sources[0]["base_url"] = url
        found = asked(small)
    line = found["source voice: list"]
    assert (line.ok, line.exit_code) == (False, 77)
    assert "70051 this key may not read recordings" in line.detail
    assert "lack a permission: allow auth_token" in line.hint


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "credentials are wrong"), (403, "lack a permission"), (None, "wrong")]
)
def test_the_status_tells_a_missing_right_not_the_words(small: Rig, status: int | None, hint: str) -> None:
    """The answer's status decides between both, however the message is worded."""
    with (
        small.runtime() as runtime,
        pytest.raises(CredentialsRefused) as caught,
        sources._refusals_told(runtime.source("voice")),
    ):
        raise CredentialsRefused("the provider answered 403 and said no").answered(status)
    assert hint in caught.value.hint
    assert caught.value.status == status


def test_a_clock_that_is_off_is_told(small: Rig) -> None:
    """A clock that differs from the provider's by more than a minute is reported with the seconds."""
    found = asked(small, lambda: now() + timedelta(hours=1))
    line = found["source voice: list"]
    assert not line.ok and line.hint == "synchronise it with NTP"
    off = re.search(r"clock is (\d+) s off", line.detail)
    assert off is not None and int(off[1]) > 3000


def test_a_wrong_source_does_not_hide_the_next(small: Rig, simulator: Simulator) -> None:
    """Each configured source has its line, even if an earlier one fails."""
    small.add_source("later", "telnyx", simulator.add_account("telnyx"))
    small.sources[0]["auth_token"] = {"file": str(small.root / "none")}
    with small.runtime() as runtime:
        lines = {probe.name: probe.ok for probe in (*check.offline(runtime), *check.online(runtime))}
    said = [(name, ok) for name, ok in lines.items() if name.startswith("source")]
    assert said == [
        ("source voice: settings", False),
        ("source later: settings", True),
        ("source voice: list", False),
        ("source later: list", True),
    ]


# -- the bucket --------------------------------------------------------------------------------------------------------


def test_a_sound_bucket_has_only_good_lines(small: Rig) -> None:
    """A sound bucket has no faults, a notice only for what the store does not report, and the probe is removed."""
    found = asked(small)
    assert wrong(found) == []
    assert "does not report it" in found["bucket: Object Lock"].detail
    assert "recordings/provider=twilio/" in found["bucket: keys"].detail
    assert list(small.objects()) == ["schemas/sidecar-v1.json"]


def test_a_bucket_in_another_region_is_told_where_boto3_follows_it(small: Rig, strict_s3: StrictS3) -> None:
    """After a 301, which boto3 follows anew in each process, the line contains the region to configure."""
    small.bucket = strict_s3.bucket(region="eu-central-1").name
    found = asked(small)
    assert wrong(found) == ["bucket: region"]
    line = found["bucket: region"]
    assert (line.exit_code, line.hint) == (78, 'set archive.region = "eu-central-1"')
    small.archive = {"region": "eu-central-1"}
    assert wrong(asked(small)) == []


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (301, {"x-amz-bucket-region": "eu-central-1"}, refusal("PermanentRedirect")),
        (400, {}, refusal("AuthorizationHeaderMalformed", "<Region>eu-central-1</Region>")),
    ],
    ids=["301", "400"],
)
def test_a_refusal_that_names_the_region_is_told(small: Rig, status: int, headers: dict[str, str], body: str) -> None:
    """If requests to the bucket's own region are refused too, one line names the region, and the checks end."""
    with s3_that_says(("GET", "", status, headers, body), ("HEAD", "", status, headers, "")) as small.s3_url:
        found = asked(small)
    line = found["bucket: list"]
    assert (line.ok, line.exit_code, line.hint) == (False, 78, 'set archive.region = "eu-central-1"')
    assert "bucket: put and conditional put" not in found


@pytest.mark.parametrize(
    ("operation", "name", "right"),
    [
        ("LIST", "bucket: list", "s3:ListBucket"),
        ("PUT", "bucket: put and conditional put", "s3:PutObject, s3:PutObjectTagging"),
        ("GET", "bucket: get", "s3:GetObject"),
    ],
    ids=["list", "put", "get"],
)
def test_a_missing_right_is_named(small: Rig, strict_s3: StrictS3, operation: str, name: str, right: str) -> None:
    """A refusal names the missing permission, and other checks of the bucket go on."""
    bucket = strict_s3.bucket()
    bucket.denied = {operation}
    small.bucket, small.archive = bucket.name, {"tags": {"team": "voice"}}
    found = asked(small)
    assert name in wrong(found)
    assert (found[name].exit_code, found[name].hint) == (77, f"grant {right} to these credentials")
    assert "bucket: put and conditional put" in found


def test_the_code_tells_a_missing_right_not_the_words(small: Rig) -> None:
    """Unknown credentials are recognised by the store's code, whatever its message; the checks end there."""
    body = "<Error><Code>InvalidAccessKeyId</Code><Message>AccessDenied: no such key</Message></Error>"
    with s3_that_says(("GET", "", 403, {}, body), ("HEAD", "", 403, {}, "")) as small.s3_url:
        found = asked(small)
    line = found["bucket: list"]
    assert (line.exit_code, line.status, line.code) == (77, 403, "InvalidAccessKeyId")
    assert "grant" not in line.hint
    assert "bucket: put and conditional put" not in found


def test_a_refused_delete_is_well(small: Rig, strict_s3: StrictS3) -> None:
    """Archiving needs no permission to delete: its absence is no fault."""
    bucket = strict_s3.bucket()
    bucket.denied, small.bucket = {"DELETE"}, bucket.name
    found = asked(small)
    assert wrong(found) == []
    assert "refused, which is fine" in found["bucket: delete of the probe"].detail


def test_conditional_puts_that_are_ignored_are_a_notice(small: Rig, strict_s3: StrictS3) -> None:
    """A store without conditional writes is accepted, and the line states the consequence."""
    small.bucket = strict_s3.bucket(strictness=strict.RCLONE).name
    line = asked(small)["bucket: put and conditional put"]
    assert line.ok and "conditional puts are ignored" in line.detail and "only one machine" in line.hint


def test_what_a_store_enforces_is_asked_anew(small: Rig, strict_s3: StrictS3) -> None:
    """`check` tests a store again, whatever the ledger remembers of it."""
    bucket = strict_s3.bucket()
    small.bucket = bucket.name
    assert "ignored" not in asked(small)["bucket: put and conditional put"].detail
    bucket.strictness = strict.RCLONE
    assert "conditional puts are ignored" in asked(small)["bucket: put and conditional put"].detail


def test_a_bucket_that_is_not_there_is_one_line(small: Rig) -> None:
    """A bucket that does not exist is reported once."""
    small.bucket = "no-such-bucket"
    found = asked(small)
    assert wrong(found) == ["bucket: list"]
    assert "NoSuchBucket" in found["bucket: list"].detail and "archive.bucket" in found["bucket: list"].hint


# -- Object Lock and what else is asked of a put -----------------------------------------------------------------------


@pytest.fixture
def in_a_directory(small: Rig) -> Rig:
    """One source, one empty directory."""
    (small.root / "nas").mkdir(mode=0o750)
    small.bucket = f"file://{small.root / 'nas'}"
    return small


def of_the_bucket(found: dict[str, Probe]) -> list[str]:
    return [name.removeprefix("bucket: ") for name in found if name.startswith("bucket: ")]


def test_a_directory_is_asked_what_matters_there(in_a_directory: Rig) -> None:
    """Space, one file system, attributes and a put each have a good line, and the archive is begun."""
    found = asked(in_a_directory)
    assert wrong(found) == []
    assert of_the_bucket(found) == [
        *("keys", "directory", "free space", "put and conditional put"),
        *("one file system", "attributes", "letter case", "get", "delete of the probe"),
    ]
    assert "no archive yet" in found["bucket: directory"].detail
    assert "conditional puts are honoured" in found["bucket: put and conditional put"].detail
    assert "an archive" in asked(in_a_directory)["bucket: directory"].detail


def test_a_directory_that_is_not_there_is_one_line(in_a_directory: Rig) -> None:
    """A missing directory is a fault with a hint; nothing else is checked, and it is not created."""
    assert in_a_directory.directory is not None
    in_a_directory.directory.rmdir()
    found = asked(in_a_directory)
    assert of_the_bucket(found) == ["keys", "directory"]
    line = found["bucket: directory"]
    assert (line.ok, line.exit_code, "mount" in line.hint) == (False, 78, True)
    assert not in_a_directory.directory.exists()


def test_an_archive_that_is_gone_is_not_begun_anew(in_a_directory: Rig) -> None:
    """A directory that held an archive and is empty is not mounted: a temporary fault, and it stays empty."""
    assert wrong(asked(in_a_directory)) == []
    assert in_a_directory.directory is not None
    shutil.rmtree(in_a_directory.directory)
    in_a_directory.directory.mkdir()
    found = asked(in_a_directory)
    assert wrong(found) == ["bucket: put and conditional put"]
    assert found["bucket: put and conditional put"].exit_code == 75
    assert list(in_a_directory.directory.iterdir()) == []


@pytest.mark.parametrize(("free", "ok", "code"), [(1 << 20, False, 75), (512 << 20, True, 0)])
def test_a_directory_that_is_nearly_full(
    in_a_directory: Rig, monkeypatch: pytest.MonkeyPatch, free: int, ok: bool, code: int
) -> None:
    """Little space is a notice, very little a fault."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    line = asked(in_a_directory)["bucket: free space"]
    assert (line.ok, line.exit_code, bool(line.hint)) == (ok, code, True)


def test_a_directory_where_everyone_may_write_is_a_notice(in_a_directory: Rig) -> None:
    """A directory writable by everyone is a notice, as others could delete recordings."""
    assert in_a_directory.directory is not None
    in_a_directory.directory.chmod(0o777)
    line = asked(in_a_directory)["bucket: directory"]
    assert (line.ok, "chmod o-w" in line.hint) == (True, True)


def test_a_file_system_that_keeps_less_is_told(in_a_directory: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without attributes or letter case is as safe, and the lines state the difference."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    stat_of = os.open
    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "open", lambda path, *more, **named: stat_of(_folded(path), *more, **named))
    found = asked(in_a_directory)
    assert "verify --deep" in found["bucket: attributes"].detail
    assert (found["bucket: letter case"].ok, "edition" in found["bucket: letter case"].detail) == (True, True)


def _folded(path: Any) -> Any:
    """Return the path that a case-insensitive file system would find."""
    return path.lower() if isinstance(path, str) and path in ("SCHEMAS", "SIDECAR-V1.JSON") else path


def test_a_lock_on_a_bucket_without_object_lock_is_wrong(small: Rig, moto_url: str, moto_bucket: str) -> None:
    """A configured lock that the bucket does not support is a fault, with both remedies."""
    small.s3_url, small.bucket, small.archive = moto_url, moto_bucket, LOCKED
    line = asked(small)["bucket: Object Lock"]
    assert (line.ok, line.exit_code) == (False, 78)
    assert "requests GOVERNANCE for 2 days, but the bucket has no Object Lock" in line.detail
    assert 'archive.object_lock = { mode = "none" }' in line.hint


def test_a_locked_bucket_that_locks_nothing_is_a_notice(locked: Rig) -> None:
    """Object Lock without any retention protects nothing: ok, with a hint."""
    found = asked(locked)
    assert wrong(found) == []
    line = found["bucket: Object Lock"]
    assert line.detail.startswith("archived objects are not locked") and "days = " in line.hint
    assert found["bucket: versions"].detail == "kept"


def test_a_default_retention_needs_no_notice(locked: Rig) -> None:
    """With the bucket's default retention every object is locked, and the line states for how long."""
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    locked.s3.put_object_lock_configuration(
        Bucket=locked.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    line = asked(locked)["bucket: Object Lock"]
    assert (line.ok, line.hint) == (True, "")
    assert "by the bucket's default: GOVERNANCE for 30 days" in line.detail


def test_what_is_asked_and_kept_is_listed(locked: Rig) -> None:
    """Lock, hold, encryption, class and tags are compared with those of the stored object."""
    locked.archive = {
        "object_lock": {"mode": "GOVERNANCE", "days": 2, "legal_hold": True},
        "sse": "AES256",
        "storage_class": "STANDARD_IA",
        "tags": {"team": "voice"},
    }
    found = asked(locked)
    assert wrong(found) == []
    kept = "kept: storage class STANDARD_IA, sse AES256, GOVERNANCE for 2 days, legal hold, tags"
    assert found["bucket: settings applied"].detail == kept


HEADS = {
    "storage_class": ({"storage_class": "STANDARD_IA"}, "storage_class STANDARD_IA, reported is STANDARD"),
    "sse": ({"sse": "AES256"}, "sse AES256, reported is none"),
    "tags": ({"tags": {"team": "voice"}}, "tags team"),
    "lock": (LOCKED, "object_lock GOVERNANCE, reported is none"),
    "hold": ({"object_lock": {"mode": "none", "legal_hold": True}}, "legal_hold"),
}
NO_TAGS = ("GET", r"\?tagging", 200, {}, "<Tagging><TagSet></TagSet></Tagging>")
LOCK_ON = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
LISTED = ("GET", "list-type", 200, {}, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
NOT_DONE = ("GET", r"\?(retention|legal-hold)", 501, {}, refusal("NotImplemented"))
WROTE = ("PUT", "", 200, {"ETag": '"e"'}, "")
_PROBE = b"recvault check\n"
STANDS = ("HEAD", "check-probe", 200, {"ETag": '"e"', "x-amz-meta-sha256": sha256(_PROBE)}, _PROBE.decode())


@pytest.mark.parametrize("name", HEADS)
def test_what_a_store_drops_without_a_word_is_wrong(small: Rig, name: str) -> None:
    """A store that accepts an option and does not apply it is reported with the option's name."""
    small.archive, said = HEADS[name]
    with s3_that_says(
        NO_TAGS, ("GET", r"\?object-lock", 200, {}, LOCK_ON), NOT_DONE, LISTED, WROTE, STANDS
    ) as small.s3_url:
        line = asked_apart(small, "bucket: settings applied")
    assert (line.ok, line.exit_code) == (False, 78)
    assert line.detail == f"the store ignores configured settings: {said}"


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (501, "NotImplemented", "this store does not report it"),
        (405, "MethodNotAllowed", "this store does not report it"),
        (400, "InvalidRequest", "this store does not report it"),
        (200, None, "this store does not report it"),
        (403, "AccessDenied", "lack s3:GetBucketObjectLockConfiguration"),
    ],
    ids=["501", "405", "400", "200-and-no-answer", "403"],
)
def test_a_question_without_an_answer_is_no_error(small: Rig, status: int, code: str | None, why: str) -> None:
    """If the store does not support or permit a request, the line says so, and the checks go on."""
    body = refusal(code) if code else "<ListBucketResult><Name>b</Name></ListBucketResult>"
    with s3_that_says(("GET", r"\?object-lock", status, {}, body), LISTED, WROTE, STANDS) as small.s3_url:
        line = asked_apart(small, "bucket: Object Lock")
        small.archive = LOCKED
        wanting = asked_apart(small, "bucket: Object Lock")
    assert (line.ok, line.hint) == (True, "")
    assert why in line.detail
    assert wanting.ok and "it is unknown whether the bucket has it" in wanting.detail and wanting.hint


def test_a_lock_that_may_not_be_read_is_a_notice(small: Rig) -> None:
    """Without s3:GetObjectRetention a HEAD does not show the lock: that is not reported as a dropped lock."""
    small.archive = LOCKED
    hidden = ("GET", r"\?retention", 403, {}, refusal("AccessDenied"))
    with s3_that_says(hidden, ("GET", r"\?object-lock", 200, {}, LOCK_ON), LISTED, WROTE, STANDS) as small.s3_url:
        line = asked_apart(small, "bucket: settings applied")
    assert line.ok and "s3:GetObjectRetention" in line.detail


def asked_apart(rig: Rig, name: str) -> Probe:
    """Return one of the bucket's lines, without running the others."""
    with rig.runtime() as runtime:
        return next(probe for probe in check.bucket.answers(runtime) if probe.name == name)


# -- this machine ------------------------------------------------------------------------------------------------------


def test_a_full_disk_under_the_ledger_is_told(small: Rig) -> None:
    """Too little space for the ledger is a temporary fault, and the line says what to move."""
    with small.runtime() as runtime:
        with pytest.raises(Unavailable, match="MiB free") as caught:
            machine.ledger(runtime, least=1 << 62)
        assert "ledger.path" in caught.value.hint
        assert "free" in str(machine.ledger(runtime))


def test_a_ledger_where_everyone_may_write_is_a_notice(small: Rig) -> None:
    """A directory in which others could replace the ledger is ok with a notice and the chmod that fixes it."""
    small.root.chmod(0o777)
    with small.runtime() as runtime:
        line = next(each for each in machine.places(runtime) if each.name == "ledger")
        assert line.ok and line.hint.startswith(f"chmod o-w {small.root}")
        small.root.chmod(0o770)
        assert next(each for each in machine.places(runtime) if each.name == "ledger").hint == ""


def test_the_metrics_port_is_free_or_held_by_our_daemon(small: Rig) -> None:
    """A port used by another process is a fault; one used by our own daemon is not."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        taken = port_line(small, listen)
        lock = DaemonLock(small.root / "ledger.db", now())
        ours = port_line(small, listen)
        lock.close()
    assert (taken.ok, taken.exit_code, "another process listens on" in taken.detail) == (False, 78, True)
    assert ours.ok and "the running daemon, pid " in ours.detail
    assert port_line(small, listen).detail == f"{listen} is free for the daemon"
    assert not port_line(small, "192.0.2.1:9464").ok  # not an address of this machine


def test_a_ping_url_whose_host_does_not_resolve_is_told(small: Rig) -> None:
    """A host name that does not resolve is reported with its key in the configuration."""
    line = daemon_lines(small, metrics_listen="", ping_url="https://no-such-host.invalid/x")["daemon: ping_url"]
    assert (line.ok, line.exit_code) == (False, 75)
    assert "no-such-host.invalid does not resolve" in line.detail and "daemon.ping_url" in line.hint
    assert daemon_lines(small, metrics_listen="", ping_url="https://127.0.0.1/x")["daemon: ping_url"].ok


def port_line(rig: Rig, listen: str) -> Probe:
    return daemon_lines(rig, metrics_listen=listen)["daemon: metrics_listen"]


def daemon_lines(rig: Rig, **wanted: str) -> dict[str, Probe]:
    """Return the lines about `[daemon]` with these settings."""
    with rig.runtime() as runtime:
        table = runtime.settings.daemon.model_copy(update=wanted)
        runtime.settings = runtime.settings.model_copy(update={"daemon": table})
        return {probe.name: probe for probe in machine.daemon(runtime)}


# -- the catalog -------------------------------------------------------------------------------------------------------


def of_catalog(rig: Rig) -> list[Probe]:
    with rig.runtime() as runtime:
        return [*catalog_bucket.settings(runtime), *catalog_bucket.answers(runtime)]


def lock_by_default(rig: Rig) -> None:
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 365}}
    rig.s3.put_object_lock_configuration(
        Bucket=rig.bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )


def test_a_catalog_that_is_off_is_not_asked_about(locked: Rig) -> None:
    """Without [catalog] enabled, nothing is said of it."""
    assert of_catalog(locked) == []


def test_a_catalog_under_the_default_retention_is_a_notice(locked: Rig) -> None:
    """A default retention that each version would fall under is a notice, until something overrides it."""
    lock_by_default(locked)
    locked.catalog = {"enabled": True}
    extra, warned = of_catalog(locked)
    assert (extra.ok, extra.hint) == (True, "")
    assert (warned.ok, "COMPLIANCE for 365 days" in warned.detail, "retention_days" in warned.hint) == (
        True,
        True,
        True,
    )
    locked.catalog = {"enabled": True, "retention_days": 1}
    assert [each.hint for each in of_catalog(locked)] == ["", ""]
    other = f"open-{next(_numbers)}"
    locked.s3.create_bucket(Bucket=other)
    locked.catalog = {"enabled": True, "bucket": other}
    assert [(each.ok, each.hint) for each in of_catalog(locked)] == [(True, ""), (True, "")]


def test_a_catalog_without_its_extra_or_key_fails(locked: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra, and a key that is not there, fail with what to do."""
    locked.catalog = {"enabled": True, "numbers": "hmac", "numbers_key": {"env": "NOT_SET_ANYWHERE"}}
    assert "NOT_SET_ANYWHERE" in of_catalog(locked)[0].detail
    monkeypatch.setattr("recvault.catalog.spawned.is_installed", lambda: False)
    found = of_catalog(locked)[0]
    assert (found.ok, found.hint) == (False, "pip install 'recvault[catalog]'")
