"""`recvault init`: from nothing to a tested configuration and the first recordings."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recvault.cli.app import App, now, question
from recvault.cli.asking import Asker, folded
from recvault.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from recvault.check.probe import Probe
    from recvault.cli.interview import Interview
    from recvault.config import Config
    from recvault.setup.home import Home
    from recvault.setup.trial import Estimate

_COUNT_SECONDS = 10.0  # for listing all of history here
_CHANGE = {
    "source": ("account", "change the account or its secret"),
    "bucket": ("bucket", "change the bucket"),
}
_TOLD = (
    ": list",
    ": put and conditional put",
    ": delete of the probe",
    ": directory",
)  # tests whose success is printed, too
_AGAIN, _QUIT = "again", "quit"


@click.command("init")
@click.option(
    "--user", "whom", flag_value="user", help="For this user: ~/.config/recvault and ~/.local/state/recvault."
)
@click.option(
    "--system", "whom", flag_value="system", help="For a service of this machine: /etc and /var/lib/recvault."
)
@click.option("--provider", metavar="NAME", help="Where the recordings are: twilio, telnyx, signalwire, a plug-in's …")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A key of [[sources]]; repeatable.")
@click.option("--name", metavar="NAME", help="The source's name in logs and reports; default: the provider's.")
@click.option("--login", metavar="KEY", help="The credentials to use, by their secret's key, e.g. auth_token.")
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="WAY[:NAME]",
    help="Where the secret is kept: file:PATH, env:NAME or credential:NAME; KEY=WAY:NAME for one of several.",
)
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--bucket", metavar="NAME", help="The bucket, or a directory for the archive.")
@click.option("--region", metavar="NAME", help="The bucket's region; default: AWS_REGION, or us-east-1.")
@click.option("--endpoint-url", "endpoint", metavar="URL", help="Of an S3-compatible store; default: AWS.")
@click.option(
    "--bucket-credentials",
    metavar="WAY",
    help="copy: keep those of this environment; found: use what AWS tools find.",
)
@click.option("--add", is_flag=True, default=None, help="Add a source to a configuration that exists.")
@click.option("--sync/--no-sync", "syncs", default=None, help="Archive now (as a service: install it), or not.")
@click.option("--yes", is_flag=True, help="Ask nothing: use flags and defaults.")
@question
def command(app: App, /, whom: str | None, add: bool | None, syncs: bool | None, yes: bool, **given: Any) -> int:
    """Set up an archive: ask for account and bucket, test both, write the configuration, archive the first recordings.

    Every question is also an option. Nothing is written before the tests succeed, and no file is overwritten.
    """
    ask = Asker(interactive=sys.stdin.isatty() and not yes and not given["secret_stdin"])
    try:
        return _init(app, ask, whom, add, syncs, given)
    except (click.Abort, KeyboardInterrupt, Interrupted):
        click.echo("\nStopped. No configuration was written.", err=True)
        return app.exit_code(130)


def _init(app: App, ask: Asker, whom: str | None, add: bool | None, syncs: bool | None, given: dict[str, Any]) -> int:
    home = _home(app, ask, whom)
    existing, taken = _existing(ask, home, add)
    interview = _interview(ask, home, existing, taken, given)
    interview.account()
    interview.bucket()
    ask.refuse_missing()
    if code := _tested(app, interview):
        click.echo("No configuration was written.", err=True)
        return code
    _write(interview)
    return _next(app, interview, syncs)


def _home(app: App, ask: Asker, whom: str | None) -> Home:
    from recvault.config.places import VARIABLE
    from recvault.setup import home

    named = app.config or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    named = named.expanduser().absolute() if named else None
    if ask.interactive:
        click.echo("Set up an archive of call recordings.")
        click.echo("Ctrl-C stops; no configuration is written before the end.")
    options = [
        ("user", "for you alone: ~/.config/recvault, state in ~/.local/state/recvault"),
        ("system", "a service of this machine: /etc/recvault, state in /var/lib/recvault"),
    ]
    default = "system" if os.geteuid() == 0 else "user"
    chosen = ask.choice(whom, "Who runs recvault?", "--user or --system", options, default)
    found = home.system(named) if chosen == "system" else home.user(named)
    if found.is_system and os.geteuid() != 0:
        raise click.UsageError(f"only root can write {found.folder}: use sudo, or --user")
    return found


def _existing(ask: Asker, home: Home, add: bool | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the existing configuration, which gets another source, and the names of its sources."""
    from recvault import config

    if not home.config.exists():
        return None, ()
    names = tuple(source.name for source in config.load(home.config).sources)
    click.echo(f"{home.config} exists, with {', '.join(names)}. It is not overwritten.")
    if not ask.interactive and not add:
        ask.missing.append("--add, to add a source to the configuration that exists")
    elif not ask.confirm(add, "Add another source to it?"):
        raise click.Abort
    return home.config.read_text(encoding="utf-8-sig"), names


def _interview(
    ask: Asker, home: Home, existing: str | None, taken: tuple[str, ...], given: dict[str, Any]
) -> Interview:
    from recvault.cli.interview import Flags, Interview

    typed = None
    if given.pop("secret_stdin"):
        typed = sys.stdin.readline().rstrip("\r\n")
        if not typed:
            raise click.UsageError("--secret-stdin: standard input has no secret on its first line")
    return Interview(ask=ask, flags=Flags(typed=typed, **given), home=home, existing=existing, taken=taken)


# -- the tests ---------------------------------------------------------------------------------------------------------


def _tested(app: App, interview: Interview) -> int:
    """Test account and bucket, again after each change of answers; return the exit code of a final failure."""
    while True:
        try:
            failed = _test(app, interview)
        except ConfigError as error:
            click.echo(f"\nFAIL  {error.message}")
            failed = [("source", error.exit_code), ("bucket", error.exit_code)]  # either may be what is wrong
        if not failed:
            return 0
        if not interview.ask.interactive:
            return failed[0][1]
        options = [*(_CHANGE[part] for part, _ in failed), (_AGAIN, "test again"), (_QUIT, "stop; nothing is written")]
        if interview.existing is not None:
            options = [each for each in options if each[0] != "bucket"]
        wish = interview.ask.choice(None, "What now?", "-", options, options[0][0])
        if wish == _QUIT:
            return failed[0][1]
        if wish != _AGAIN:
            getattr(interview, wish)()


def _test(app: App, interview: Interview) -> list[tuple[str, int]]:
    """Return what failed, account or bucket, with its exit code. If nothing did, say how much there is to archive."""
    from recvault.setup import trial

    with tempfile.TemporaryDirectory(prefix="recvault-init-") as scratch, ExitStack() as undo:
        settings = interview.draft.trial(now().date(), Path(scratch))
        click.echo("\nTesting")
        failed = _probed(app, "source", trial.source, settings)
        if not failed or not _is_missing(settings):
            _make_directory(interview.ask, settings, undo)
            failed += _probed(app, "bucket", trial.bucket, settings)
        if not failed:
            click.echo("\nCounting what there is to archive")
            with app.signals():
                _say(trial.estimate(settings, now, app.stop, _COUNT_SECONDS), settings.sources[0].name)
            app.stop.check()
            undo.pop_all()
    return failed


def _probed(app: App, part: str, test: Callable[..., Iterator[Probe]], settings: Config) -> list[tuple[str, int]]:
    """Return the part with its exit code if one of its tests failed."""
    with app.signals():
        code = max(_shown(probe) for probe in test(settings, now, app.stop))
    app.stop.check()
    return [(part, code)] if code else []


def _is_missing(settings: Config) -> bool:
    """Whether the archive is a directory that does not exist yet."""
    directory = settings.archive.directory
    return directory is not None and not directory.exists()


def _make_directory(ask: Asker, settings: Config, undo: ExitStack) -> None:
    """Create the archive's directory if it is missing; `undo` removes it after a failed test."""
    directory = settings.archive.directory
    if directory is not None and _is_missing(settings) and ask.confirm(None, f"{directory} does not exist. Create it?"):
        directory.mkdir(mode=0o750, parents=True)
        undo.callback(_remove, directory)


def _shown(probe: Probe) -> int:
    """Print what a new user must know of a test: successes briefly, everything else. Return its exit code."""
    from recvault.cli.tables import cell

    if probe.ok and not probe.hint and not probe.name.endswith(_TOLD):
        return 0
    mark = "FAIL" if not probe.ok else "note" if probe.hint else "ok"
    click.echo(folded(f"{mark:6}", cell(f"{probe.name}: {probe.detail}")))
    if probe.hint:
        click.echo(folded("      ", cell(f"To do: {probe.hint}")))
    return probe.exit_code


def _say(found: Estimate, name: str) -> None:
    """Print how much there is to archive, and how certain that is."""
    from recvault.cli.tables import Size, cell
    from recvault.timefmt import span

    if found.error:
        click.echo(cell(f"note  it could not be counted: {found.error}"))
        return
    least = "" if found.is_all else "at least "
    size = f", about {cell(Size(found.bytes))}" if found.bytes else ""
    since = f", since {found.since}" if found.since else ""
    click.echo(f"ok    to archive: {least}{found.recordings:,} recordings, {span(found.seconds)} of audio{size}{since}")
    if not found.is_all:
        click.echo(f"      Listing all of it takes longer; later: recvault backfill --source {name} --dry-run")


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


# -- the files, and what follows ---------------------------------------------------------------------------------------


def _write(interview: Interview) -> None:
    from recvault.setup.home import shown
    from recvault.setup.new_files import place

    home, files = interview.home, interview.draft.files(now().date())
    click.echo("\nTo write")
    for each in files:
        closed = "" if each.mode & 0o077 else f"   (only {'root' if home.is_system else 'you'} can read it)"
        click.echo(f"  {shown(each.path)}{closed}")
    if not interview.ask.confirm(None, "Write it?" if len(files) == 1 else "Write them?"):
        raise click.Abort
    place(files, [] if home.is_system or interview.existing is not None else [home.state])


def _next(app: App, interview: Interview, syncs: bool | None) -> int:
    """Archive the first recordings if wanted, and say how to continue."""
    home, code = interview.home, 0
    _say_environment(interview)
    if home.is_system:
        return _serve(interview, syncs)
    if _is_wanted(interview.ask, syncs, "Archive now? You can stop it; it continues later."):
        code = _sync(app, home, interview.source["name"])
    by = _by_name(home)
    click.echo(
        f"\nNext\n  recvault{by} status            says whether all is well\n"
        f"  recvault{by} install --user    keeps archiving, as your service"
    )
    return code


def _is_wanted(ask: Asker, given: bool | None, question: str) -> bool:
    """Whoever leaves now has a configuration, and does the rest later."""
    try:
        return ask.confirm(given, f"\n{question}", default=ask.interactive)
    except click.Abort:
        click.echo()
        return False


def _serve(interview: Interview, syncs: bool | None) -> int:
    """Install the service, if that is wanted: it archives."""
    from recvault.cli.install import command as install

    if _is_wanted(interview.ask, syncs, "Install and start the service now?"):
        click.echo("\nrecvault install --system")
        return _invoked(install, whom="system", dry_run=False)
    click.echo("\nNext\n  recvault install --system    installs and starts the service, which archives")
    return 0


def _sync(app: App, home: Home, name: str) -> int:
    """Run the first pass of the new source, as `recvault sync` does."""
    from recvault.cli.sync import command as sync

    app.config = home.config
    click.echo(f"\nrecvault sync --source {name}")
    return _invoked(sync, names=(name,), as_json=False, metrics_file=None, cluster=None)


def _invoked(verb: click.Command, **options: Any) -> int:
    """Another verb's exit code."""
    try:
        click.get_current_context().invoke(verb, **options)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _by_name(home: Home) -> str:
    """Return the option by which a command finds the new configuration; empty if none is needed."""
    from recvault import config
    from recvault.setup.home import shown

    try:
        found = config.find(None).absolute()
    except ConfigError:
        found = None
    return "" if found == home.config else f" --config {shown(home.config)}"


def _say_environment(interview: Interview) -> None:
    """Name the environment variables that the user must set."""
    for kept in interview.secrets.values():
        if kept.way == "env" and kept.is_new and not interview.home.is_system:
            click.echo(f"\nBefore each start of recvault, set {kept.name}: it is not stored anywhere.")
