"""The channels of `[notify]`, and what uses them. Secrets are read each time that something is sent."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

from recvault.alerts import Channel, CommandChannel, MessageChannel, Teller, WebhookChannel
from recvault.app import wiring
from recvault.app.source_status import Inquiry
from recvault.config import NotifySettings


def channels(settings: NotifySettings, inquiry: Inquiry) -> Iterator[Channel]:
    """Make every configured channel."""
    if settings.command:
        yield CommandChannel(
            command=settings.command, seconds=settings.command_timeout.total_seconds(), environment=os.environ
        )
    if settings.webhook and settings.webhook_secret is not None:
        yield WebhookChannel(
            url=settings.webhook,
            secret=settings.webhook_secret.resolve,
            clock=inquiry.clock,
            proxy=lambda: wiring.proxy(settings.webhook_proxy),
        )
    for place, target in enumerate(settings.targets):
        yield MessageChannel(target=target.resolve, name=f"targets[{place}]")


def teller(
    inquiry: Inquiry, on_result: Callable[[str, str, int], None] = lambda channel, result, count: None
) -> Teller | None:
    """Make what sends notifications about this ledger; None if no channel is configured."""
    settings = inquiry.settings.notify
    found = list(channels(settings, inquiry))
    if not found:
        return None
    return Teller(
        ledger=inquiry.ledger,
        channels=found,
        kinds=settings.events,
        trouble_after=settings.trouble_after,
        origin=f"/recvault/{socket.gethostname()}",
        clock=inquiry.clock,
        on_result=on_result,
        check_stop=inquiry.stop.check,
    )
