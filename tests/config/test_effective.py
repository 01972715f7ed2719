"""The effective configuration as text: complete, loadable, and without any secret."""

from __future__ import annotations

import tomllib
from datetime import timedelta

import pytest

from config.test_config import ARCHIVE, EXAMPLE, KEYED, SIGNALWIRE, TELNYX, TWILIO
from recvault.config import Config, effective, load, read

WHOLE = """[archive]
bucket = "acme-recordings"
endpoint_url = "https://s3.example.com"
object_lock = { mode = "GOVERNANCE", days = 30, legal_hold = true }
tags = { team = "compliance", "a key" = 'with "quotes"' }

[transfer]
spool_memory = "500MB"
min_rate = 1000
retry_base = "0.5s"

[daemon]
stale_after = "1h30m"
ping_proxy = { env = "PING_PROXY" }

[[sources]]
name = "sealed"
provider = "twilio"
base_url = "https://api.ie1.twilio.com"
account_sid = "AC1"
auth_token = { file = "/etc/token" }
subaccounts = true
formats = ["mp3", "wav"]
start_from = 2026-01-01
requests_per_second = 0.5
media_hosts = ["127.0.0.1:80"]
proxy = { credential = "proxy" }
private_keys = [{ file = "/etc/key.pem" }, { env = "KEY", public_key_sid = "CR1" }]
"""


CONFIGURATIONS = [
    ARCHIVE + TWILIO,
    ARCHIVE + TELNYX + SIGNALWIRE + 'space = "acme"\n',
    ARCHIVE + KEYED,
    WHOLE,
    '[archive]\nbucket = "file:///srv/rec"\nprefix = "a"\n' + TELNYX,
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_it_loads_to_the_same_configuration(text: str) -> None:
    """The shown text loads to the same configuration, with nothing left out or changed."""
    found = read(text, "config.toml")
    again = read(effective.toml(found), "shown.toml")
    assert effective.document(again) == effective.document(found)
    assert (
        again.model_copy(update={"sources": ()}) == found.model_copy(update={"sources": ()}) or found.archive.directory
    )
    kept = [each.model_copy(update={"base_url": None, "settings": {}}) for each in found.sources]
    assert [each.model_copy(update={"base_url": None, "settings": {}}) for each in again.sources] == kept


def test_it_names_every_option_that_has_a_value() -> None:
    """Every default is shown, in the usual unit, including the provider's URL."""
    document = effective.document(load(EXAMPLE))
    assert set(document) == set(Config.model_fields)
    written = tomllib.loads(EXAMPLE.read_text())
    for table in ("archive", "ledger", "transfer", "daemon", "notify"):
        given = {key: each for key, each in written[table].items() if key not in ("ping_proxy", "webhook_proxy")}
        assert {key: document[table][key] for key in given} == given
    source = {
        key: each
        for key, each in written["sources"][0].items()
        if key not in ("start_from", "proxy", "quiet_after", "prune_after")
    }
    assert {key: document["sources"][0][key] for key in source} == source


def test_a_provider_s_own_address_is_shown() -> None:
    """If base_url is not set, the provider's own is shown."""
    shown = [effective.document(read(ARCHIVE + each, "c"))["sources"][0]["base_url"] for each in (TWILIO, TELNYX)]
    assert shown == ["https://api.twilio.com", "https://api.telnyx.com"]


def test_only_the_places_of_secrets_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an available secret nor the key in a ping URL is shown."""
    monkeypatch.setenv("TOKEN", "t0ken-of-a-test")
    ping = '[daemon]\nping_url = "https://hc-ping.com/5e5e-key"\n'
    hook = '[notify]\nwebhook = "https://a.example/h00k-key?k=v"\nwebhook_secret = { env = "TOKEN" }\n'
    shown = effective.toml(read(ARCHIVE + ping + hook + TWILIO, "config.toml"))
    assert 'webhook = "https://a.example/[hidden]"' in shown and "h00k" not in shown
    assert 'auth_token = { env = "TOKEN" }' in shown
    assert 'ping_url = "https://hc-ping.com/[hidden]"' in shown
    assert "t0ken" not in shown and "5e5e" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "0.5s"), (60, "60s"), (120, "2m"), (3600, "1h"), (5400, "90m"), (86400, "24h"), (172800, "2d")],
)
def test_durations_are_written_as_people_write_them(seconds: float, text: str) -> None:
    """A duration is written in the largest unit that gives a whole number."""
    assert effective.duration(timedelta(seconds=seconds)) == text
