"""What all verbs share: the configuration, the log, signals, and how errors end a command."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec

import click

from recvault.errors import Interrupted, RecvaultError
from recvault.log.lean_imports import SCREEN, without
from recvault.shutdown import Stop

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from recvault.app.runtime import Runtime
    from recvault.app.source_status import Inquiry
    from recvault.config import Config

P = ParamSpec("P")

UNEXPECTED = 1
_GRACE_SECONDS = 1.5  # after a signal, for a command to end if it has nothing to finish
_MOST_SECONDS = 10.0  # while it is working, not waiting
_LOOK_SECONDS = 0.25
_BUSY = 0.1  # of a core


def now() -> datetime:
    """Read the wall clock: only here; all other code gets it as an argument."""
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class App:
    """The options before the verb, and what depends on them."""

    config: Path | None
    verbose: int
    quiet: bool
    log_format: Literal["json", "console"] | None
    stop: Stop = field(default_factory=Stop)
    signal: int | None = None  # the one that requested the stop

    def configure_log(self, *, calm: bool) -> None:
        """Set up the log on stderr. Calm: log no successes unless -v is given."""
        from recvault.log.lines import configure, log_uncaught

        calm = self.quiet or (calm and not self.verbose)
        configure(format=self.log_format, verbosity=-1 if calm else self.verbose)
        log_uncaught()

    def settings(self) -> Config:
        """Load and check the configuration."""
        from recvault import config

        return config.load(config.find(self.config))

    @contextmanager
    def inquiry(self) -> Iterator[Inquiry]:
        """Open what the ledger knows about the configured sources, for verbs that use neither providers nor the
        bucket."""
        from recvault.app.source_status import Inquiry

        with Inquiry(self.settings(), clock=now, stop=self.stop) as inquiry:
            yield inquiry

    @contextmanager
    def runtime(self, *, transfers: bool = False, **transfer: int | str | None) -> Iterator[Runtime]:
        """Make a runtime of the configuration, with these values of [transfer] replaced unless they are None.

        If it will transfer in worker processes, their fork server loads in parallel with this process.
        """
        settings = self.settings()
        if given := {key: value for key, value in transfer.items() if value is not None}:
            settings = _with_transfer(settings, given)
        if transfers and settings.transfer.processes > 1:
            from recvault.workers import fork_server

            fork_server.warm()
        with without(*SCREEN):
            from recvault.app.runtime import Runtime
        with Runtime(settings, clock=now, stop=self.stop, executor=_executor) as runtime:
            yield runtime

    def typed(self, command: str) -> str:
        """Add `--config` to a command, or to those in backticks in a text, so that it uses the same configuration."""
        if self.config is None:
            return command
        ours = f"recvault --config {shlex.quote(str(self.config))} "
        return re.sub(r"(^|`)recvault ", lambda match: match[1] + ours, command)

    @property
    def shows_progress(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    @contextmanager
    def signals(self, reload: threading.Event | None = None) -> Iterator[None]:
        """Let the first SIGINT or SIGTERM request a stop, and the second exit at once. SIGHUP sets `reload`, if
        given."""

        told, tell = os.pipe()
        over = threading.Event()

        def asked(number: int, _: FrameType | None) -> None:
            if self.signal is not None:
                os._exit(128 + number)
            self.signal = number
            os.write(tell, b".")  # the interrupted code may hold the flag's own lock

        threading.Thread(target=self._end_when_signalled, args=[told, over], name="signals", daemon=True).start()
        before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
        if reload is not None:
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda number, frame: reload.set())
        try:
            yield
        finally:
            for number, earlier in before.items():
                signal.signal(number, earlier)
            over.set()
            os.close(tell)

    def _end_when_signalled(self, told: int, over: threading.Event) -> None:
        """Request a stop after a signal. Kill a command that is blocked and cannot be woken, which is always safe.

        It gets a moment, or as long as a drain may take, and a limited time more while it uses the CPU.
        """
        with os.fdopen(told, "rb", 0) as signs:
            if not signs.read(1):
                return
        self.stop.asked.set()
        asked, spent = time.monotonic(), time.process_time()
        while not over.wait(_LOOK_SECONDS):
            late = time.monotonic() - max(asked + _GRACE_SECONDS, self.stop.allowance.until)
            busy, spent = time.process_time() - spent > _BUSY * _LOOK_SECONDS, time.process_time()
            if late > (_MOST_SECONDS if busy else 0.0):
                os.write(sys.stderr.fileno(), b"recvault: interrupted while it waited for an answer; nothing is lost\n")
                os._exit(128 + (self.signal or 0))

    def exit_code(self, code: int) -> int:
        """Return the signal's exit code if one ended the command, else this one."""
        return code if self.signal is None else 128 + self.signal


def _with_transfer(settings: Config, given: dict[str, int | str]) -> Config:
    """Return the configuration with the command line's cluster or processes."""
    from recvault.config.checks import cluster
    from recvault.errors import ConfigError

    try:
        cluster(str(given.get("cluster", "")))
    except ValueError as error:
        raise ConfigError(f"--cluster: {error}") from None
    if given.get("cluster") and given.get("processes"):
        raise click.UsageError("--processes cannot be combined with --cluster: its workers are the processes")
    other: dict[str, int | str] = {"processes": 1} if given.get("cluster") else {}
    if given.get("processes"):
        other = {"cluster": ""}
    return settings.model_copy(update={"transfer": settings.transfer.model_copy(update={**other, **given})})


def _executor(runtime: Runtime) -> Executor:
    """Make what runs jobs; its libraries are loaded only by commands that transfer."""
    from recvault.workers.executors import executor

    return executor(runtime)


_WORKERS = "Workers of a Dask cluster: tls://host:port, tcp://127.0.0.1:port or local:N; default:"
clustered = click.option("--cluster", metavar="ADDRESS", help=f"{_WORKERS} transfer.cluster.")
read_by_cluster = click.option("--cluster", metavar="ADDRESS", help=f"{_WORKERS} this machine alone.")


def verb(function: Callable[Concatenate[App, P], int]) -> Callable[P, None]:
    """Wrap a command's body: its return value is the exit code; our own errors are printed and have their own code."""
    # While progress is shown, log lines about successes would only push it away.
    return _verb(function, calm=lambda app: app.shows_progress)


def service(function: Callable[Concatenate[App, P], int]) -> Callable[P, None]:
    """Wrap a verb that runs until it is stopped: it shows its log even on a terminal."""
    return _verb(function, calm=lambda app: False)


def question(function: Callable[Concatenate[App, P], int]) -> Callable[P, None]:
    """Wrap a verb that prints an answer: log lines about successes would mix with it."""
    return _verb(function, calm=lambda app: True)


def _verb(function: Callable[Concatenate[App, P], int], calm: Callable[[App], bool]) -> Callable[P, None]:
    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        app = click.get_current_context().find_object(App)
        assert app is not None  # noqa: S101 - the group makes it
        app.configure_log(calm=calm(app))
        try:
            code = function(app, *args, **kwargs)
        except Interrupted as error:
            say_error(error)
            code = app.exit_code(error.exit_code)
        except RecvaultError as error:
            say_error(error)
            code = error.exit_code
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader closed the pipe, e.g. `| head`
            code = UNEXPECTED
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        sys.exit(code)

    return run


def say_error(error: RecvaultError) -> None:
    """Print what happened and what to do on stderr, without secrets or control characters."""
    from recvault.log.lines import redact_text

    click.echo(f"recvault: {redact_text(error.message)}", err=True)
    if error.hint:
        click.echo(f"  {redact_text(error.hint)}", err=True)


def print_json(document: Any) -> None:
    """Print one document on stdout, and nothing else."""
    # Only ASCII: otherwise JSON keeps C1 controls and lone surrogates, which terminals interpret and pipes refuse.
    click.echo(json.dumps(document, indent=2))
