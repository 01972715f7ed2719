"""`recvault init`: from nothing to the first archived recording, on a terminal and by options; and failures."""

from __future__ import annotations

import json
import re
import stat
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.commands import Ran, bare, environment
from cli.dialogue import CTRL_D, talk
from recvault import config
from recvault.cli import main
from recvault.setup import home as homes
from recvault.setup import trial
from recvault.shutdown import Stop
from recvault.simulator import SimAccount, Simulator
from strict_s3 import Bucket
from test_start import ABROAD, loaded_by

COMMAND = [sys.executable, "-m", "recvault"]


class Newcomer:
    """A user without any file, a simulated account and an empty bucket."""

    def __init__(self, root: Path, simulator: Simulator, bucket: Bucket) -> None:
        self.home, self.simulator, self.bucket = root / "home", simulator, bucket
        self.home.mkdir()
        self.account: SimAccount = simulator.add_account("twilio")
        simulator.populate(self.account, "voice", count=5, conference_share=0)

    @property
    def secret(self) -> str:
        return self.account.credentials["auth_token"]

    @property
    def path(self) -> Path:
        return self.home / ".config/recvault/config.toml"

    @property
    def simulated(self) -> list[str]:
        """Return the options that point to the simulator."""
        hosts = json.dumps([self.simulator.media_host])
        return ["--set", f"base_url={self.simulator.base_url}", "--set", f"media_hosts={hosts}"]

    @property
    def flags(self) -> list[str]:
        """Return every answer as an option."""
        account = self.account.credentials["account_sid"]
        where = ["--bucket", self.bucket.name, "--endpoint-url", self.bucket.url]
        return ["--provider", "twilio", "--set", f"account_sid={account}", *where, *self.simulated]

    def surroundings(self, **more: str) -> dict[str, str]:
        return environment(self.home, HOME=str(self.home), **more)

    def init(self, *words: str, **more: str) -> Ran:
        """Run it without a terminal."""
        return bare(self.home, "init", "--user", *words, HOME=str(self.home), **more)

    def ask(self, *answers: tuple[str, str], columns: int = 100, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run it on a terminal."""
        words = [*COMMAND, "init", *self.simulated, *options]
        return talk(words, self.surroundings(), self.home, *answers, columns=columns)

    @property
    def left(self) -> list[str]:
        """Return what is in the home."""
        return sorted(str(each.relative_to(self.home)) for each in self.home.rglob("*"))

    @property
    def archived(self) -> int:
        return len([key for key in self.bucket.objects if key.endswith(".wav")])


@pytest.fixture
def newcomer(tmp_path: Path, simulator: Simulator, strict_bucket: Bucket) -> Newcomer:
    return Newcomer(tmp_path, simulator, strict_bucket)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("columns", [80, 100])
def test_the_whole_dialogue(newcomer: Newcomer, columns: int) -> None:
    """After wrong answers each failed test says what to do and asks again; at the end the recordings are in the
    bucket."""
    sid = newcomer.account.credentials["account_sid"]
    account = [("How does recvault sign in?", ""), ("account_sid", sid), ("A name for it", "")]
    code, shown = newcomer.ask(
        ("Who runs recvault?", "user"),
        ("Where are the recordings?", "1"),
        *account,
        ("Where is auth_token kept?", "file"),
        ("(not shown)", "wrong-token-of-a-test"),
        ("Bucket for the archive", "no-such-bucket-of-mine"),
        ("Region", ""),
        ("Endpoint URL", newcomer.bucket.url),
        ("What now?", "account"),
        ("Where are the recordings?", ""),
        ("How does recvault sign in?", ""),
        ("account_sid", ""),
        ("A name for it", "voice"),
        ("Where is auth_token kept?", ""),
        ("(not shown)", newcomer.secret),
        ("What now?", "bucket"),
        ("Bucket for the archive", f"s3://{newcomer.bucket.name}"),
        ("Region", ""),
        ("Endpoint URL", ""),
        ("Write them?", ""),
        ("Archive now?", ""),
        columns=columns,
    )
    assert code == 0
    assert newcomer.archived == 5
    assert newcomer.secret not in shown and "wrong-token-of-a-test" not in shown
    assert "the credentials are wrong: correct auth_token" in " ".join(shown.split())
    assert "the bucket does not exist: create it" in " ".join(shown.split())
    assert "5 recordings" in shown and "at least" not in shown
    typed = ("Bucket for", "Number or name", "account_sid:", "Endpoint URL", "voice  ")  # and progress, cut by itself
    lines = [line for line in shown.splitlines() if not line.startswith(typed) and "listed" not in line]
    assert [line for line in lines if len(line) > columns and len(line.split()) > 1] == [], "but for long paths"
    token = newcomer.home / ".config/recvault/secrets/voice.auth_token"
    assert (mode(newcomer.path), mode(token), token.read_text()) == (0o600, 0o600, f"{newcomer.secret}\n")
    written = newcomer.path.read_text()
    assert newcomer.secret not in written
    source = config.load(newcomer.path).sources[0]
    assert (source.name, source.secrets["auth_token"].file) == ("voice", str(token))
    status = bare(newcomer.home, "status", "--json", HOME=str(newcomer.home)).document
    assert [each["counts"]["archived"] for each in status["sources"]] == [5], "found without --config"


def test_a_variable_that_is_typed_wrong_is_asked_for_again(newcomer: Newcomer) -> None:
    """A secret for the environment is used here, stored nowhere, and the operator is told to set it."""
    again = [("How does recvault sign in?", ""), ("A name for it", ""), ("Where is auth_token kept?", "env")]
    code, shown = newcomer.ask(
        *again,
        ("(not shown)", "wrong-token-of-a-test"),
        ("Region", ""),
        ("What now?", "account"),
        ("Where are the recordings?", ""),
        ("How does recvault sign in?", ""),
        ("account_sid", ""),
        ("A name for it", ""),
        ("Where is auth_token kept?", "env"),
        ("(not shown)", newcomer.secret),
        ("Write it?", ""),
        ("Archive now?", ""),
        options=("--user", *newcomer.flags),
    )
    assert (code, newcomer.archived) == (0, 5), shown
    assert "Before each start of recvault, set TWILIO_AUTH_TOKEN: it is not stored anywhere." in shown
    written = "".join(each.read_text() for each in newcomer.path.parent.rglob("*") if each.is_file())
    assert newcomer.secret not in written


def test_the_readme_s_commands_work(newcomer: Newcomer) -> None:
    """What it shows of these verbs, as typed, but for the account, its secret's file and where they are."""
    readme = (Path(__file__).parents[2] / "README.md").read_text().split("\n## Operate\n")[1].split("\n## ")[0]
    (line,) = re.findall(r"^recvault (init .*)$", readme, re.MULTILINE)
    (example,) = re.findall(r"`recvault (config example) > config.toml`", readme)
    secret, telnyx = newcomer.home / "telnyx-api-key", newcomer.simulator.add_account("telnyx")
    newcomer.simulator.populate(telnyx, "telnyx", count=3)
    secret.write_text(telnyx.credentials["api_key"])
    secret.chmod(0o600)
    words = line.replace("/root/telnyx-api-key", str(secret)).replace("acme-recordings", newcomer.bucket.name).split()
    words += [*newcomer.simulated, "--endpoint-url", newcomer.bucket.url]
    ran = bare(newcomer.home, *words, HOME=str(newcomer.home))
    assert ran.code == 0, ran.stdout + ran.stderr
    assert len([key for key in newcomer.bucket.objects if key.endswith(".wav")]) == 3
    (newcomer.home / "config.toml").write_text(bare(newcomer.home, *example.split()).stdout)
    assert bare(newcomer.home, "config", "validate", HOME=str(newcomer.home)).code == 0


def test_every_question_is_an_option(newcomer: Newcomer) -> None:
    """Without a terminal options answer everything, with the secret from stdin kept in a file; then a sync runs."""
    ran = newcomer.init(*newcomer.flags, "--secret", "env:TOKEN", "--sync", TOKEN=newcomer.secret)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert newcomer.archived == 5
    assert config.load(newcomer.path).sources[0].secrets["auth_token"].env == "TOKEN"
    everything = "".join(each.read_text() for each in newcomer.path.parent.rglob("*") if each.is_file())
    assert newcomer.secret not in everything + ran.stdout + ran.stderr


def test_the_secret_comes_from_stdin(newcomer: Newcomer) -> None:
    """`--secret-stdin` reads one line and stores it as --secret says; nothing is archived without --sync."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(newcomer.home))
        words = ["init", "--user", *newcomer.flags, "--secret-stdin", "--secret", f"file:{newcomer.home}/token"]
        ran = CliRunner().invoke(main, words, input=f"{newcomer.secret}\nmore\n")
    assert ran.exit_code == 0, ran.output
    assert ((newcomer.home / "token").read_text(), newcomer.archived) == (f"{newcomer.secret}\n", 0)
    assert newcomer.secret not in ran.output
    assert "No configuration" not in ran.output


def test_missing_options_are_named_at_once(newcomer: Newcomer) -> None:
    """Missing options are exit code 2, all named at once, and nothing is written."""
    ran = newcomer.init("--provider", "twilio")
    assert (ran.code, newcomer.left) == (2, [])
    needed = [line.strip() for line in ran.stderr.splitlines() if line.startswith("  --")]
    assert needed == [
        "--set account_sid=VALUE",
        f"--secret-stdin, or auth_token in {newcomer.home}/.config/recvault/secrets/twilio.auth_token",
        "--bucket NAME",
    ]
    ran = newcomer.init("--yes")
    assert ran.code == 2
    assert "  --provider NAME\n" in ran.stderr and "  --bucket NAME" in ran.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "auth_token=t0ken"], "auth_token is a secret: use --secret"),
        (["--set", "account_sid"], "--set takes KEY=VALUE"),
        (["--bucket", "no bucket"], "--bucket must be a bucket's name"),
        (["--name", "UPPER"], "--name must be 1 to 64"),
        (["--secret", "env:no-name"], "must be the name of an environment variable"),
        (["--secret", "paper"], "must be one of file, env"),
        (["--login", "password"], "--login must be one of auth_token, api_key_secret"),
        (["--provider", "twillio"], "--provider must be one of twilio, "),
    ],
)
def test_wrong_options_are_refused_in_words(newcomer: Newcomer, words: list[str], says: str) -> None:
    """Wrong options are exit code 2 with a message, before any request."""
    ran = newcomer.init(*newcomer.flags, *words)
    assert (ran.code, newcomer.left) == (2, [])
    assert says in ran.stderr and "t0ken" not in ran.stdout


def test_a_failed_test_leaves_nothing(newcomer: Newcomer) -> None:
    """A failed test gives its exit code and what to do, and leaves no file, folder or archive."""
    archive = newcomer.home / "archive"
    flags = [*newcomer.flags, "--secret", "env:TOKEN", "--bucket", str(archive)]
    ran = newcomer.init(*flags[: flags.index("--endpoint-url")], *newcomer.simulated, *flags[-4:], TOKEN="wrong-token")
    assert (ran.code, newcomer.left) == (77, [])
    assert "FAIL  source twilio: list: " in ran.stdout and "To do: the credentials are wrong" in ran.stdout
    assert ran.stderr == "No configuration was written.\n"


def test_a_dialogue_that_ends_early_leaves_nothing(newcomer: Newcomer) -> None:
    """A dialogue that ends early, even at the last question, leaves nothing."""
    options = ("--user", *newcomer.flags)
    code, shown = newcomer.ask(
        ("How does recvault sign in?", ""),
        ("A name for it", ""),
        ("Where is auth_token kept?", ""),
        ("(not shown)", newcomer.secret),
        ("Region", ""),
        ("Write them?", CTRL_D),
        options=options,
    )
    assert (code, newcomer.left) == (130, [])
    assert "Stopped. No configuration was written." in shown


def test_an_answer_that_no_configuration_can_hold_leads_back_to_both(newcomer: Newcomer) -> None:
    """The reader's own words, with the line; account and bucket can be changed."""
    options = ("--user", *newcomer.flags, "--secret", "env:TOKEN", "--set", 'formats=["ogg"]')
    code, shown = newcomer.ask(
        ("How does recvault sign in?", ""),
        ("A name for it", ""),
        ("(not shown)", newcomer.secret),
        ("Region", ""),
        ("What now?", "quit"),
        options=options,
    )
    assert (code, newcomer.left) == (78, [])
    assert re.search(r"FAIL  .*/config.toml:\d+: sources\[0\].formats\[0\]: twilio serves wav or mp3", shown)
    assert "  1  account  change" in shown and "  2  bucket   change" in shown


def test_whoever_leaves_after_the_configuration_is_written_keeps_it(newcomer: Newcomer) -> None:
    """Nothing is archived, and it says how to go on."""
    code, shown = newcomer.ask(
        ("How does recvault sign in?", ""),
        ("A name for it", ""),
        ("(not shown)", newcomer.secret),
        ("Region", ""),
        ("Write it?", ""),
        ("Archive now?", CTRL_D),
        options=("--user", *newcomer.flags, "--secret", "env:TOKEN"),
    )
    assert (code, newcomer.path.exists(), newcomer.archived) == (0, True, 0)
    assert "No configuration" not in shown and "recvault status" in shown


def test_an_archive_in_a_directory_is_made(newcomer: Newcomer) -> None:
    """A path means a directory, which is created, and becomes an archive by the tests."""
    archive = newcomer.home / "recordings"
    flags = ["--provider", "twilio", "--set", f"account_sid={newcomer.account.credentials['account_sid']}"]
    words = [*flags, *newcomer.simulated, "--secret", "env:TOKEN", "--bucket", str(archive), "--sync"]
    ran = newcomer.init(*words, TOKEN=newcomer.secret)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert len([*archive.rglob("*.wav")]) == 5
    assert config.load(newcomer.path).archive.directory == archive


def test_a_source_is_added_and_nothing_is_overwritten(newcomer: Newcomer) -> None:
    """An existing configuration keeps its text and mode; names of its sources cannot be used again."""
    assert newcomer.init(*newcomer.flags, "--secret", "env:TOKEN", TOKEN=newcomer.secret).code == 0
    newcomer.path.chmod(0o640)
    before = newcomer.path.read_text() + "# a comment of mine\n"
    newcomer.path.write_text(before)
    telnyx = newcomer.simulator.add_account("telnyx")
    words = ["--provider", "telnyx", *newcomer.simulated, "--secret", "env:KEY"]
    ran = newcomer.init(*words, KEY=telnyx.credentials["api_key"])
    assert (ran.code, newcomer.path.read_text()) == (2, before)
    assert "--add, to add a source" in ran.stderr
    ran = newcomer.init(*words, "--add", "--name", "twilio", KEY=telnyx.credentials["api_key"])
    assert (ran.code, "--name is already a source's" in ran.stderr) == (2, True)
    ran = newcomer.init(*words, "--add", "--sync", KEY=telnyx.credentials["api_key"], TOKEN=newcomer.secret)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert newcomer.path.read_text().startswith(before)
    assert [each.name for each in config.load(newcomer.path).sources] == ["twilio", "telnyx"]
    assert mode(newcomer.path) == 0o640
    newcomer.path.write_text("[archive]\n")
    ran = newcomer.init(*words, "--add", KEY=telnyx.credentials["api_key"])
    assert (ran.code, newcomer.path.read_text()) == (78, "[archive]\n")


def test_a_declined_addition_changes_nothing(newcomer: Newcomer) -> None:
    """If the user declines to add a source, nothing changes."""
    assert newcomer.init(*newcomer.flags, "--secret", "env:TOKEN", TOKEN=newcomer.secret).code == 0
    before = newcomer.path.read_text()
    code, shown = newcomer.ask(("Add another source to it?", "n"), options=("--user",))
    assert (code, newcomer.path.read_text()) == (130, before)
    assert "exists, with twilio. It is not overwritten." in shown


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Place a machine's folders below the test's, and be root."""
    monkeypatch.setattr(homes, "ROOT", tmp_path / "root")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "root"


def _system(*words: str) -> Any:
    return CliRunner().invoke(main, ["init", "--system", *words], input="")


@pytest.mark.parametrize("way", ["credential", "env"])
def test_for_a_service_secrets_go_where_only_root_reads(
    newcomer: Newcomer, machine: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Secrets go to the credential store or the service's environment; everyone can read the configuration."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", newcomer.secret)
    store, etc = machine / "etc/credstore", machine / "etc/recvault"
    if way == "credential":
        store.mkdir(parents=True)
        (store / "recvault.twilio-auth-token").write_text(newcomer.secret)
        (store / "recvault.twilio-auth-token").chmod(0o600)
    ran = _system(*newcomer.flags, "--secret", way, "--bucket-credentials", "copy")
    assert ran.exit_code == 0, ran.output
    assert "recvault install --system" in ran.output
    assert mode(etc / "config.toml") == 0o644
    settings = config.load(etc / "config.toml")
    assert settings.ledger.path == Path("/var/lib/recvault/ledger.db")
    secret = settings.sources[0].secrets["auth_token"]
    keys = "[default]\naws_access_key_id = test\naws_secret_access_key = test-secret-key\n"
    assert ((store / "recvault.aws").read_text(), mode(store / "recvault.aws")) == (keys, 0o600)
    if way == "credential":
        assert secret.credential == "twilio-auth-token"
    else:
        assert secret.env == "TWILIO_AUTH_TOKEN"
        text = f'TWILIO_AUTH_TOKEN="{newcomer.secret}"\n'
        assert ((etc / "environment").read_text(), mode(etc / "environment")) == (text, 0o600)
    assert newcomer.secret not in ran.output + (etc / "config.toml").read_text()


def test_for_a_service_the_first_archiving_is_the_service_s(
    newcomer: Newcomer, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--sync` installs the service; without systemd this fails with a message, and the configuration stays."""
    monkeypatch.setattr("recvault.cli.install._SYSTEMD", machine / "none")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", newcomer.secret)
    ran = _system(*newcomer.flags, "--secret", "env", "--bucket-credentials", "copy", "--sync")
    assert (ran.exit_code, (machine / "etc/recvault/config.toml").exists()) == (2, True)
    assert "this machine was not started with systemd" in ran.output


def test_counting_a_long_history_is_bounded(newcomer: Newcomer, tmp_path: Path) -> None:
    """After some seconds it says how many there are at least."""
    ran = newcomer.init(*newcomer.flags, "--secret", "env:TOKEN", TOKEN=newcomer.secret)
    assert re.search(r"ok    to archive: 5 recordings, .* of audio, about .*, since \d{4}-\d\d\n", ran.stdout)
    newcomer.simulator.switches = replace(newcomer.simulator.switches, latency_seconds=1.0)
    settings = config.load(newcomer.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN", newcomer.secret)
        found = trial.estimate(settings, lambda: datetime.now(UTC), Stop(), 0.0)
    assert (found.is_all, found.error) == (False, None)


@pytest.mark.process
def test_it_asks_before_it_loads_what_asks_elsewhere(tmp_path: Path) -> None:
    """The first question does not wait until httpx and boto3 are loaded."""
    _, modules = loaded_by([*COMMAND, "init", "--user", "--config", str(tmp_path / "config.toml")], tmp_path)
    assert "recvault.cli.interview" in modules
    assert modules & ABROAD == set()
