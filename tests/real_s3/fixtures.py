"""Real servers for tests: those started by hand, and Swift, started here if installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from real_s3 import ceph, servers, swift
from real_s3.servers import Absent, RealServer

LACKS = "not tested on this machine: "
NAMES = (ceph.NAME, swift.NAME)
_START = "python tests/real_s3 start"


def lacking(name: str) -> str | None:
    """Return why there is no server of this name, and what to do; None if there is one."""
    if servers.running(name):
        return None
    try:
        {ceph.NAME: ceph, swift.NAME: swift}[name].check()
    except Absent as absent:
        return f"{absent}{f' && {_START} {name}' if name != swift.NAME else ''}"
    return None if name == swift.NAME else f"Ceph is not running: {_START} {name}"


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealServer]]:
    """Return a real server by name, or skip with what to install."""
    begun: dict[str, RealServer] = {}
    with ExitStack() as stack:

        def get(name: str) -> RealServer:
            if reason := lacking(name):
                pytest.skip(LACKS + reason)
            if name not in begun:
                begun[name] = servers.running(name) or stack.enter_context(
                    swift.started(tmp_path_factory.mktemp("swift"))
                )
            return begun[name]

        yield get


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what this machine lacks, one line each, as skips are easily overlooked."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)}
    for reason in sorted(each for each in reasons if each.startswith(LACKS)):
        terminalreporter.write_line(reason, yellow=True)
