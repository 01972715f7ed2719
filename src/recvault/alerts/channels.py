"""The ways to notify: a command, a signed webhook, and every service of apprise.

A channel never raises: it returns the error without secrets, or an empty text.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from recvault.alerts.command import run
from recvault.alerts.event import CONTENT_TYPE, OutgoingEvent
from recvault.errors import ConfigError
from recvault.http.single import exchange
from recvault.log.masking import hide
from recvault.transport import Proxy

WEBHOOK_SECONDS = 10.0  # for a whole request
_WHSEC = "whsec_"


class Channel(Protocol):
    """One way to notify."""

    @property
    def name(self) -> str:
        """Its name in ledger, log and metrics."""

    def send(self, told: OutgoingEvent) -> str:
        """Send an event. Returns the error; empty if it was accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChannel:
    """Runs a program without a shell: the event as JSON on its input, and in RECVAULT_EVENT_* variables."""

    command: Sequence[str]
    seconds: float
    environment: Mapping[str, str]  # this process's; only a few variables are passed on
    name: str = "command"

    def send(self, told: OutgoingEvent) -> str:
        return run(self.command, told.body.encode() + b"\n", told.variables(), self.environment, self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """Posts the event, signed as Standard Webhooks 1.0 (https://www.standardwebhooks.com) describes it."""

    url: str = field(repr=False)
    secret: Callable[[], str]  # read each time: it may have changed
    clock: Callable[[], datetime]
    proxy: Callable[[], Proxy | None] = lambda: None
    seconds: float = WEBHOOK_SECONDS
    name: str = "webhook"

    def send(self, told: OutgoingEvent) -> str:
        try:
            secret = self.secret()
        except ConfigError as error:
            return error.message
        hide(secret)
        body, timestamp = told.body.encode(), int(self.clock().timestamp())
        headers = {
            "Content-Type": CONTENT_TYPE,
            "webhook-id": told.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, told.id, timestamp, body),
        }
        answered = exchange("POST", self.url, seconds=self.seconds, proxy=self.proxy, headers=headers, content=body)
        if isinstance(answered, str):
            return answered
        return "" if 200 <= answered < 300 else f"status {answered}"


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. A secret with prefix whsec_ is base64."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if secret.startswith(_WHSEC):
        with contextlib.suppress(binascii.Error, ValueError):  # it may only look like one
            return base64.b64decode(secret.removeprefix(_WHSEC), validate=True) or secret.encode()
    return secret.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageChannel:
    """Sends a message through apprise: mail, ntfy, Slack and a hundred others. The target's URL is a secret."""

    target: Callable[[], str]  # read each time
    name: str

    def send(self, told: OutgoingEvent) -> str:
        try:
            url = self.target()
            hide(url)
            sender = messenger(url)
        except ConfigError as error:
            return error.message
        try:
            sent = sender.notify(title=told.title, body=told.message)
        except Exception as error:  # noqa: BLE001 - whatever its plug-ins meet is a failed message
            return type(error).__name__
        return "" if sent else "apprise could not deliver it"


def messenger(url: str) -> Any:
    """Make apprise with one target. ConfigError if it is not installed, or does not understand the URL."""
    try:
        apprise = importlib.import_module("apprise")
    except ImportError as error:
        message = f"notify.targets needs apprise, which cannot be imported: {error}"
        raise ConfigError(message, "pip install 'recvault[notify]'") from error
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs parts of the URL
    found = apprise.Apprise()
    if not found.add(url):
        raise ConfigError(
            "the value is not a URL that apprise understands", "see https://github.com/caronc/apprise for the services"
        )
    return found
