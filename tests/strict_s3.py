"""A small, fast and strict S3 server for many tests: it refuses what S3 refuses, and can imitate older servers.

    with StrictS3() as server:
        bucket = server.bucket("recordings")                     # a Bucket: objects, counts, faults
        rig = Rig(..., s3_url=server.url, bucket=bucket.name)    # path style, region us-east-1, any credentials
        plan = bucket.faults.plan("reset_after", "PUT", ".wav")  # stored, and the reply is lost
        ...
        assert bucket.counts["PUT"] == 1 and not bucket.faults.unfired

It is one file, so that it can be read as a whole. Signatures are not verified; payload hashes, checksums, conditions,
regions and part sizes are. Operations, as counted and as faults name them: PUT GET HEAD DELETE LIST CREATE PART
COMPLETE ABORT UPLOADS COPY RETENTION LEGAL_HOLD HEAD_BUCKET CREATE_BUCKET.

Faults: `error` (500) and `slow_down` (503) before anything is done, `reset_before` and `reset_after` (RST and no
reply, before or after it is done), `hang` (nothing done, no reply for some seconds), `slow` (done, some seconds late),
`conflict` (409, only for conditional writes), `flip` and `cut` (a bit of the body flips, or a byte is lost, after the
signature's check).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_READ = 1 << 18
_LARGEST_HEAD = 1 << 16
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CREDENTIAL = re.compile(r"Credential=([^,]+)/\d{8}/([^/]+)/s3/aws4_request")
_PART = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)
_FIELD = re.compile(r"<(PartNumber|ETag|ChecksumSHA256)>([^<]*)</")
_numbers = itertools.count(1)
_KEPT_HEADERS = ("content-type", "content-encoding", "x-amz-")
_TOLD_HEADERS = (
    "content-",
    "x-amz-meta-",
    "x-amz-object-lock-",
    "x-amz-server-side-encryption",
    "x-amz-storage-class",
)

WRITES = frozenset({"PUT", "COMPLETE", "COPY"})
MENU: dict[str, frozenset[str]] = {
    **dict.fromkeys(("error", "slow_down", "reset_before", "reset_after", "hang", "slow"), frozenset()),  # any
    "conflict": WRITES,
    **dict.fromkeys(("flip", "cut"), frozenset({"PUT", "PART"})),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strictness:
    """What the server verifies; other things it ignores silently, as older servers do."""

    sha256: bool = True  # a wrong x-amz-checksum-sha256 is refused
    md5: bool = True  # a wrong Content-MD5 is refused
    conditional: bool = True  # If-None-Match: * of a put is honoured
    conditional_complete: bool = True  # … also of CompleteMultipartUpload
    conditional_copy: bool = True  # … also of CopyObject
    copies: bool = True  # CopyObject is implemented
    checks_origin: bool = True  # CopyObject honours x-amz-copy-source-if-match
    uploads_listed: bool = True  # ListMultipartUploads is implemented
    refuses_sums: bool = False  # x-amz-checksum-… and x-amz-sdk-checksum-algorithm are unsupported headers
    refuses_md5: bool = False  # Content-MD5 is an unsupported header
    tells_sum: bool = True  # a put's answer has the SHA-256 that was sent
    etag_md5: bool = True  # the ETag is the body's MD5, as with no encryption
    locks_parts: bool = True  # an upload in parts keeps the lock of its beginning
    part_least: int = 5 * 1024**2


AWS = Strictness()
CEPH = Strictness(sha256=False, conditional_complete=False, tells_sum=False)
CEPH_VERSIONED = Strictness(sha256=False, conditional=False, conditional_complete=False, tells_sum=False)
RCLONE = Strictness(sha256=False, conditional=False, conditional_complete=False, tells_sum=False)
BACKBLAZE = Strictness(sha256=False, conditional=False, conditional_complete=False, refuses_sums=True)
SUMLESS = Strictness(sha256=False, md5=False, refuses_sums=True, refuses_md5=True)
SEALED = Strictness(sha256=False, md5=False, refuses_sums=True, refuses_md5=True, etag_md5=False)
CARELESS = Strictness(
    sha256=False,
    md5=False,
    conditional=False,
    conditional_complete=False,
    uploads_listed=False,
    tells_sum=False,
    etag_md5=False,
)


@dataclass(slots=True, eq=False, kw_only=True)
class Plan:
    """A fault that must happen `times` times, to the first requests of `op` whose key contains `match`."""

    name: str
    op: str
    match: str
    times: int
    skip: int  # such requests to let pass first
    seconds: float
    fired: int = 0

    def takes(self, op: str, key: str) -> bool:
        if self.fired >= self.times or self.op not in ("", op) or self.match not in key:
            return False
        self.skip -= 1
        if self.skip >= 0:
            return False
        self.fired += 1
        return True


class Faults:
    """The faults of one bucket: certain ones by `plan`, or by `share`, the same for the same seed and requests."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._plans: list[Plan] = []
        self._shares: list[tuple[str, str, float, float]] = []
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self.fired: Counter[str] = Counter()

    def plan(
        self, name: str, op: str = "", match: str = "", *, times: int = 1, skip: int = 0, seconds: float = 1.0
    ) -> Plan:
        """Plan a fault that must happen."""
        plan = Plan(name=_known(name), op=op, match=match, times=times, skip=skip, seconds=seconds)
        self._plans.append(plan)
        return plan

    def share(self, name: str, share: float, op: str = "", *, seconds: float = 0.1) -> None:
        """Let a fault happen to this share of the requests of `op`, or of all."""
        self._shares.append((_known(name), op, share, seconds))

    def off(self) -> None:
        """Stop all faults."""
        self._plans, self._shares = [], []

    @property
    def unfired(self) -> list[Plan]:
        """Plans that have not fired as often as planned: a test that leaves any proves less than it claims."""
        return [plan for plan in self._plans if plan.fired < plan.times]

    def choose(self, op: str, key: str, *, conditional: bool) -> tuple[str, float] | None:
        """Return the fault of this request and its seconds, if any."""
        if not (self._plans or self._shares):
            return None
        with self._lock:
            found = self._planned(op, key, conditional) or self._shared(op, key, conditional)
            if found:
                self.fired[found[0]] += 1
            return found

    def _planned(self, op: str, key: str, conditional: bool) -> tuple[str, float] | None:
        for plan in self._plans:
            if _suits(plan.name, op, conditional) and plan.takes(op, key):
                return plan.name, plan.seconds
        return None

    def _shared(self, op: str, key: str, conditional: bool) -> tuple[str, float] | None:
        self._seen[op, key] += 1
        drawn = hashlib.blake2b(f"{self._seed}/{op}/{key}/{self._seen[op, key]}".encode(), digest_size=7).digest()
        where = int.from_bytes(drawn, "big") / (1 << 56)
        for name, wanted, share, seconds in self._shares:
            if wanted in ("", op) and _suits(name, op, conditional):
                where -= share
                if where < 0:
                    return name, seconds
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An object, or a part of one."""

    bytes: int
    sha256: str  # hex; for a multipart object that is not kept: of its parts' hashes
    etag: str
    headers: dict[str, str]  # content-type and all x-amz-…, lower case: metadata, tags, lock, encryption, class
    modified: datetime
    body: bytes | None  # None: larger than keep_most

    @property
    def metadata(self) -> dict[str, str]:
        return {name[11:]: value for name, value in self.headers.items() if name.startswith("x-amz-meta-")}


@dataclass(slots=True, kw_only=True)
class Upload:
    """A running multipart upload."""

    key: str
    headers: dict[str, str]
    begun: datetime
    parts: dict[int, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request with its answer; status 0: none."""

    op: str
    key: str
    status: int
    headers: dict[str, str] = field(repr=False)


@dataclass(eq=False, kw_only=True)
class Bucket:
    """One bucket, with its own strictness, faults and counts. Anything may be changed while the server runs."""

    name: str
    url: str
    region: str
    strictness: Strictness
    keep_most: int | None
    faults: Faults
    objects: dict[str, Kept] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)  # requests by operation
    writes: Counter[str] = field(default_factory=Counter)  # objects written, by key
    log: deque[Seen] = field(default_factory=lambda: deque(maxlen=10_000))
    denied: set[str] = field(default_factory=set)  # operations that answer 403 AccessDenied
    denied_keys: set[tuple[str, str]] = field(default_factory=set)  # … only for keys that end so
    cold: set[str] = field(default_factory=set)  # keys of objects in an archive class: GET is 403 InvalidObjectState
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def body(self, key: str) -> bytes:
        """Return an object's bytes."""
        body = self.objects[key].body
        assert body is not None, f"{key} was not kept: it is larger than {self.keep_most} bytes"
        return body

    def place(self, key: str, body: bytes, **metadata: str) -> None:
        """Put an object without a request."""
        headers = {"content-type": "binary/octet-stream"} | {f"x-amz-meta-{n}": v for n, v in metadata.items()}
        self.objects[key] = Body(body).kept(headers)

    def clear_counts(self) -> None:
        """Reset the counts; the objects stay."""
        self.counts.clear()
        self.writes.clear()
        self.log.clear()


class Refusal(Exception):
    """Raised to answer a request with an error."""

    def __init__(self, status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class Body:
    """A request's body, with its hashes as received and as stored."""

    def __init__(
        self, body: bytes = b"", *, bend: str | None = None, md5: bool = False, keep_most: int | None = None
    ) -> None:
        self.wire, self.sha256 = hashlib.sha256(), hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self.size = 0
        self.chunks: list[bytes] | None = []
        self._bend, self._bent, self._keep_most = bend, False, keep_most
        if body:
            self.add(body)

    def add(self, chunk: bytes) -> None:
        if self._bend:
            self.wire.update(chunk)
            if not self._bent:
                chunk = chunk[1:] if self._bend == "cut" else bytes([chunk[0] ^ 1]) + chunk[1:]
                self._bent = True
        self.sha256.update(chunk)
        if self.md5:
            self.md5.update(chunk)
        self.size += len(chunk)
        if self._keep_most is not None and self.size > self._keep_most:
            self.chunks = None
        if self.chunks is not None:
            self.chunks.append(chunk)

    @property
    def as_it_came(self) -> str:
        return (self.wire if self._bend else self.sha256).hexdigest()

    @property
    def text(self) -> str:
        return b"".join(self.chunks or ()).decode()

    def kept(self, headers: dict[str, str], *, etag_md5: bool = True) -> Kept:
        sha256 = self.sha256.hexdigest()
        body = None if self.chunks is None else b"".join(self.chunks)
        etag = f'"{self.md5.hexdigest() if self.md5 and etag_md5 else sha256[:32]}"'
        return Kept(bytes=self.size, sha256=sha256, etag=etag, headers=headers, modified=_now(), body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A parsed request head."""

    verb: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def op(self) -> str:
        """The operation; empty for one that is not implemented."""
        query = self.query.keys() - {"x-id"}
        if not self.key:
            if self.verb == "GET":
                return "UPLOADS" if "uploads" in query else "LIST" if self.query.get("list-type") == "2" else ""
            return {"HEAD": "HEAD_BUCKET", "PUT": "CREATE_BUCKET"}.get(self.verb, "") if not query else ""
        if "uploadId" in query:
            return {"PUT": "PART", "POST": "COMPLETE", "DELETE": "ABORT"}.get(self.verb, "")
        if self.verb == "PUT" and query in ({"retention"}, {"legal-hold"}):
            return "RETENTION" if "retention" in query else "LEGAL_HOLD"
        if query:
            return "CREATE" if (self.verb, query) == ("POST", {"uploads"}) else ""
        if self.verb == "PUT" and "x-amz-copy-source" in self.headers:
            return "COPY"
        return self.verb if self.verb in ("PUT", "GET", "HEAD", "DELETE") else ""

    @property
    def conditional(self) -> bool:
        return self.headers.get("if-none-match") == "*"

    @property
    def kept_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.startswith(_KEPT_HEADERS)}


Reply = tuple[int, dict[str, str], bytes]


running: dict[str, StrictS3] = {}  # by URL


class StrictS3:
    """The server, on 127.0.0.1. A context that closes every connection and joins every thread."""

    def __init__(self, *, seed: int = 0, port: int = 0) -> None:
        self._seed = seed
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._acceptor = threading.Thread(target=self._accept, name="strict-s3-accept", daemon=True)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.buckets: dict[str, Bucket] = {}
        self.refused_keys: set[str] = set()  # access keys that answer 403 InvalidAccessKeyId
        running[self.url] = self

    def bucket(
        self,
        name: str | None = None,
        *,
        strictness: Strictness = AWS,
        region: str = "us-east-1",
        keep_most: int | None = None,
    ) -> Bucket:
        """Make a bucket. Of objects larger than `keep_most` only size and hashes are kept."""
        name = name or f"strict-{next(_numbers)}"
        self.buckets[name] = Bucket(
            name=name,
            url=self.url,
            region=region,
            strictness=strictness,
            keep_most=keep_most,
            faults=Faults(self._seed),
        )
        return self.buckets[name]

    def forget(self, bucket: Bucket) -> None:
        """Remove a bucket and its objects."""
        self.buckets.pop(bucket.name, None)
        for kept in (bucket.objects, bucket.uploads, bucket.log):
            kept.clear()

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        running.pop(self.url, None)
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._acceptor.is_alive():
            self._acceptor.join()
        with self._lock:
            open_now = list(self._open.items())
        for sock, thread in open_now:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            thread.join()

    # -- the wire ------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._converse, args=(sock,), name="strict-s3", daemon=True)
            with self._lock:
                self._open[sock] = thread
            thread.start()

    def _converse(self, sock: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), sock:  # a client may close at any time
                buffer = bytearray()
                while (request := _read_head(sock, buffer)) is not None and self._answer(sock, buffer, request):
                    pass
        finally:
            with self._lock:
                self._open.pop(sock, None)

    def _answer(self, sock: socket.socket, buffer: bytearray, request: Request) -> bool:
        """Read the body, do the operation, reply; False if the connection must close."""
        op, bucket = request.op, self.buckets.get(request.bucket)
        fault, seconds = None, 0.0
        if bucket and (chosen := bucket.faults.choose(op, request.key, conditional=request.conditional)):
            fault, seconds = chosen
        body = Body(
            bend=fault if fault in ("flip", "cut") else None,
            md5="content-md5" in request.headers or bool(bucket and bucket.strictness.etag_md5),
            keep_most=bucket.keep_most if bucket and op in ("PUT", "PART") else None,
        )
        if not _read_body(sock, buffer, request, body):
            return False
        if fault in ("slow", "hang"):
            self._stopping.wait(seconds)
        reply = None if fault in ("reset_before", "hang") else self._reply(op, bucket, request, body, fault)
        if fault == "reset_after":
            reply = None
        if bucket:
            bucket.counts[op] += 1
            bucket.log.append(Seen(op, request.key, reply[0] if reply else 0, request.headers))
        if reply is None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        sock.sendall(_written(request, reply))
        return request.headers.get("connection", "").lower() != "close"

    def _reply(self, op: str, bucket: Bucket | None, request: Request, body: Body, fault: str | None) -> Reply:
        try:
            self._check(op, bucket, request, body)
            if fault in _UNDONE:
                raise Refusal(*_UNDONE[fault])
            if bucket is None:
                self.bucket(request.bucket)
                return 200, {}, b""
            if op == "COPY":
                return _copy(self.buckets, bucket, request)
            return _OPERATIONS[op](bucket, request, body)
        except Refusal as refusal:
            return refusal.status, refusal.headers, _error(refusal.code, refusal.message)

    def _check(self, op: str, bucket: Bucket | None, request: Request, body: Body) -> None:
        """Check what precedes any operation: credentials, payload hash, bucket, region, permissions."""
        access_key, region = _signed_by(request)
        if access_key in self.refused_keys:
            raise Refusal(403, "InvalidAccessKeyId", "The access key Id you provided does not exist in our records.")
        claimed = request.headers.get("x-amz-content-sha256", "")
        if claimed.startswith("STREAMING-"):
            raise Refusal(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        if claimed not in ("UNSIGNED-PAYLOAD", body.as_it_came):
            raise Refusal(400, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 is not the body's.")
        if bucket is None:
            if op != "CREATE_BUCKET":
                raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
            return
        if region != bucket.region:
            headers = {"x-amz-bucket-region": bucket.region}
            raise Refusal(301, "PermanentRedirect", "The bucket must be addressed by its own endpoint.", headers)
        if refused := _unsupported(bucket.strictness, request):
            raise Refusal(400, "InvalidArgument", f"Unsupported header '{refused}' received for this API call.")
        if op in bucket.denied or any(op == denied and request.key.endswith(end) for denied, end in bucket.denied_keys):
            raise Refusal(403, "AccessDenied", "Access Denied")
        if op == "COPY" and bucket.strictness.copies:
            return
        if op not in _OPERATIONS or (op == "UPLOADS" and not bucket.strictness.uploads_listed):
            raise Refusal(501, "NotImplemented", "A header you provided implies functionality not implemented.")


def _unsupported(strictness: Strictness, request: Request) -> str | None:
    """Return a header that this server does not support, and refuses."""
    for name in request.headers:
        if strictness.refuses_sums and name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum-")):
            return name
        if strictness.refuses_md5 and name == "content-md5":
            return name
    return None


_UNDONE: dict[str | None, tuple[int, str, str]] = {
    "error": (500, "InternalError", "We encountered an internal error. Please try again."),
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "conflict": (409, "ConditionalRequestConflict", "A conflicting operation happened during the request."),
}


# -- operations --------------------------------------------------------------------------------------------------------


def _check_sums(bucket: Bucket, request: Request, body: Body) -> None:
    """Refuse a body that differs from the hashes that the server verifies."""
    strict, claimed = bucket.strictness, request.headers
    if strict.md5 and "content-md5" in claimed and body.md5 and claimed["content-md5"] != _base64(body.md5):
        raise Refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    wanted = claimed.get("x-amz-checksum-sha256")
    if strict.sha256 and wanted is not None and wanted != _base64(body.sha256):
        raise Refusal(400, "BadDigest", "The SHA256 you specified did not match the calculated checksum.")


def _store(bucket: Bucket, key: str, kept: Kept, *, unless_there: bool) -> Reply:
    with bucket.lock:
        if unless_there and key in bucket.objects:
            raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        bucket.objects[key] = kept
        bucket.writes[key] += 1
    return 200, _stored(bucket, kept), b""


def _stored(bucket: Bucket, kept: Kept) -> dict[str, str]:
    """Return the headers of a put's answer."""
    told = bucket.strictness.tells_sum and "x-amz-checksum-sha256" in kept.headers
    sha256 = base64.b64encode(bytes.fromhex(kept.sha256)).decode()
    return {"ETag": kept.etag, **({"x-amz-checksum-sha256": sha256} if told else {})}


def _put(bucket: Bucket, request: Request, body: Body) -> Reply:
    _check_key(request.key)
    _check_sums(bucket, request, body)
    unless_there = request.conditional and bucket.strictness.conditional
    kept = body.kept(request.kept_headers, etag_md5=bucket.strictness.etag_md5)
    if (wanted := request.headers.get("if-match")) is None or not bucket.strictness.conditional:
        return _store(bucket, request.key, kept, unless_there=unless_there)
    with bucket.lock:
        if _found(bucket, request.key).etag != wanted:
            raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        bucket.objects[request.key] = kept
        bucket.writes[request.key] += 1
    return 200, _stored(bucket, kept), b""


def _copy(buckets: dict[str, Bucket], bucket: Bucket, request: Request) -> Reply:
    """Copy an object of any bucket of this server, with new metadata."""
    _check_key(request.key)
    told, strict = request.headers, bucket.strictness
    name, _, key = unquote(told["x-amz-copy-source"]).lstrip("/").partition("/")
    if (theirs := buckets.get(name)) is None:
        raise Refusal(404, "NoSuchBucket", "The specified bucket does not exist")
    if {"GET", "COPY"} & theirs.denied:
        raise Refusal(403, "AccessDenied", "Access Denied")
    kept = _found(theirs, key)
    if strict.checks_origin and told.get("x-amz-copy-source-if-match", kept.etag) != kept.etag:
        raise Refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
    if (told.get("x-amz-metadata-directive"), told.get("x-amz-tagging-directive")) != ("REPLACE", "REPLACE"):
        raise Refusal(400, "InvalidRequest", "This server copies no metadata and no tags.")
    headers = {name: value for name, value in request.kept_headers.items() if not name.startswith("x-amz-copy-")}
    made = replace(kept, headers=headers, modified=_now())
    _store(bucket, request.key, made, unless_there=request.conditional and strict.conditional_copy)
    summed = strict.tells_sum and told.get("x-amz-checksum-algorithm") == "SHA256"
    sha256 = base64.b64encode(bytes.fromhex(made.sha256)).decode()
    inside = f"<ChecksumSHA256>{sha256}</ChecksumSHA256>" if summed else ""
    return _xml("CopyObjectResult", f"<ETag>{escape(made.etag)}</ETag>{inside}")


def _found(bucket: Bucket, key: str) -> Kept:
    kept = bucket.objects.get(key)
    if kept is None:
        raise Refusal(404, "NoSuchKey", "The specified key does not exist.")
    return kept


def _described(kept: Kept) -> dict[str, str]:
    headers = {name: value for name, value in kept.headers.items() if name.startswith(_TOLD_HEADERS)}
    return {**headers, "ETag": kept.etag, "Last-Modified": format_datetime(kept.modified, usegmt=True)}


def _get(bucket: Bucket, request: Request, _: Body) -> Reply:
    kept = _found(bucket, request.key)
    if request.key in bucket.cold:
        raise Refusal(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
    if kept.body is None:
        raise Refusal(500, "InternalError", "This body was not kept.")
    return _ranged(request.headers.get("range", ""), _described(kept), kept.body)


def _ranged(asked: str, headers: dict[str, str], body: bytes) -> Reply:
    """Answer with one range of a body, or with all of it if none is asked for."""
    found = _RANGE.fullmatch(asked)
    if found is None or not any(found.groups()):
        return 200, {**headers, "Accept-Ranges": "bytes"}, body
    first, last = found.groups()
    begin = int(first) if first else max(0, len(body) - int(last))
    end = min(len(body), int(last) + 1) if first and last else len(body)
    if not begin < end:
        raise Refusal(
            416, "InvalidRange", "The requested range is not satisfiable", {"Content-Range": f"bytes */{len(body)}"}
        )
    return 206, {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(body)}"}, body[begin:end]


def _head(bucket: Bucket, request: Request, _: Body) -> Reply:
    kept = _found(bucket, request.key)
    sums = _stored(bucket, kept) if request.headers.get("x-amz-checksum-mode") == "ENABLED" else {}
    return 200, {**_described(kept), **sums, "Content-Length": str(kept.bytes), "Accept-Ranges": "bytes"}, b""


def _delete(bucket: Bucket, request: Request, _: Body) -> Reply:
    bucket.objects.pop(request.key, None)
    return 204, {}, b""


def _list(bucket: Bucket, request: Request, _: Body) -> Reply:
    prefix, most = request.query.get("prefix", ""), min(1000, int(request.query.get("max-keys", "1000")))
    token = request.query.get("continuation-token")
    after = base64.urlsafe_b64decode(token).decode() if token else request.query.get("start-after", "")
    with bucket.lock:
        keys = sorted(key for key in bucket.objects if key.startswith(prefix) and key > after)
    name = quote if request.query.get("encoding-type") == "url" else escape
    rows = "".join(_row(name(key), bucket.objects[key]) for key in keys[:most] if key in bucket.objects)
    more = len(keys) > most
    next_token = base64.urlsafe_b64encode(keys[most - 1].encode()).decode() if more else ""
    return _xml(
        "ListBucketResult",
        f"<Name>{bucket.name}</Name><Prefix>{name(prefix)}</Prefix>"
        f"{'<EncodingType>url</EncodingType>' if name is quote else ''}"
        f"<KeyCount>{len(keys[:most])}</KeyCount><MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>"
        f"{f'<NextContinuationToken>{next_token}</NextContinuationToken>' if more else ''}{rows}",
    )


def _row(name: str, kept: Kept) -> str:
    return (
        f"<Contents><Key>{name}</Key><LastModified>{_iso(kept.modified)}</LastModified>"
        f"<ETag>{escape(kept.etag)}</ETag><Size>{kept.bytes}</Size></Contents>"
    )


def _uploads(bucket: Bucket, request: Request, _: Body) -> Reply:
    prefix, most = request.query.get("prefix", ""), min(1000, int(request.query.get("max-uploads", "1000")))
    after = (request.query.get("key-marker", ""), request.query.get("upload-id-marker", ""))
    with bucket.lock:
        every = sorted((upload.key, number, upload) for number, upload in bucket.uploads.items())
    chosen = [row for row in every if row[0].startswith(prefix) and row[:2] > after]
    name = quote if request.query.get("encoding-type") == "url" else escape
    rows = "".join(
        f"<Upload><Key>{name(key)}</Key><UploadId>{number}</UploadId><Initiated>{_iso(upload.begun)}</Initiated></Upload>"
        for key, number, upload in chosen[:most]
    )
    more = len(chosen) > most
    key, number = chosen[most - 1][:2] if more else ("", "")
    return _xml(
        "ListMultipartUploadsResult",
        f"<Bucket>{bucket.name}</Bucket><IsTruncated>{str(more).lower()}</IsTruncated>"
        f"<NextKeyMarker>{name(key)}</NextKeyMarker><NextUploadIdMarker>{number}</NextUploadIdMarker>{rows}",
    )


def _create(bucket: Bucket, request: Request, _: Body) -> Reply:
    _check_key(request.key)
    number = f"upload-{next(_numbers):08}"
    with bucket.lock:
        bucket.uploads[number] = Upload(key=request.key, headers=request.kept_headers, begun=_now())
    inside = f"<Bucket>{bucket.name}</Bucket><Key>{escape(request.key)}</Key><UploadId>{number}</UploadId>"
    return _xml("InitiateMultipartUploadResult", inside)


def _upload(bucket: Bucket, request: Request) -> Upload:
    upload = bucket.uploads.get(request.query["uploadId"])
    if upload is None or upload.key != request.key:
        raise Refusal(404, "NoSuchUpload", "The specified multipart upload does not exist.")
    return upload


def _part(bucket: Bucket, request: Request, body: Body) -> Reply:
    upload = _upload(bucket, request)
    _check_sums(bucket, request, body)
    kept = body.kept(request.kept_headers, etag_md5=bucket.strictness.etag_md5)
    upload.parts[int(request.query["partNumber"])] = kept
    return 200, _stored(bucket, kept), b""


def _complete(bucket: Bucket, request: Request, body: Body) -> Reply:
    upload = _upload(bucket, request)
    named = [dict(_FIELD.findall(part)) for part in _PART.findall(body.text)]
    parts = [_named_part(bucket, upload, each) for each in named]
    numbers = [int(each["PartNumber"]) for each in named]
    if not parts or numbers != sorted(set(numbers)):
        raise Refusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    if any(part.bytes < bucket.strictness.part_least for part in parts[:-1]):
        raise Refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
    unless_there = request.conditional and bucket.strictness.conditional_complete
    lock = () if bucket.strictness.locks_parts else ("x-amz-object-lock-",)
    kept = _joined(parts, {name: value for name, value in upload.headers.items() if not name.startswith(lock)})
    _store(bucket, request.key, kept, unless_there=unless_there)
    bucket.uploads.pop(request.query["uploadId"], None)
    return _xml("CompleteMultipartUploadResult", f"<Key>{escape(request.key)}</Key><ETag>{escape(kept.etag)}</ETag>")


def _named_part(bucket: Bucket, upload: Upload, named: dict[str, str]) -> Kept:
    part = upload.parts.get(int(named["PartNumber"]))
    if part is None or named["ETag"].replace("&quot;", '"') != part.etag:
        raise Refusal(400, "InvalidPart", "One or more of the specified parts could not be found.")
    summed = bucket.strictness.sha256 and upload.headers.get("x-amz-checksum-algorithm") == "SHA256"
    if summed and named.get("ChecksumSHA256") != base64.b64encode(bytes.fromhex(part.sha256)).decode():
        raise Refusal(400, "InvalidPart", "The part's checksum is not the one that was uploaded.")
    return part


def _joined(parts: list[Kept], headers: dict[str, str]) -> Kept:
    bodies = [part.body for part in parts if part.body is not None]
    whole = b"".join(bodies) if len(bodies) == len(parts) else None
    summed = whole if whole is not None else b"".join(bytes.fromhex(part.sha256) for part in parts)
    sha256 = hashlib.sha256(summed).hexdigest()
    return Kept(
        bytes=sum(part.bytes for part in parts),
        sha256=sha256,
        etag=f'"{sha256[:32]}-{len(parts)}"',
        headers=headers,
        modified=_now(),
        body=whole,
    )


def _abort(bucket: Bucket, request: Request, _: Body) -> Reply:
    _upload(bucket, request)
    bucket.uploads.pop(request.query["uploadId"], None)
    return 204, {}, b""


def _retention(bucket: Bucket, request: Request, body: Body) -> Reply:
    mode, until = (re.search(f"<{name}>([^<]*)<", body.text) for name in ("Mode", "RetainUntilDate"))
    assert mode and until
    return _locked(
        bucket,
        request,
        body,
        {"x-amz-object-lock-mode": mode[1], "x-amz-object-lock-retain-until-date": until[1]},
    )


def _legal_hold(bucket: Bucket, request: Request, body: Body) -> Reply:
    return _locked(bucket, request, body, {"x-amz-object-lock-legal-hold": "ON" if "ON" in body.text else "OFF"})


def _locked(bucket: Bucket, request: Request, body: Body, lock: dict[str, str]) -> Reply:
    """Set an object's lock or hold; the request needs a checksum if the server supports any."""
    strict, told = bucket.strictness, request.headers
    takes = not (strict.refuses_sums and strict.refuses_md5)
    if takes and "content-md5" not in told and not any(name.startswith("x-amz-checksum-") for name in told):
        raise Refusal(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
    _check_sums(bucket, request, body)
    kept = _found(bucket, request.key)
    kept.headers.update(lock)
    return 200, {}, b""


def _nothing(*_: object) -> Reply:
    return 200, {}, b""


_OPERATIONS: dict[str, Callable[[Bucket, Request, Body], Reply]] = {
    "PUT": _put,
    "GET": _get,
    "HEAD": _head,
    "DELETE": _delete,
    "LIST": _list,
    "UPLOADS": _uploads,
    "CREATE": _create,
    "PART": _part,
    "COMPLETE": _complete,
    "ABORT": _abort,
    "RETENTION": _retention,
    "LEGAL_HOLD": _legal_hold,
    "HEAD_BUCKET": _nothing,
    "CREATE_BUCKET": _nothing,
}


# -- bytes -------------------------------------------------------------------------------------------------------------


def _read_head(sock: socket.socket, buffer: bytearray) -> Request | None:
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        chunk = sock.recv(_LARGEST_HEAD)
        if not chunk or len(buffer) > _LARGEST_HEAD:
            return None
        buffer += chunk
    lines = buffer[:end].decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    verb, target, _ = lines[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    path, _, query = target.partition("?")
    bucket, _, key = path[1:].partition("/")
    return Request(
        verb=verb,
        bucket=unquote(bucket),
        key=unquote(key),
        query=dict(parse_qsl(query, keep_blank_values=True)) if query else {},
        headers=headers,
    )


def _read_body(sock: socket.socket, buffer: bytearray, request: Request, body: Body) -> bool:
    left = int(request.headers.get("content-length", "0"))
    if left and not buffer and request.headers.get("expect", "").lower() == "100-continue":
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if buffer and left:
        body.add(bytes(buffer[:left]))
        taken = min(left, len(buffer))
        del buffer[:taken]
        left -= taken
    while left:
        chunk = sock.recv(min(left, _READ))
        if not chunk:
            return False
        body.add(chunk)
        left -= len(chunk)
    return True


def _written(request: Request, reply: Reply) -> bytes:
    status, headers, body = reply
    headers.setdefault("Content-Length", str(len(body)))
    if body and "content-type" not in headers:
        headers["Content-Type"] = "application/xml"
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, '')}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "Server: strict", "\r\n"]).encode("latin-1")
    return head if request.verb == "HEAD" or status == 204 else head + body


def _signed_by(request: Request) -> tuple[str, str]:
    """Return access key and region of a signature, which is not verified."""
    found = _CREDENTIAL.search(request.headers.get("authorization", ""))
    if found is None:
        raise Refusal(403, "AccessDenied", "Access Denied")
    return found[1], found[2]


def _check_key(key: str) -> None:
    if len(key.encode()) > 1024:
        raise Refusal(400, "KeyTooLongError", "Your key is too long")


def _error(code: str, message: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'.encode()


def _xml(name: str, inside: str) -> Reply:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return 200, {}, f'<?xml version="1.0"?><{name} xmlns="{namespace}">{inside}</{name}>'.encode()


def _base64(digest: Any) -> str:
    return base64.b64encode(digest.digest()).decode()


def _now() -> datetime:
    return datetime.now(UTC)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _suits(name: str, op: str, conditional: bool) -> bool:
    return (not MENU[name] or op in MENU[name]) and (name != "conflict" or conditional)


def _known(name: str) -> str:
    if name not in MENU:
        raise ValueError(f"no such fault: {name}; there are {', '.join(MENU)}")
    return name
