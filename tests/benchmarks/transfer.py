"""Measure what a recording's transfer costs, beside a plain `requests` + boto3 loop and rclone.

    python tests/benchmarks/transfer.py [--recordings N] [--bytes N] [--workers N] [--rounds N] [--rclone PATH]

Each contestant fetches the same media by GET, hashes them, PUTs them and PUTs a sidecar, in a process of its own, and
takes its turn in each round. See README.md beside this file for what the figures mean.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCOUNT = "AC" + "b" * 32
RATE = 8000  # samples a second, of two bytes each
DAY = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
NGINX = """
daemon off; worker_processes 1; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; client_max_body_size 0;
  client_body_buffer_size 4m; client_body_temp_path {root}/body; proxy_temp_path {root}/t1;
  fastcgi_temp_path {root}/t2; uwsgi_temp_path {root}/t3; scgi_temp_path {root}/t4;
  types {{ audio/x-wav wav; application/json json; }}
  server {{
    listen 127.0.0.1:{port} backlog=511;
    root {root}/files;
    dav_methods PUT; create_full_put_path on;
  }}
}}
"""


@dataclass(frozen=True)
class Spec:
    """What a contestant is asked to do."""

    url: str
    bucket: str
    count: int
    bytes: int
    workers: int
    root: str

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"RE{number:032x}" for number in range(self.count))

    @property
    def media(self) -> str:
        return f"2010-04-01/Accounts/{ACCOUNT}/Recordings"


@dataclass(frozen=True)
class Cost:
    """What one round of one contestant took."""

    seconds: float
    cpu: float
    peak_mb: float


# -- host and sink -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(root: Path) -> Iterator[tuple[str, str]]:
    """A host of files that takes PUTs: its URL, and what it is."""
    (root / "files").mkdir()
    port = _free_port()
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx:
        (root / "nginx.conf").write_text(f"user {_user()};" + NGINX.format(root=root, port=port))
        command, name = [nginx, "-c", str(root / "nginx.conf"), "-e", str(root / "error.log")], "nginx"
    else:
        command = [sys.executable, __file__, "--serve", str(port), str(root / "files")]
        name = "a Python server, as nginx is not installed: IT IS SLOWER THAN WHAT IS MEASURED, trust only CPU seconds"
    server = subprocess.Popen(command)
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}", name
    finally:
        server.terminate()
        server.wait()


def serve(port: int, directory: str) -> None:
    """The host without nginx."""

    class Files(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        extensions_map = {".wav": "audio/x-wav", ".json": "application/json"}  # noqa: RUF012 - the base's own form

        def do_PUT(self) -> None:
            path = Path(self.translate_path(self.path))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    os.chdir(directory)
    ThreadingHTTPServer(("127.0.0.1", port), Files).serve_forever()


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not answer")


def write_media(folder: Path, ids: tuple[str, ...], size: int) -> None:
    """A WAV per id: eight of noise, over and over, as no contestant looks at two at once."""
    folder.mkdir(parents=True)
    noise = random.Random(1)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", size
    )
    bodies = [head + noise.randbytes(size) for _ in range(8)]
    for number, each in enumerate(ids):
        (folder / f"{each}.wav").write_bytes(bodies[number % len(bodies)])


# -- the contestants ---------------------------------------------------------------------------------------------------


def measured(spec: Spec, one: Callable[[str], None]) -> Cost:
    """Run over all recordings on threads; what importing and setting up cost is not counted."""
    with ThreadPoolExecutor(spec.workers) as threads:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        for _ in threads.map(one, spec.ids):
            pass
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, after.ru_maxrss / 1024)


def run_recvault(spec: Spec) -> Cost:
    """recvault's own Transfer, as the runtime builds it, at a store that verifies SHA-256 and honours conditions."""
    from recvault import config
    from recvault.models import Job, Phase, Receipt, Recording
    from recvault.runtime import Runtime
    from recvault.store import StoreFacts

    os.environ["BENCH_TOKEN"] = "0123456789abcdef"
    settings = config.load(_config(spec))
    row = {"sid": "", "account_sid": ACCOUNT, "date_created": "Thu, 01 Oct 2026 09:00:00 +0000", "status": "completed"}

    with Runtime(settings, clock=lambda: datetime.now(UTC)) as runtime:
        runtime.store.facts = StoreFacts(sha256=True, conditional=True)
        transfer = runtime.transfer()

        def one(recording_id: str) -> None:
            recording = Recording(
                provider="twilio",
                api="2010-04-01",
                account_id=ACCOUNT,
                recording_id=recording_id,
                created_at=DAY,
                status="completed",
                phase=Phase.COMPLETE,
                formats=("wav", "mp3"),
                duration_seconds=spec.bytes / (2 * RATE),
                channels=1,
                raw={**row, "sid": recording_id},
            )
            outcome = transfer(Job(source="main", recording=recording, attempt=1, maybe_archived=False))
            assert isinstance(outcome, Receipt), outcome

        return measured(spec, one)


def _config(spec: Spec) -> Path:
    path = Path(spec.root) / f"{spec.bucket}.toml"
    path.write_text(f"""
[archive]
bucket = "{spec.bucket}"
endpoint_url = "{spec.url}"
addressing_style = "path"
[ledger]
path = "{spec.root}/ledger.db"
[transfer]
workers = {spec.workers}
spool_dir = "{spec.root}/spool"
min_free_disk = "0"
[[sources]]
name = "main"
provider = "twilio"
base_url = "{spec.url}"
account_sid = "{ACCOUNT}"
auth_token = {{ env = "BENCH_TOKEN" }}
requests_per_second = 1000000
max_concurrency = {spec.workers}
""")
    return path


def run_plain(spec: Spec) -> Cost:
    """The loop that anybody would write: requests in, a hash, boto3's upload_fileobj out; threads share one client."""
    import boto3
    import requests
    from botocore.config import Config

    settings = Config(
        max_pool_connections=4 * spec.workers,
        request_checksum_calculation="when_required",
        s3={"addressing_style": "path"},
    )
    client = boto3.client("s3", endpoint_url=spec.url, region_name="us-east-1", config=settings)
    local = threading.local()

    def one(recording_id: str) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.auth = (ACCOUNT, "0123456789abcdef")
        body, digest = io.BytesIO(), hashlib.sha256()
        with local.session.get(f"{spec.url}/{spec.media}/{recording_id}.wav", stream=True, timeout=60) as response:
            response.raise_for_status()
            for chunk in response.iter_content(65536):
                body.write(chunk)
                digest.update(chunk)
        sidecar = json.dumps(
            {"recording_id": recording_id, "sha256": digest.hexdigest(), "bytes": body.tell()}
        ).encode()
        extra = {"Metadata": {"sha256": digest.hexdigest()}}
        body.seek(0)
        client.upload_fileobj(body, spec.bucket, f"recordings/{recording_id}.wav", ExtraArgs=extra)
        client.upload_fileobj(io.BytesIO(sidecar), spec.bucket, f"recordings/{recording_id}.json", ExtraArgs=extra)

    return measured(spec, one)


def run_rclone(spec: Spec, rclone: str) -> Cost:
    """rclone from HTTP to S3, then the sidecars, made beforehand, from a folder. It hashes by MD5, not SHA-256."""
    folder = Path(spec.root) / f"{spec.bucket}-sidecars"
    folder.mkdir()
    for each in spec.ids:
        (folder / f"{each}.json").write_text(
            json.dumps({"recording_id": each, "sha256": "0" * 64, "bytes": spec.bytes})
        )
    for ending in ("wav", "json"):
        _names(spec, ending).write_text("".join(f"{each}.{ending}\n" for each in spec.ids))
    asked = "provider=Other,env_auth=true,force_path_style=true,no_check_bucket=true,no_head=true,no_head_object=true"
    sink = f':s3,endpoint="{spec.url}",{asked}:'
    common = ["--no-check-dest", "--no-traverse", "--config", "/dev/null", "--log-level", "ERROR", "--retries", "1"]
    common += ["--transfers", str(spec.workers), "--checkers", str(spec.workers)]
    began = time.monotonic()
    for source, ending in ((f':http,url="{spec.url}/{spec.media}/":', "wav"), (str(folder), "json")):
        listed = ["--files-from", str(_names(spec, ending))]
        subprocess.run([rclone, "copy", source, f"{sink}{spec.bucket}/recordings", *listed, *common], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _names(spec: Spec, ending: str) -> Path:
    return Path(spec.root) / f"{spec.bucket}.{ending}-names"


# -- rounds ------------------------------------------------------------------------------------------------------------


def one_round(name: str, spec: Spec, options: argparse.Namespace) -> Cost:
    """Run a contestant in a process of its own, and see that all of its objects arrived."""
    command = [sys.executable, __file__, "--contestant", name, "--spec", json.dumps(asdict(spec))]
    if options.rclone:
        command += ["--rclone", options.rclone]
    keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret", "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(command, env={**os.environ, **keys}, stdout=subprocess.PIPE, text=True, check=True)
    bucket = Path(spec.root) / "files" / spec.bucket
    arrived = [path.stat().st_size for path in bucket.rglob("*.wav")]
    assert arrived == [spec.bytes + 44] * len(spec.ids), f"{name}: {len(arrived)} media arrived"
    assert sum(1 for _ in bucket.rglob("*.json")) == len(spec.ids), f"{name}: sidecars are missing"
    shutil.rmtree(bucket)
    return Cost(**json.loads(done.stdout))


def contest(options: argparse.Namespace) -> None:
    names = ["recvault", "plain", *(["rclone"] if options.rclone else [])]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="bench-", dir=shared) as scratch, serving(Path(scratch)) as (url, host):
        spec = Spec(url, "", options.recordings, options.bytes, options.workers, scratch)
        write_media(Path(scratch) / "files" / spec.media, spec.ids, options.bytes)
        for number in range(options.rounds):
            for turn in range(len(names)):
                name = names[(number + turn) % len(names)]
                costs[name].append(one_round(name, replace(spec, bucket=f"bucket-{number}-{name}"), options))
    size = f"{options.recordings} recordings of {options.bytes:,} bytes"
    print(f"{size}, {options.workers} at once, {options.rounds} rounds")
    print(f"host and sink: {host}" + ("" if options.rclone else "; rclone is not installed, so it is left out"))
    report(costs, options.recordings)


def report(costs: dict[str, list[Cost]], recordings: int) -> None:
    """Medians over the rounds, and beside them how many times recvault's."""
    rows = {
        name: (
            statistics.median(recordings / cost.seconds for cost in rounds),
            statistics.median(cost.cpu * 1000 / recordings for cost in rounds),
            max(cost.peak_mb for cost in rounds),
        )
        for name, rounds in costs.items()
    }
    ours = rows["recvault"]
    print(f"{'':10}{'recordings/s':>22}{'CPU s per 1,000':>22}{'peak MB':>18}")
    for name, row in rows.items():
        cells = [f"{value:10.1f} ({value / base:4.2f} x)" for value, base in zip(row, ours, strict=True)]
        print(f"{name:10}{cells[0]:>22}{cells[1]:>22}{cells[2]:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=64 * 1024, help="of audio in each")
    parser.add_argument("--workers", type=int, default=8, help="transfers at once, of every contestant")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rclone", default=_rclone(), help="where rclone is; found on PATH or beside this Python")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(int(options.serve[0]), options.serve[1])
    elif options.contestant:
        spec = Spec(**json.loads(options.spec))
        contestants = {"recvault": run_recvault, "plain": run_plain, "rclone": lambda s: run_rclone(s, options.rclone)}
        print(json.dumps(asdict(contestants[options.contestant](spec))))
    else:
        contest(options)


def _rclone() -> str | None:
    return shutil.which("rclone") or shutil.which("rclone", path=str(Path(sys.executable).parent))


if __name__ == "__main__":
    main()
