"""Shared by all tests: one strict S3 server per process, a bucket per test, and rigs."""

from __future__ import annotations

import gc
import itertools
import logging
import re
import sys
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path

import boto3
import hypothesis
import pytest
import structlog

import botocore_models
import forked
from examples import examples
from real_s3.fixtures import pytest_terminal_summary, real_server  # noqa: F401 - fixtures and hooks of every test
from recvault.log import masking
from recvault.log.lines import get_logger
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import Bucket, StrictS3

hypothesis.settings.register_profile("recvault", examples(50))
hypothesis.settings.load_profile("recvault")
botocore_models.share()

# Without bytecode files, every process would rewrite the assertions of all tests: 10 s of CPU each.
sys.dont_write_bytecode = False

_numbers = itertools.count(1)
_NO_FILE = str(Path(__file__).parent / "no-such-file")
_AWS = ("AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_SESSION_TOKEN")


_NEVER_WRITTEN = re.compile(r"X-Amz-Signature=[0-9a-f]{8}|Authorization['\"]?[:=] ?['\"]?(Basic|Bearer) [A-Za-z0-9]")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output contains a signature or a credential."""
    report = yield
    # pytest captures log records before our redaction; what is written is on stdout and stderr.
    written = [text for name, text in report.sections if "log" not in name]
    found = next((match for text in written if (match := _NEVER_WRITTEN.search(text))), None)
    if found and report.passed:
        report.outcome = "failed"
        report.longrepr = f"the output of {item.nodeid} holds {found[0][:24]!r}"
    return report


@hypothesis.settings(max_examples=1, database=None, derandomize=True)
@hypothesis.given(hypothesis.strategies.none())
def _first_example(_: None) -> None:
    """Make Hypothesis register its random numbers: held by frozen objects alone, they look unheld to it."""


def pytest_collection_finish() -> None:
    """Freeze collected objects, so that no garbage collection walks through all tests and modules."""
    _first_example()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep this machine's credentials and configuration, and other tests' secrets, out of a test."""
    monkeypatch.setattr(masking, "_SECRETS", masking.Hidden())
    for name in (*_AWS, "RECVAULT_CONFIG", "CREDENTIALS_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
    monkeypatch.setenv("AWS_CONFIG_FILE", _NO_FILE)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", _NO_FILE)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork commands, except in tests with the mark `process`."""
    monkeypatch.setattr(forked, "is_fresh", request.node.get_closest_marker("process") is not None)


@pytest.fixture(scope="session", autouse=True)
def _no_process_stays() -> Iterator[None]:
    """End the forking process with the tests."""
    yield
    forked.close()


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """Restore logging after each test, so that captured logs do not depend on the order."""
    get_logger(__name__).bind()  # loads what renders lines, in the state before `configure`
    root = logging.getLogger()
    handlers, level, styled = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**styled)
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """A moto server on loopback, slow to start, for the few tests that want a second opinion."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto_bucket(moto_url: str) -> Iterator[str]:
    """An empty bucket at moto."""
    name = f"recordings-{next(_numbers)}"
    boto3.client("s3", endpoint_url=moto_url, region_name="us-east-1").create_bucket(Bucket=name)
    yield name
    urllib.request.urlopen(f"{moto_url}/moto-api/reset", data=b"").close()  # it holds every object in memory


@pytest.fixture(scope="session")
def strict_s3() -> Iterator[StrictS3]:
    """A strict S3 server on loopback: much faster than moto, and it refuses what S3 refuses."""
    with StrictS3(seed=7) as server:
        yield server


@pytest.fixture
def strict_bucket(strict_s3: StrictS3) -> Iterator[Bucket]:
    """An empty bucket at the strict server, as strict as AWS and without faults."""
    yield (bucket := strict_s3.bucket())
    strict_s3.forget(bucket)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """The five providers, empty and without faults."""
    with Simulator(seed=7) as running:
        yield running


@pytest.fixture
def rig(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Rig:
    """A recvault without sources."""
    return Rig(root=tmp_path, simulator=simulator, s3_url=strict_bucket.url, bucket=strict_bucket.name)
