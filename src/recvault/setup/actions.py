"""Actions on a machine: each is printed as the equivalent command, then done."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recvault.errors import RecvaultError

_SECONDS = 240.0  # for one command: a start waits up to three minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Make a folder."""

    path: Path
    mode: int

    @property
    def words(self) -> str:
        return f"install -d -m {self.mode:04o} {shlex.quote(str(self.path))}"

    def do(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(self.mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """Keep a file that is about to be replaced or removed."""

    path: Path
    copy: Path

    @property
    def words(self) -> str:
        return f"cp -p {shlex.quote(str(self.path))} {shlex.quote(str(self.copy))}    # it was changed: kept"

    def do(self) -> None:
        shutil.copy2(self.path, self.copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    """Write a file, whole or not at all."""

    path: Path
    text: str = field(repr=False)
    mode: int = 0o644

    @property
    def words(self) -> str:
        return f"install -m {self.mode:04o} {self.path.name} {shlex.quote(str(self.path))}"

    def do(self) -> None:
        scratch = self.path.with_name(f".{self.path.name}.new")
        scratch.write_text(self.text, encoding="utf-8")
        scratch.chmod(self.mode)
        scratch.replace(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCommand:
    """Run a command. If an `optional` one fails, that is printed, and the rest continues."""

    command: tuple[str, ...]
    hint: str = ""
    optional: bool = False

    @property
    def words(self) -> str:
        return shlex.join(self.command)

    def do(self) -> None:
        try:
            done = subprocess.run(self.command, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RecvaultError(f"`{self.words}` could not be run: {error}", self.hint) from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise RecvaultError(f"`{self.words}` ended with {done.returncode}: {said}", self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a file, or a folder with everything in it. A link is removed, never followed."""

    path: Path
    whole: bool = False

    @property
    def words(self) -> str:
        return f"rm {'-r ' if self.whole else ''}{shlex.quote(str(self.path))}"

    def do(self) -> None:
        if self.whole and self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveEmpty:
    """Remove a folder if nothing is left in it."""

    path: Path

    @property
    def words(self) -> str:
        return f"rmdir --ignore-fail-on-non-empty {shlex.quote(str(self.path))}"

    def do(self) -> None:
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


Action = Folder | Backup | WriteFile | RunCommand | Remove | RemoveEmpty


def carry_out(actions: Sequence[Action], say: Callable[[str], None], *, dry_run: bool, prompt: str) -> None:
    """Print and do each action. RecvaultError at the first that fails; it is safe to do all again."""
    for each in actions:
        say(f"{prompt} {each.words}")
        if dry_run:
            continue
        try:
            each.do()
        except RecvaultError as error:
            if not (isinstance(each, RunCommand) and each.optional):
                raise
            say(f"  note: {error}")
        except OSError as error:
            who = "" if os.geteuid() == 0 else " (as root, or with --user?)"
            raise RecvaultError(f"`{each.words}` failed: {error.strerror}{who}") from error
