"""An event to notify, as a CloudEvent 1.0 and as environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from recvault.log.lines import redact_text
from recvault.models import JSON
from recvault.monitoring.report import iso

STALE, TROUBLE, QUIET = "stale", "trouble", "quiet"
DEAD, QUARANTINED, SUSPECT = "dead", "quarantined", "suspect"
RECOVERED, SUMMARY, TEST = "recovered", "summary", "test"
KINDS = (STALE, TROUBLE, QUIET, DEAD, QUARANTINED, SUSPECT, RECOVERED, SUMMARY)
"""What can be told, besides the test that `check --notify` sends."""

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_MOST_TEXT = 4000  # characters of a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, and to what. `id` is the same for each time that it is sent."""

    id: str
    kind: str
    origin: str  # which installation
    time: datetime
    topic: str
    source: str = ""
    account_id: str = ""
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What it is about: a source and its account, or a part of recvault."""
        return "/".join(part for part in (self.source, self.account_id) if part) or self.topic

    def document(self) -> JSON:
        """The CloudEvent, without secrets, control characters or phone numbers."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.origin,
            "type": f"recvault.{self.kind}",
            "subject": _line(self.subject),
            "time": iso(self.time),
            "datacontenttype": "application/json",
            "data": {
                "event": self.kind,
                "topic": self.topic,
                "source": self.source or None,
                "account_id": _line(self.account_id) or None,
                "message": redact_text(self.message)[:_MOST_TEXT],
                **self.facts,
            },
        }

    def body(self) -> str:
        """Return the CloudEvent as text, the same each time."""
        return json.dumps(self.document())


def _line(text: str) -> str:
    """A provider's own text on one line: it becomes a mail's subject."""
    return redact_text(text).replace("\n", "\\n")


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """An event to send, read again from its stored text."""

    body: str

    @property
    def document(self) -> JSON:
        read: JSON = json.loads(self.body)
        return read

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def title(self) -> str:
        document = self.document
        return f"recvault: {document['subject']}: {document['data']['event']}"

    @property
    def message(self) -> str:
        return str(self.document["data"]["message"])

    def variables(self) -> dict[str, str]:
        """Return RECVAULT_EVENT_* for a command."""
        document = self.document
        data = document["data"]
        named = {
            "ID": document["id"],
            "TYPE": data["event"],
            "TIME": document["time"],
            "SUBJECT": document["subject"],
            "SOURCE": data["source"],
            "ACCOUNT": data["account_id"],
            "MESSAGE": data["message"],
        }
        return {f"RECVAULT_EVENT_{name}": value or "" for name, value in named.items()}
