"""What the services send when a recording changes: the webhooks of their documents, signed as each service signs.

Twilio and SignalWire post forms (RecordingStatusCallback, a room's StatusCallback), Telnyx posts JSON.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from recvault.simulator.dates import iso
from recvault.simulator.recording import SimRecording
from recvault.simulator.world import SimAccount

_FORM = "application/x-www-form-urlencoded; charset=UTF-8"
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Callback:
    """A webhook as sent: the signed URL, its headers and its body."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    def send(self, origin: str = "") -> int:
        """Post it, to the origin of a proxy if given; return the status."""
        parts = urlsplit(self.url)
        to = urlsplit(origin).netloc if origin else parts.netloc
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPConnection(to, timeout=_SECONDS)
        try:
            connection.request("POST", path, self.body, dict(self.headers))
            return connection.getresponse().status
        finally:
            connection.close()

    def with_body(self, body: bytes) -> Callback:
        """Return the same signature over another body: a forgery."""
        return replace(self, body=body)


def callback(account: SimAccount, recording: SimRecording, url: str, now: datetime) -> Callback:
    """Make the webhook about a recording's current state."""
    if account.kind == "telnyx":
        return _telnyx(account, recording, url, now)
    fields = {
        "AccountSid": account.account_id,
        "RecordingSid": recording.recording_id,
        "RecordingStatus": recording.status(now),
        "RecordingDuration": str(round(recording.duration_seconds)),
        "RecordingChannels": str(recording.channels),
        "RecordingUrl": f"https://api.example.com/{recording.recording_id}",
        "CallSid": recording.call_id or "",
    }
    if recording.api == "video":
        fields |= {"StatusCallbackEvent": "recording-completed", "RoomSid": recording.room_id or ""}
    signature = _form_signature(account.webhook_key, url, fields)
    name = "X-SignalWire-Signature" if account.kind == "signalwire" else "X-Twilio-Signature"
    return Callback(url, {"Content-Type": _FORM, name: signature}, urlencode(fields).encode())


def _form_signature(key: str, url: str, fields: Mapping[str, str]) -> str:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(key.encode(), signed.encode(), hashlib.sha1).digest()).decode()


def _telnyx(account: SimAccount, recording: SimRecording, url: str, now: datetime) -> Callback:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    event = {
        "record_type": "event",
        "event_type": "call.recording.saved",
        "id": hashlib.blake2b(recording.recording_id.encode(), digest_size=16).hexdigest(),
        "occurred_at": iso(now),
        "payload": {
            "call_leg_id": recording.participant_id,
            "call_session_id": recording.call_id,
            "channels": "dual" if recording.channels == 2 else "single",
            "recording_id": recording.recording_id,
            "recording_urls": {},
        },
    }
    body, timestamp = json.dumps({"data": event}).encode(), str(int(now.timestamp()))
    key = Ed25519PrivateKey.from_private_bytes(account.webhook_seed)
    signature = base64.b64encode(key.sign(timestamp.encode() + b"|" + body)).decode()
    headers = {
        "Content-Type": "application/json",
        "telnyx-signature-ed25519": signature,
        "telnyx-timestamp": timestamp,
    }
    return Callback(url, headers, body)
