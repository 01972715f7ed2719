"""The configuration: documented defaults, all problems at once with their lines, and never a secret."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from recvault.config import (
    ArchiveSettings,
    Config,
    DaemonSettings,
    LedgerSettings,
    NotifySettings,
    ObjectLock,
    SecretRef,
    SourceSettings,
    TransferSettings,
    find,
    load,
    lookup,
    parse_duration,
    parse_rate,
    parse_size,
    parse_time,
    proxies,
    read,
)
from recvault.config.locate import KeyLines
from recvault.errors import ConfigError
from recvault.providers import BUILT_IN, provider_class
from recvault.providers.rest import Rest
from recvault.providers.telnyx import Telnyx
from recvault.transport import Proxy

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
ARCHIVE = '[archive]\nbucket = "acme-recordings"\n'
TWILIO = '[[sources]]\nname = "main"\nprovider = "twilio"\naccount_sid = "AC1"\nauth_token = { env = "TOKEN" }\n'
TELNYX = '[[sources]]\nname = "tx"\nprovider = "telnyx"\napi_key = { env = "TOKEN" }\n'
SIGNALWIRE = '[[sources]]\nname = "sw"\nprovider = "signalwire"\nproject_id = "p"\napi_token = { env = "TOKEN" }\n'
KEYED = TWILIO.replace("auth_token", 'api_key_sid = "SK1"\napi_key_secret')


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(text, "config.toml")
    return str(refused.value).splitlines()


def source(text: str) -> SourceSettings:
    return read(ARCHIVE + text, "config.toml").sources[0]


# The example


def test_example_loads_with_the_documented_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example is a complete configuration, and its values are the models' defaults."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token-of-main")
    config = load(EXAMPLE)
    assert config == read(
        ARCHIVE
        + '[[sources]]\nname = "main"\nprovider = "twilio"\nbase_url = "https://api.twilio.com"\n'
        + 'account_sid = "AC00000000000000000000000000000000"\nauth_token = { env = "TWILIO_AUTH_TOKEN" }\n',
        "defaults.toml",
    )
    assert config.sources[0].resolve_secrets()["auth_token"] == "token-of-main"


def test_example_holds_every_option() -> None:
    """Every field of every model, and every key of every provider, is in the example."""
    text = EXAMPLE.read_text()
    models: list[type[BaseModel]] = [
        Config,
        ArchiveSettings,
        ObjectLock,
        LedgerSettings,
        TransferSettings,
        DaemonSettings,
        NotifySettings,
        SourceSettings,
    ]
    fields = {name for model in models for name in model.model_fields} - {"settings", "secrets"}
    fields |= {name for provider in BUILT_IN for name in provider_class(provider).settings}
    written = set(re.findall(r"\b([a-z_]+)(?= = |\])", text))
    assert fields - written == set()


def test_example_s_other_sources_load_too() -> None:
    """Each provider's entry in the example loads once it is uncommented."""
    head, tail = EXAMPLE.read_text().split("media_hosts = []", 1)
    bare = re.sub(r"^# (?=\[\[|[a-z_]+ = )", "", tail, flags=re.MULTILINE)
    config = read(f"{head}media_hosts = []{bare}", "config.toml")
    assert {each.provider for each in config.sources} == set(BUILT_IN)


def test_defaults_are_those_of_the_interface() -> None:
    """The defaults are those that users rely on."""
    config = read(ARCHIVE + TWILIO, "config.toml")
    transfer, daemon = config.transfer, config.daemon
    assert (transfer.workers, transfer.processes, transfer.max_attempts) == (16, 1, 12)
    assert (transfer.spool_memory, transfer.min_free_disk, transfer.min_rate) == (8 << 20, 1 << 30, 1024)
    assert (transfer.retry_base, transfer.retry_max) == (timedelta(seconds=30), timedelta(hours=6))
    assert (daemon.metrics_listen, daemon.stale_after) == ("127.0.0.1:9464", timedelta(hours=24))
    assert config.ledger.path == Path("/var/lib/recvault/ledger.db")
    main = config.sources[0]
    assert (main.formats, main.start_from, main.base_url, main.subaccounts) == (("wav",), None, None, False)
    assert (main.requests_per_second, main.max_concurrency, main.media_hosts) == (20, 32, ())


# Problems


def test_all_problems_at_once_with_their_lines() -> None:
    """One load reports every problem, each with its line, in the order of the file."""
    text = """[archive]
buckt = "x"
prefix = "/abs"
object_lock = { mode = "GOVERNANCE" }

[transfer]
workers = "16"
spool_memory = "lots"

[[sources]]
name = "main"
provider = "twilio"
acount_sid = "AC1"
auth_token = "0123456789abcdef"
poll_every = 5

[[sources]]
name = "main"
provider = "telnix"
"""
    assert problems(text) == [
        "config.toml:1: archive.bucket: is missing",
        "config.toml:2: archive.buckt: unknown key (did you mean bucket?)",
        "config.toml:3: archive.prefix: must be path segments separated by single slashes, without a leading slash, . "
        "or .., or control characters",
        "config.toml:4: archive.object_lock: days requires a mode other than none, and the other way round",
        "config.toml:7: transfer.workers: must be a whole number",
        'config.toml:8: transfer.spool_memory: is not a size, such as "64KiB", "8MiB", "1GiB", "500MB" '
        "or a number of bytes",
        "config.toml:10: sources[0]: incomplete credentials: set account_sid, auth_token; "
        "or account_sid, api_key_sid, api_key_secret",
        "config.toml:13: sources[0].acount_sid: unknown key (did you mean account_sid?)",
        "config.toml:14: sources[0].auth_token: a secret must not be in the configuration file: "
        'write { env = "NAME" }, { file = "/path" } or { credential = "NAME" }',
        'config.toml:15: sources[0].poll_every: is not a duration, such as "90s", "5m", "26h", "7d" or "1h30m"',
        "config.toml:18: sources[1].name: is already the name of sources[0]",
        "config.toml:19: sources[1].provider: there is no provider called 'telnix' (did you mean 'telnyx'? "
        "known: twilio, twilio-legacy, twilio-video, telnyx, signalwire, plivo, bandwidth, ringcentral)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "config.toml:1: archive: is missing"),
        ("", "config.toml:1: sources: at least one [[sources]] is needed"),
        (ARCHIVE + "sources = []\n", "config.toml:3: archive.sources: unknown key"),
        ("sources = []\n" + ARCHIVE, "config.toml:1: sources: at least one [[sources]] is needed"),
        ("sources = 3\n" + ARCHIVE, "config.toml:1: sources: must be tables"),
        ("sources = [3]\n" + ARCHIVE, "config.toml:1: sources[0]: must be a table"),
        ("archive = 3\n" + TWILIO, "config.toml:1: archive: must be a table"),
        ("[archve]\n" + ARCHIVE + TWILIO, "config.toml:1: archve: unknown key (did you mean archive?)"),
        (ARCHIVE + 'sse = "kms"\n' + TWILIO, "config.toml:3: archive.sse: must be 'none', 'AES256' or 'aws:kms'"),
        (
            ARCHIVE + "object_lock = { mode = 'none', day = 3 }\n" + TWILIO,
            "config.toml:3: archive.object_lock.day: unknown key (did you mean days?)",
        ),
        (ARCHIVE + "tags = { a = 1 }\n" + TWILIO, "config.toml:3: archive.tags.a: must be text"),
        (
            ARCHIVE + TWILIO + "formats = ['wav', 'ogg']\n",
            "config.toml:8: sources[0].formats[1]: twilio serves wav or mp3",
        ),
        (ARCHIVE + TWILIO + "formats = []\n", "config.toml:8: sources[0].formats: must name at least one"),
        (ARCHIVE + TWILIO + "formats = ['wav', 'wav']\n", "config.toml:8: sources[0].formats: contains a duplicate"),
        (ARCHIVE + TWILIO + "subaccounts = 1\n", "config.toml:8: sources[0].subaccounts: must be true or false"),
        (
            ARCHIVE + TWILIO + "[daemon]\ndrain_timeout = true\n",
            "config.toml:9: daemon.drain_timeout: is not a duration",
        ),
        (
            ARCHIVE + TWILIO + '[transfer]\nretry_base = "1d"\n',
            "config.toml:8: transfer: retry_max must not be shorter",
        ),
    ],
)
def test_a_problem_has_its_line(text: str, expected: str) -> None:
    """Each problem has the line of its key, or of the table that lacks the key."""
    assert any(line.startswith(expected) for line in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bucket", "s3://acme"),
        ("bucket", "ab"),
        ("bucket", "file://srv/recordings"),
        ("bucket", "file:///"),
        ("bucket", "file:///srv/../etc"),
        ("bucket", "file:///srv//recordings"),
        ("bucket", "file:///srv/recordings?a=b"),
        ("bucket", "file:///srv/%00"),
        ("prefix", "a/../b"),
        ("prefix", "a//b"),
        ("prefix", "."),
        ("prefix", "/"),
        ("prefix", "a\\u0000b"),
        ("endpoint_url", "ftp://host"),
        ("endpoint_url", "https://user:pass@host"),
        ("key_template", "{date}.{ext}"),
        ("key_template", "{nothing}"),
        ("storage_class", "standard class"),
        ("region", ""),
        ("kms_key_id", "alias/x"),
    ],
)
def test_archive_values_that_cannot_be(key: str, value: str) -> None:
    """Values that cannot work, or could let recordings share a key, are refused at load."""
    text = f'[archive]\n{key} = "{value}"\n' + ("" if key == "bucket" else 'bucket = "acme"\n') + TWILIO
    assert len(problems(text)) == 1


@pytest.mark.parametrize(
    ("bucket", "directory"),
    [
        ("file:///srv/recordings", Path("/srv/recordings")),
        ("file:///srv/call%20recordings/", Path("/srv/call recordings")),
        ("acme-recordings", None),
    ],
)
def test_a_bucket_may_be_a_directory(bucket: str, directory: Path | None) -> None:
    """A file:// URL names a directory; prefix and key template apply to it."""
    text = f'[archive]\nbucket = "{bucket}"\nprefix = "a"\n'
    text += 'key_template = "{provider}/{account}/{recording_id}.{ext}"\n'
    assert read(text + TWILIO, "config.toml").archive.directory == directory


def test_a_directory_takes_no_options_of_s3() -> None:
    """All options that only S3 has are reported at once, even with their default values."""
    options = {
        "region": '"us-east-1"',
        "endpoint_url": '"http://127.0.0.1:9000"',
        "addressing_style": '"auto"',
        "sender": '"fast"',
        "storage_class": '"STANDARD"',
        "sse": '"none"',
        "object_lock": '{ mode = "none" }',
        "tags": "{}",
        "acl": '"private"',
        "request_payer": "false",
        "checksums": '"auto"',
    }
    text = '[archive]\nbucket = "file:///srv/recordings"\n' + "".join(f"{k} = {v}\n" for k, v in options.items())
    [problem] = problems(text + TWILIO)
    assert all(name in problem for name in options)
    assert "cannot be combined" in problem


def test_archive_values_that_can_be() -> None:
    """A prefix loses its trailing slash; other values are taken as written."""
    text = (
        ARCHIVE + 'prefix = "a/b/"\nsse = "aws:kms"\nkms_key_id = "alias/x"\nendpoint_url = "http://10.0.0.1:9000/"\n'
    )
    text += 'object_lock = { mode = "COMPLIANCE", days = 365, legal_hold = true }\ntags = { team = "x" }\n'
    archive = read(text + TWILIO, "config.toml").archive
    assert (archive.prefix, archive.endpoint_url) == ("a/b", "http://10.0.0.1:9000")
    assert (archive.object_lock.mode, archive.object_lock.days, archive.object_lock.legal_hold) == (
        "COMPLIANCE",
        365,
        True,
    )
    assert archive.tags == {"team": "x"}


def test_ten_tags_at_most() -> None:
    """More than ten tags are refused, S3's limit."""
    tags = ", ".join(f'k{number} = "v"' for number in range(11))
    assert problems(ARCHIVE + f"tags = {{ {tags} }}\n" + TWILIO) == ["config.toml:3: archive.tags: must be at most 10"]


@pytest.mark.parametrize("text", ["a = ", "[archive\n", "x = 1\nx = 2\n", 'a = "\n"'])
def test_a_syntax_error_has_its_line(text: str) -> None:
    """Invalid TOML is reported with the parser's line."""
    (line,) = problems("\n\n" + text)
    assert re.match(r"config\.toml(:[345])?: is not valid TOML: ", line), line


# Sources


def test_provider_keys_become_settings_and_secrets() -> None:
    """Plain keys, including `base_url`, become settings; secrets become references."""
    main = source(TWILIO + 'base_url = "https://api.dublin.ie1.twilio.com/"\n')
    assert main.base_url == "https://api.dublin.ie1.twilio.com"
    assert main.settings == {"account_sid": "AC1", "base_url": "https://api.dublin.ie1.twilio.com"}
    assert main.secrets["auth_token"].env == "TOKEN"
    assert source(TWILIO).settings == {"account_sid": "AC1"}


def test_lookback_and_formats_default_to_the_provider_s() -> None:
    """lookback defaults to the provider's; Video has its own format whatever is configured."""
    assert source(TELNYX).lookback == provider_class("telnyx").default_lookback
    assert source(TELNYX + 'lookback = "0s"\n').lookback == timedelta()
    video = TWILIO.replace('"twilio"', '"twilio-video"')
    assert (
        source(video + "formats = ['wav']\n").formats == source(video).formats == provider_class("twilio-video").formats
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (TWILIO.replace("auth_token", "#"), "sources[0]: incomplete credentials: set account_sid"),
        (TWILIO + KEYED[KEYED.index("api_key_sid") :], "sources[0]: more than one set of credentials: keep one of"),
        (TWILIO + 'api_key_sid = "SK1"\n', "sources[0].api_key_sid: belongs to another set"),
        (KEYED + "subaccounts = true\n", "sources[0].subaccounts: credentials with api_key_sid do not reach"),
        (TELNYX + "subaccounts = true\n", "sources[0].subaccounts: telnyx cannot list sub-accounts"),
        (
            TWILIO.replace('"twilio"', '"twilio-video"') + "subaccounts = true\n",
            "sources[0].subaccounts: twilio-video cannot list",
        ),
        (SIGNALWIRE, "sources[0]: "),
        (SIGNALWIRE + 'space = "a b"\n', "sources[0]"),
        (TWILIO.replace('"AC1"', '""'), "sources[0].account_sid: must be text"),
        (TWILIO.replace('"AC1"', "7"), "sources[0].account_sid: must be text"),
        (TWILIO.replace('"main"', '"Main Office"'), "sources[0].name: must be 1 to 64"),
        (TWILIO.replace('env = "TOKEN"', 'env = "T", file = "/x"'), "sources[0].auth_token: must be exactly one of"),
        (TWILIO.replace('env = "TOKEN"', 'owner = "x"'), "sources[0].auth_token: must be exactly one of"),
        (TWILIO.replace('env = "TOKEN"', "env = 3"), "sources[0].auth_token: env must be text that says where"),
        (TWILIO.replace("env =", "credential =").replace("TOKEN", "../x"), "sources[0].auth_token: credential must be"),
        (TWILIO + 'media_hosts = ["https://x"]\n', "sources[0].media_hosts: each must be a host"),
        (TWILIO + 'start_from = "yesterday"\n', "sources[0].start_from: is not a date or time"),
        (TWILIO + "requests_per_second = 0\n", "sources[0].requests_per_second: must be greater than 0"),
    ],
)
def test_sources_that_cannot_be(text: str, what: str) -> None:
    """Incomplete credentials, sub-accounts out of reach and senseless values are refused."""
    found = problems(ARCHIVE + text)
    assert len(found) == 1
    assert what in found[0]


def test_subaccounts_with_an_auth_token() -> None:
    """Sub-accounts are accepted with an auth token."""
    assert source(TWILIO + "subaccounts = true\n").subaccounts


@pytest.mark.parametrize(
    "url", ["https://x.example", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://x.example/"]
)
def test_base_urls_that_can_be(url: str) -> None:
    """https is accepted for any host, plain http for this machine."""
    assert source(TWILIO + f'base_url = "{url}"\n').base_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://x.example",
        "https://x.example/v1",
        "https://x.example?a=1",
        "https://x.example#f",
        "https://u:hunter22@x.example",
        "x.example",
        "https://",
        "https://x y",
        "https://x:99999",
        "file:///etc/passwd",
        "http://127.0.0.1.evil.example",
        "",
    ],
)
def test_base_urls_that_cannot_be(url: str) -> None:
    """A path, a query, a user or plain http to another host is refused, without repeating the URL."""
    (line,) = problems(ARCHIVE + TWILIO + f'base_url = "{url}"\n')
    assert line.startswith("config.toml:8: sources[0].base_url: ")
    assert "hunter22" not in line


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('""', None),
        ('"2026-01-02"', datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ('"2026-01-02T03:04:05+02:00"', datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_start_from(written: str, expected: datetime | None) -> None:
    """A date or time, as text or TOML's own, is UTC unless it has a zone; empty means all history."""
    assert source(TWILIO + f"start_from = {written}\n").start_from == expected


def test_models_are_frozen() -> None:
    """A loaded configuration cannot be changed."""
    with pytest.raises(ValueError, match="frozen"):
        read(ARCHIVE + TWILIO, "config.toml").archive.bucket = "other"  # type: ignore[misc]


# Secrets

SECRET = "hunter2-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        ARCHIVE + TWILIO.replace('{ env = "TOKEN" }', f'"{SECRET}"'),
        ARCHIVE + TWILIO + f'auth_tokn = "{SECRET}"\n',
        ARCHIVE + TWILIO.replace('{ env = "TOKEN" }', f'{{ value = "{SECRET}" }}'),
        ARCHIVE + TWILIO.replace('{ env = "TOKEN" }', f'["{SECRET}"]'),
        ARCHIVE + TWILIO + f'base_url = "https://x:{SECRET}@y"\n',
        ARCHIVE + TWILIO + f'poll_every = "{SECRET}"\n',
        ARCHIVE + TWILIO + f'media_hosts = ["{SECRET}/x"]\n',
        ARCHIVE + TWILIO.replace("auth_token", "api_key_secret").replace('{ env = "TOKEN" }', f'"{SECRET}"'),
        f'[archive]\nbucket = "{SECRET}!"\n' + TWILIO,
        ARCHIVE + TWILIO + f'x = "{SECRET}',
    ],
)
def test_no_message_repeats_a_value(text: str) -> None:
    """No message repeats a value, wherever a secret was written by mistake."""
    assert SECRET not in "\n".join(problems(text))


def test_secrets_are_resolved_from_their_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Environment, file and systemd's directory work; one trailing newline is removed; no repr shows a secret."""
    place = tmp_path / "token"
    place.write_text(SECRET + "\n")
    place.chmod(0o640)
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for way in ('env = "TOKEN"', f'file = "{place}"', 'credential = "token"'):
        main = source(TWILIO.replace('env = "TOKEN"', way))
        assert main.resolve_secrets() == {"account_sid": "AC1", "auth_token": SECRET}
        assert SECRET not in repr(main)


def test_credentials_directory_may_be_readable_by_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The mode of systemd's credentials is not checked; that of other files is."""
    place = tmp_path / "token"
    place.write_text(SECRET)
    place.chmod(0o644)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert SecretRef(credential="token").resolve() == SECRET
    with pytest.raises(ConfigError, match=r"can be read by everyone on this machine \(chmod o-rwx"):
        SecretRef(file=str(place), owner="main: auth_token").resolve()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o400, ""),
        (0o600, ""),
        (0o640, ""),  # root:recvault
        (0o440, ""),  # Kubernetes, with fsGroup and defaultMode: 0400
        (0o644, "can be read by everyone"),
        (0o604, "can be read by everyone"),
        (0o666, "can be read by everyone"),
        (0o602, "can be changed by everyone"),
    ],
)
@pytest.mark.parametrize("mounted", [False, True], ids=["a file", "a mounted link"])
def test_a_secret_s_file_is_nobody_elses(mode: int, words: str, mounted: bool, tmp_path: Path) -> None:
    """A secret's file readable by others is refused, with file, chmod, and how to set a mount's mode."""
    place = tmp_path / "..data" / "token"
    place.parent.mkdir()
    place.write_text(SECRET)
    place.chmod(mode)
    if mounted:
        place = tmp_path / "token"
        place.symlink_to(Path("..data") / "token")
    secret = SecretRef(file=str(place), owner="main: auth_token")
    if not words:
        assert secret.resolve() == SECRET
        return
    with pytest.raises(ConfigError, match=f"main: auth_token: {place} {words}") as refused:
        secret.resolve()
    assert f"chmod o-rwx {place}" in str(refused.value)
    assert ("defaultMode" in str(refused.value)) is mounted
    assert SECRET not in str(refused.value)


# Proxies

PROXY = f"http://user:{SECRET}@gate.example:3128"


def test_no_proxy_unless_one_is_named() -> None:
    """Without a proxy, or with an empty one, providers and monitor are requested directly."""
    for written in ("", 'proxy = ""\n'):
        assert source(TWILIO + written).proxy is None
    for written in ("", '[daemon]\nping_proxy = ""\n'):
        assert read(ARCHIVE + TWILIO + written, "config.toml").daemon.ping_proxy is None
    assert proxies.resolve(None) == (None, "")


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://gate.example:3128", "http://gate.example:3128"),
        ("http://gate.example:3128/", "http://gate.example:3128"),
        ("gate.example:3128", "http://gate.example:3128"),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
        ("http://gate.example", "http://gate.example:80"),
    ],
)
def test_a_proxy_without_a_password_is_plain_text(written: str, address: str) -> None:
    """A proxy's URL without password may be in the configuration, for sources and the monitor."""
    config = read(ARCHIVE + TWILIO + f'proxy = "{written}"\n[daemon]\nping_proxy = "{written}"\n', "config.toml")
    for each in (config.sources[0].proxy, config.daemon.ping_proxy):
        assert proxies.resolve(each) == (Proxy(address), "")


def test_a_proxy_with_a_password_is_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The whole URL can be a secret, its escapes are decoded, and no repr shows the password."""
    monkeypatch.setenv("GATE", "http://us%40er:p%3Aass%2Fword@gate.example:3128")
    place = tmp_path / "gate"
    place.write_text(PROXY + "\n")
    place.chmod(0o600)
    text = TWILIO + f'proxy = {{ file = "{place}" }}\n[daemon]\nping_proxy = {{ env = "GATE" }}\n'
    config = read(ARCHIVE + text, "config.toml")
    found, secret = proxies.resolve(config.sources[0].proxy)
    assert (found, secret) == (Proxy("http://gate.example:3128", "user", SECRET), PROXY)
    assert SECRET not in repr(config) + repr(found)
    found, _ = proxies.resolve(config.daemon.ping_proxy)
    assert found == Proxy("http://gate.example:3128", "us@er", "p:ass/word")


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (f'"{PROXY}"', "a secret must not be in the configuration file: write { env"),
        ('"http://user@gate.example:3128"', "a secret must not be in the configuration file"),
        ('"https://gate.example:3128"', "must be http://host:port"),
        ('"socks5://gate.example:1080"', "must be http://host:port"),
        ('"http://gate.example:port"', "must be http://host:port"),
        ('"http://gate.example:99999"', "must be http://host:port"),
        ('"http://gate.example:3128/path"', "must be http://host:port"),
        ('"http://gate.example:3128?a=b"', "must be http://host:port"),
        ('"http://gate.example:3128#a"', "must be http://host:port"),
        ('"http://:3128"', "must be http://host:port"),
        ('"http://gate example:3128"', "must be http://host:port"),
        ('"http://gate.example\\r\\nX: y:3128"', "must be http://host:port"),
        ('"http://g\u00e4te.example:3128"', "must be http://host:port"),
        ("3128", "must be exactly one of { env"),
        ("true", "must be exactly one of { env"),
        ('{ url = "http://gate" }', "must be exactly one of { env"),
        ("{ env = 3 }", "env must be text that says where the secret is"),
    ],
)
def test_proxies_that_cannot_be(written: str, what: str) -> None:
    """Anything but an HTTP proxy's URL is refused at load with its line, for sources and the monitor."""
    for text, where in (
        (TWILIO + f"proxy = {written}\n", "config.toml:8: sources[0].proxy: "),
        (TWILIO + f"[daemon]\nping_proxy = {written}\n", "config.toml:9: daemon.ping_proxy: "),
    ):
        (line,) = problems(ARCHIVE + text)
        assert line.startswith(where + what)
        assert SECRET not in line


@pytest.mark.parametrize(
    "value",
    [
        f"https://user:{SECRET}@gate.example:3128",
        f"http://user:{SECRET}@gate.example:{SECRET}",
        f"http://user:{SECRET}/@gate.example",
        f"http://:{SECRET}@gate.example:3128",
        f"http://user:{SECRET}@[gate:3128",
        f"user: {SECRET}",
    ],
)
def test_a_secret_that_is_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An invalid URL in a secret is reported with its owner and the expected form, without its content."""
    monkeypatch.setenv("GATE", value)
    with pytest.raises(ConfigError) as caught:
        proxies.resolve(source(TWILIO + 'proxy = { env = "GATE" }\n').proxy)
    assert caught.value.message.startswith(
        "main: proxy: its value must be http://host:port; with a user and a password, put"
    )
    assert SECRET not in str(caught.value)


def test_secrets_that_cannot_be_had_are_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every missing secret is reported, with its source, its key and what to do."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("TOKEN", raising=False)
    secrets: Mapping[str, SecretRef] = {
        "a": SecretRef(env="TOKEN", owner="main: a"),
        "b": SecretRef(file=str(tmp_path / "none"), owner="main: b"),
        "c": SecretRef(credential="token", owner="main: c"),
    }
    with pytest.raises(ConfigError) as refused:
        source(TWILIO).model_copy(update={"secrets": secrets}).resolve_secrets()
    way = "run under systemd with LoadCredential=token:PATH, or use env or file"
    assert str(refused.value).splitlines() == [
        "main: a: the environment variable TOKEN is not set (set it, or use another variable)",
        f"main: b: {tmp_path}/none cannot be read: No such file or directory (correct the path or its permissions)",
        f"main: c: CREDENTIALS_DIRECTORY is not set ({way})",
    ]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"t0ken-a\nt0ken-b\n", "control characters"),
        (b"t0ken\0", "control characters"),
        ("t0ken".encode("utf-16"), "is not UTF-8"),
        ("t0ken".encode("utf-16-le"), "control characters"),
        (b"t0ken\xe9", "is not UTF-8"),
        ("\u201ct0ken\u201d".encode(), "a typographic quote"),
        ("t0ken\u2013a".encode(), "a typographic dash"),
        ("t0ken\xa0".encode(), "a no-break space"),
        ("t0k\u200ben".encode(), "an invisible character"),
        ("t0ken\ufeff".encode(), "a byte order mark"),
        ("t0ken\xe9".encode(), "a character that is not ASCII"),
        (b" t0ken", "begins or ends with a space"),
        (b"t0ken \n", "begins or ends with a space"),
        (b"t0ken" * 20_000, "longer than 64 KiB"),
    ],
)
def test_secret_files_that_cannot_be(body: bytes, what: str, tmp_path: Path) -> None:
    """An invalid secret file is refused by name, before its content is used or shown."""
    place = tmp_path / "token"
    place.write_bytes(body)
    place.chmod(0o600)
    with pytest.raises(ConfigError, match=what) as caught:
        SecretRef(file=str(place), owner="main: auth_token").resolve()
    assert caught.value.message.startswith(f"main: auth_token: {place} ")
    assert "t0k" not in str(caught.value)


@pytest.mark.parametrize("written", ["\ufeff{}", "{}\n", "{}\r\n", "{}\n\n", "\ufeff{}\r\n"])
def test_what_editors_put_around_a_secret_is_no_part_of_it(written: str, tmp_path: Path) -> None:
    """A byte order mark before a secret and line ends after it are removed."""
    place = tmp_path / "token"
    place.write_bytes(written.format(SECRET).encode())
    place.chmod(0o600)
    assert SecretRef(file=str(place)).resolve() == SECRET


@pytest.mark.parametrize("value", ["\u201ct0ken\u201d", "t0ken\udcff", "t0ken\n\nt0ken", " t0ken"])
def test_secrets_of_the_environment_that_cannot_be(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """An invalid secret in a variable is refused with the variable's name, whatever bytes it has."""
    monkeypatch.setenv("TOKEN", value)
    with pytest.raises(ConfigError) as caught:
        SecretRef(env="TOKEN", owner="main: auth_token").resolve()
    assert caught.value.message.startswith("main: auth_token: the environment variable TOKEN ")
    assert "t0ken" not in str(caught.value)


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    """A secret's file that cannot be read is reported with its path."""
    with pytest.raises(ConfigError, match=f"{tmp_path} cannot be read: Is a directory"):
        SecretRef(file=str(tmp_path)).resolve()


# Finding the file


def test_find_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The given path is used, else RECVAULT_CONFIG, else ./config.toml; a given path must exist."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECVAULT_CONFIG", raising=False)
    given_path, named = tmp_path / "given.toml", tmp_path / "named.toml"
    for place in (given_path, named, tmp_path / "config.toml"):
        place.touch()
    assert find(None) == Path("config.toml")
    monkeypatch.setenv("RECVAULT_CONFIG", str(named))
    assert find(None) == named
    assert find(given_path) == given_path
    named.unlink()
    with pytest.raises(ConfigError, match=f"tried: {named}"):
        find(None)


def test_a_missing_file_names_the_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a configuration, the error lists the places that were searched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECVAULT_CONFIG", raising=False)
    monkeypatch.setattr("recvault.config.places.SYSTEM", tmp_path / "etc.toml")
    with pytest.raises(
        ConfigError, match=r"tried: config\.toml, .*etc\.toml \(make one: recvault init; or use --config PATH"
    ):
        find(None)
    with pytest.raises(ConfigError, match=r"tried: .*none\.toml"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o644, False), (0o664, False), (0o666, True)])
def test_a_configuration_is_nobody_elses_to_change(mode: int, refused: bool, tmp_path: Path) -> None:
    """A configuration that others can write is refused, as they could redirect secrets. Everybody may read it."""
    place = tmp_path / "config.toml"
    place.write_text(ARCHIVE + TWILIO)
    place.chmod(mode)
    if not refused:
        assert load(place).sources[0].name == "main"
        return
    with pytest.raises(ConfigError, match=r"config\.toml is writable by everyone .*\(chmod o-w"):
        load(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for another user")
def test_a_configuration_that_a_stranger_left_here_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """./config.toml of another user in another user's directory is refused unless it is named."""
    monkeypatch.chdir(tmp_path)
    place = Path("config.toml")
    place.write_text(ARCHIVE + TWILIO)
    os.chown(place, 54321, 54321)
    with pytest.raises(ConfigError, match=r"belongs to another user .*--config config\.toml"):
        find(None)
    assert find(place) == place
    monkeypatch.setenv("SUDO_UID", "abc")  # names nobody
    with pytest.raises(ConfigError, match="belongs to another user"):
        find(None)
    monkeypatch.setenv("SUDO_UID", "54321")  # the caller of sudo, whose own files are trusted
    assert find(None) == place


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for another user")
def test_a_home_that_is_another_user_s_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A configuration of another user in HOME, as under sudo, is refused unless it is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / ".config/recvault/config.toml"
    place.parent.mkdir(parents=True)
    place.write_text(ARCHIVE + TWILIO)
    assert find(None) == place
    os.chown(place, 54321, 54321)
    with pytest.raises(ConfigError, match=rf"{place} belongs to another user .*--config {place}"):
        find(None)


def test_a_home_that_cannot_be_entered_is_passed_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A HOME that cannot be entered is skipped; the machine's file is used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "closed"))
    (system := tmp_path / "etc.toml").touch()
    monkeypatch.setattr("recvault.config.places.SYSTEM", system)
    is_file = Path.is_file

    def closed(path: Path) -> bool:
        if "closed" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", closed)
    assert find(None) == system


def test_without_a_home_there_are_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative XDG_CONFIG_HOME is ignored, as its specification demands."""
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert [str(place) for place in lookup()] == ["config.toml", "/etc/recvault/config.toml"]


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A directory or a binary file is a configuration error, not a crash."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    place = tmp_path / "config.toml"
    place.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(place)


# Units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("26h", 93600), ("7d", 604800), ("1h30m", 5400), ("0s", 0), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are read in the forms that people write."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8MiB", 8 << 20), ("1GiB", 1 << 30), ("64KiB", 65536), ("500MB", 500_000_000), (7, 7), ("7", 7), ("1.5kB", 1500)],
)
def test_sizes(text: str | int, size: int) -> None:
    """Binary and decimal sizes are distinguished."""
    assert parse_size(text) == size
    assert parse_rate(f"{text}/s") == size


@pytest.mark.parametrize("text", ["", "5", "5 m", "-5m", "m", "1m1h", "5M", 5, None, True, "1e3s", "9" * 400 + "s"])
def test_no_durations(text: Any) -> None:
    """Anything but a duration is a ValueError."""
    with pytest.raises(ValueError, match="is "):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "MiB", "8M", "-1", -1, "1.5", True, 1.5, None, "8MiB/s", "1iB"])
def test_no_sizes(text: Any) -> None:
    """Anything but a size is a ValueError."""
    with pytest.raises(ValueError, match="is no"):
        parse_size(text)


def test_times() -> None:
    """Dates and ISO times become aware UTC times; anything else is a ValueError."""
    assert parse_time("2026-10-01") == parse_time(date(2026, 10, 1)) == datetime(2026, 10, 1, tzinfo=UTC)
    assert parse_time("2026-10-01T02:00:00+02:00").tzinfo is UTC
    for text in ("", "Tue", "1 Oct 2026", "2026-02-30", 5, None):
        with pytest.raises(ValueError, match="is not a date or time"):
            parse_time(text)


@settings(deadline=None)
@given(st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.none())
def test_units_raise_nothing_but_value_errors(value: Any) -> None:
    """Any value that TOML can hold gives a result or a ValueError."""
    for parse in (parse_duration, parse_size, parse_rate, parse_time):
        try:
            parse(value)
        except ValueError as error:
            assert str(error).startswith("is ")


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """All four units together are summed."""
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected


# Lines


def test_lines_of_every_shape() -> None:
    """Lines are found for dotted keys, inline tables, multi-line arrays and strings, quoted keys and comments."""
    text = """# a comment with = and [brackets]
top = 1
text = \"\"\"
[not.a.table]
key = 2
\"\"\"
raw = '''
[[sources]]
'''
list = [ # comment ]
  "a]",
  { b = 1 },
]
dotted."quo.ted".x = { y = [1, 2] }

[[sources]]
name = "a"
[sources.inner]
z = 1
[[sources]]
name = "b"
  [[sources.deep]]
  k = 1
  [[sources.deep]]
  k = "#"
"""
    tomllib.loads(text)
    line = KeyLines(text)
    expected = {
        ("top",): 2,
        ("text",): 3,
        ("raw",): 7,
        ("list", 1, "b"): 10,
        ("dotted",): 14,
        ("dotted", "quo.ted", "x", "y", 0): 14,
        ("sources", 0): 16,
        ("sources", 0, "name"): 17,
        ("sources", 0, "inner", "z"): 19,
        ("sources", 1): 20,
        ("sources", 1, "name"): 21,
        ("sources", 1, "missing"): 20,
        ("sources", 1, "deep", 0, "k"): 23,
        ("sources", 1, "deep", 1, "k"): 25,
        ("nowhere",): 1,
    }
    assert {path: line(path) for path in expected} == expected


KEYS = st.text("abAB_-1", min_size=1, max_size=6)
VALUES = st.sampled_from(
    [
        "1",
        '"""\nk = 1\n"""',
        "'''a''b\n[x]'''",
        '[\n1, # ]\n"]"\n]',
        "{ a = [\n1] }",
        '"#\\"="',
        "''",
        '""',
        '""""q""""',
        "1979-05-27",
    ]
)


@settings(deadline=None)
@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=8), st.sampled_from(["", "\n", "# [c] = 'x\n", "  "]))
def test_lines_of_any_table(table: dict[str, str], between: str) -> None:
    """Whatever values come before a key, its line is found."""
    text, expected = "", {}
    for key, value in table.items():
        text += between
        expected[(key,)] = text.count("\n") + 1
        text += f"{key} = {value}\n"
    assert set(tomllib.loads(text)) == set(table)
    line = KeyLines(text)
    assert {path: line(path) for path in expected} == expected


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("tcp://10.0.0.5:8786", "must be tls://; plain tcp:// is allowed only to loopback"),
        ("tls://10.0.0.5:8786", "requires cluster_tls"),
        ("local:0", 'must be "tls://host:port"'),
        ("http://127.0.0.1:8786", 'must be "tls://host:port"'),
        ("tls://10.0.0.5", 'must be "tls://host:port"'),
    ],
)
def test_a_cluster_is_reached_by_tls_or_on_this_machine(address: str, problem: str) -> None:
    """Rows and signed URLs are sent there: any other address is refused before anything starts."""
    text = ARCHIVE + f'[transfer]\ncluster = "{address}"\n' + TELNYX
    with pytest.raises(ConfigError, match=re.escape(problem)):
        read(text, "config.toml")


@pytest.mark.parametrize("address", ["", "local:4", "tcp://127.0.0.1:8786", "tcp://localhost:8786", "tcp://[::1]:8786"])
def test_a_cluster_on_this_machine_needs_no_certificates(address: str) -> None:
    """A local cluster needs no certificates, because nothing leaves this machine."""
    text = ARCHIVE + f'[transfer]\ncluster = "{address}"\n' + TELNYX
    assert read(text, "config.toml").transfer.cluster == address


def test_a_cluster_takes_the_place_of_processes() -> None:
    """A cluster and processes cannot be combined: its workers are the processes."""
    text = ARCHIVE + '[transfer]\ncluster = "local:2"\nprocesses = 2\n' + TELNYX
    with pytest.raises(ConfigError, match="cannot be combined with processes"):
        read(text, "config.toml")


def test_a_provider_that_cannot_delete_is_not_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """prune_after is an error for a provider that does not declare that it deletes."""
    source = '[archive]\nbucket = "acme"\n[[sources]]\nname = "t"\nprovider = "telnyx"\napi_key = { env = "K" }\n'
    text = f'{source}prune_after = "30d"\n'
    assert read(text, "c").sources[0].prune_after == timedelta(days=30)
    monkeypatch.setattr(Telnyx, "deletes", Rest.deletes)
    with pytest.raises(ConfigError, match="prune_after: telnyx cannot delete recordings"):
        read(text, "c")
