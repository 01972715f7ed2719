"""Tests of `[notify]`: its command can be run, its secrets can be read; on request, a test event to each channel."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

from recvault.alerts.channels import messenger
from recvault.alerts.event import TEST
from recvault.app import notification, wiring
from recvault.app.runtime import Runtime
from recvault.check.machine import resolved
from recvault.check.probe import Probe, probe
from recvault.config import SecretRef
from recvault.errors import ConfigError, Unavailable
from recvault.log.masking import hide

_TEST = "a test of `recvault check --notify`: nothing happened"


def settings(runtime: Runtime) -> Iterator[Probe]:
    """Test what is possible without sending anything."""
    wanted = runtime.settings.notify
    if wanted.command:
        yield probe("notify: command", _command, wanted.command[0])
    if wanted.webhook_secret is not None:
        yield probe("notify: webhook_secret", _secret, wanted.webhook_secret)
    for place, target in enumerate(wanted.targets):
        yield probe(f"notify: targets[{place}]", _target, target)


def reachable(runtime: Runtime) -> Iterator[Probe]:
    """Test whether the webhook's host has an address."""
    wanted = runtime.settings.notify
    if wanted.webhook:
        yield probe("notify: webhook", _webhook, runtime)


def told(runtime: Runtime) -> Iterator[Probe]:
    """Send a test event to each channel."""
    teller = notification.teller(runtime)
    if teller is None:
        yield probe("notify: test", _nobody)
        return
    for name, error in teller.tell_now(TEST, "test", _TEST).items():
        yield probe(f"notify: test by {name}", _accepted, error)


def _command(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ConfigError(f"{program} is not an executable file", "correct notify.command, or chmod +x the file")
    return f"{found} can be run"


def _secret(secret: SecretRef) -> str:
    hide(secret.resolve())
    return "its secret can be read"


def _target(target: SecretRef) -> str:
    url = target.resolve()
    hide(url)
    messenger(url)
    return f"apprise understands it ({url.partition('://')[0]})"


def _webhook(runtime: Runtime) -> str:
    wanted = runtime.settings.notify
    host = urlsplit(wanted.webhook).hostname or ""
    if wanted.webhook_proxy is not None:
        wiring.proxy(wanted.webhook_proxy)
        return f"{host} is reached through a proxy"
    return resolved(wanted.webhook, "notify.webhook")


def _nobody() -> str:
    raise ConfigError("[notify] names nobody", "set command, webhook or targets, or leave out --notify")


def _accepted(error: str) -> str:
    if error:
        raise Unavailable(error, "correct [notify]; see the table of channels in src/recvault/alerts/README.md")
    return "accepted"
