"""What a process loads before it begins: no more than it needs, as each start costs time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.commands import PATIENCE, arguments, environment
from recvault import __version__
from recvault.log.lean_imports import SCREEN, without
from recvault.simulator import Simulator
from rig import Rig
from strict_s3 import StrictS3

pytestmark = pytest.mark.process
ABROAD = {
    "boto3",
    "botocore",
    "httpcore",
    "httpx",
    "recvault.http",
    "recvault.store",
    "recvault.transfer",
    "urllib3",
}
"""What asks a provider or the bucket."""
SELDOM = {"apscheduler", "asyncio", "dask", "moto", "pycurl", "structlog"}
"""What a question has no use for."""
LIBRARIES = ABROAD | {"asyncio", "click", "pydantic", "recvault.cli", "recvault.config", "rich", "sqlite3", "structlog"}

_PASSES = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from recvault import config
from recvault.workers import fork_server as forking
from recvault.workers.process_pool import Processes
from recvault.app.runtime import Runtime
SERVE = '''
import gc, json, os, sys
from recvault.workers.process_worker import serve
serve(*arguments)
print(json.dumps([sorted(sys.modules), dict(os.environ), len(gc.get_objects())]), flush=True)
'''
start = forking.start
forking.start = lambda target, *arguments: start(exec, SERVE, {"arguments": arguments})
for moment in ("first", "second"):
    os.environ["MOMENT"] = moment
    settings = config.load(Path(sys.argv[1]))
    with Runtime(settings, clock=lambda: datetime.now(UTC), executor=Processes) as runtime:
        assert runtime.sync("sync", ["voice"]).exit_code == 0
"""


@dataclass(frozen=True)
class Worker:
    """A worker process's report after its first job."""

    modules: set[str]
    environment: dict[str, str]
    collected: int  # objects that a collection visits


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator, strict_s3: StrictS3) -> list[Worker]:
    """One worker of each of two passes in one process, whose environment changed in between."""
    rig = a_rig(tmp_path_factory.mktemp("workers"), simulator)
    told = environment(rig.root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, told[name])
        rig.s3_url, rig.bucket = strict_s3.url, strict_s3.bucket().name
    command = [sys.executable, "-c", _PASSES, str(rig.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=told, cwd=rig.root, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    found: list[list[Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    return [Worker(set(modules), *rest) for modules, *rest in found]


def a_rig(root: Path, simulator: Simulator) -> Rig:
    """A source and a bucket that do not exist."""
    rig = Rig(root=root, simulator=simulator, s3_url="http://127.0.0.1:9", bucket="none")
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=4)
    rig.add_source("voice", "twilio", account)
    return rig


def loaded(*words: str, rig: Rig | None = None) -> tuple[str, set[str]]:
    """Return a command's output and the modules that it loaded."""
    return loaded_by(arguments(rig, *words), rig.root if rig else Path.cwd())


def loaded_by(command: list[str], root: Path) -> tuple[str, set[str]]:
    """Return the same for a Python with these arguments."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    done = subprocess.run(timed, capture_output=True, text=True, env=environment(root), timeout=PATIENCE)
    return done.stdout, set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))


def test_the_version_is_told_at_once() -> None:
    """`--version` loads nothing, and prints the same as click's."""
    said, modules = loaded("--version")
    assert said == f"recvault, version {__version__}\n"
    assert "recvault" in modules
    assert modules & LIBRARIES == set()
    said, modules = loaded("-q", "--version")
    assert (said, "click" in modules) == (f"recvault, version {__version__}\n", True)


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status --json",
        "status voice",
        "failures",
        "failures --json",
        "list",
        "list --json",
        "retry --all",
        "show RE0 --no-sidecar",
        "backup ROOT/copy.db",
    ],
)
def test_a_question_to_the_ledger_loads_nothing_that_asks_elsewhere(
    tmp_path: Path, simulator: Simulator, words: str
) -> None:
    """A ledger query loads neither httpx nor boto3 nor libcurl nor what schedules, and no structlog without a line."""
    rig = a_rig(tmp_path, simulator)
    rig.runtime().ledger.close()
    _, modules = loaded(*words.replace("ROOT", str(tmp_path)).split(), rig=rig)
    assert "recvault.ledger" in modules
    assert modules & (ABROAD | SELDOM) == set()


@pytest.mark.parametrize("word", ["example", "show", "validate"])
def test_a_look_at_the_configuration_loads_nothing_that_asks_elsewhere(
    tmp_path: Path, simulator: Simulator, word: str
) -> None:
    """A look at the configuration does not load the ledger either."""
    said, modules = loaded("config", word, rig=a_rig(tmp_path, simulator))
    assert said and "click" in modules
    assert modules & (ABROAD | {"recvault.ledger"}) == set()


def test_the_log_is_there_for_the_first_line(tmp_path: Path, simulator: Simulator) -> None:
    """What renders lines is loaded when the first one is written, and writes it as configured."""
    code = (
        "import logging, sys\nfrom recvault.log.lines import configure, get_logger\n"
        "log = get_logger('a')\nconfigure(format='json', verbosity=0, stream=sys.stdout)\n"
        "log.debug('dropped', number=1)\nprint('structlog' in sys.modules)\n"
        "log.info('told', url='https://a.example/?X-Amz-Signature=00')\nprint('structlog' in sys.modules)\n"
        "logging.getLogger('b').warning('of a library')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, told, after, other = done.stdout.splitlines()
    assert (before, after, done.stderr) == ("False", "True", "")
    assert {"event": "told", "url": "https://a.example/?[cut]", "level": "info"}.items() <= json.loads(told).items()
    assert {"event": "of a library", "level": "warning"}.items() <= json.loads(other).items()


def test_a_backfill_that_shows_nothing_loads_no_screen(tmp_path: Path, simulator: Simulator) -> None:
    """A backfill without output loads neither rich nor pygments, as httpx and structlog would."""
    rig = a_rig(tmp_path, simulator)
    said, modules = loaded("-q", "backfill", "--source", "voice", "--json", rig=rig)
    assert json.loads(said)["outcome"] == "failed"  # there is no bucket
    assert {"httpx", "structlog", "recvault.transfer"} <= modules
    assert modules & {"rich.console", "rich.pretty", "pygments.lexer"} == set()


def test_a_worker_loads_what_carries_jobs_out(workers: list[Worker]) -> None:
    """A worker loads neither the ledger nor a command line nor terminal output."""
    worker = workers[0]
    assert {"httpx", "recvault.transfer", "recvault.store"} <= worker.modules
    assert (
        worker.modules & {*SCREEN, "sqlite_utils", "recvault.ledger", "recvault.cli", "recvault.app.runtime"} == set()
    )


def test_a_worker_has_the_environment_of_its_parent_s_moment(workers: list[Worker]) -> None:
    """A worker has its parent's current environment, although its fork server has an older one."""
    assert [worker.environment["MOMENT"] for worker in workers] == ["first", "second"]


def test_a_collection_in_a_worker_looks_at_little(workers: list[Worker]) -> None:
    """A worker's initial objects, a hundred thousand, are frozen for garbage collection."""
    assert max(worker.collected for worker in workers) < 10_000


def test_a_console_script_s_worker_loads_no_command_line(tmp_path: Path) -> None:
    """A worker of the console script, which it loads as main module, loads no command line."""
    script = tmp_path / "recvault"
    script.write_text("import sys\nfrom recvault.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    _, modules = loaded_by([sys.executable, str(script), "--version"], tmp_path)
    assert {name for name in modules if name.partition(".")[0] == "recvault"} == {"recvault", "recvault.__main__"}
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert 'recvault = "recvault.__main__:main"' in project


def test_what_is_kept_from_a_library_is_there_afterwards() -> None:
    """Modules hidden from an import are available afterwards, and loaded ones stay."""
    code = (
        "import sys, json\nfrom recvault.log.lean_imports import without\n"
        "with without('json', 'wave', 'nowhere'):\n    import json\n    found = 'no wave'\n"
        "    try:\n        import wave\n    except ImportError:\n        found = 'without wave'\n"
        "import wave\nprint(found, 'wave' in sys.modules, 'nowhere' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "without wave True False"
    with pytest.raises(ZeroDivisionError), without("nowhere"):
        raise ZeroDivisionError
    assert "nowhere" not in sys.modules


def test_the_ledger_loads_no_data_frames(tmp_path: Path) -> None:
    """sqlite-utils loads numpy and pandas where they are installed; a ledger works without them."""
    for name in ("numpy", "pandas"):
        (tmp_path / f"{name}.py").write_text("raise AssertionError('loaded')\n")
    command = [sys.executable, "-c", "import recvault.ledger; print('done')"]
    ran = subprocess.run(command, env=environment(tmp_path, PYTHONPATH=str(tmp_path)), capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
