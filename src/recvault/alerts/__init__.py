"""Tell people and their systems what changed: by a command, a webhook, or a message.

Invariants: each change of state is told once it happened, and not again while it lasts, also over restarts. A failing
channel is a warning: it delays no poll and no transfer.
"""

from recvault.alerts.channels import Channel, CommandChannel, MessageChannel, WebhookChannel
from recvault.alerts.event import KINDS, Event
from recvault.alerts.planning import Seen, seen_of
from recvault.alerts.teller import Teller

__all__ = [
    "KINDS",
    "Channel",
    "CommandChannel",
    "Event",
    "MessageChannel",
    "Seen",
    "Teller",
    "WebhookChannel",
    "seen_of",
]
