"""Shared by all services: accounts, their recordings, the clock, the switches, media and signatures."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from recvault.simulator import media as bytes_of
from recvault.simulator.clock import Clock
from recvault.simulator.dates import iso
from recvault.simulator.matroska import matroska
from recvault.simulator.media import Media, Noise
from recvault.simulator.recording import Api, SimRecording
from recvault.simulator.shelf import Shelf
from recvault.simulator.switches import Switches

if TYPE_CHECKING:
    from recvault.simulator.sealing import Sealer

Service = Literal["twilio", "telnyx", "signalwire", "plivo", "bandwidth", "ringcentral"]
Status = Literal["active", "suspended", "closed"]

# How long a deleted recording's row can still be read.
_RETENTION = {"voice": 40, "video": 30, "telnyx": 0, "signalwire": 0, "plivo": 0, "bandwidth": 0, "ringcentral": 0}
_APIS: dict[Service, tuple[Api, ...]] = {
    "twilio": ("voice", "video"),
    "telnyx": ("telnyx",),
    "signalwire": ("signalwire",),
    "plivo": ("plivo",),
    "bandwidth": ("bandwidth",),
    "ringcentral": ("ringcentral",),
}
_KEYS: dict[Service, tuple[str, str]] = {  # of a `[[sources]]` entry: the account's id and its secret
    "twilio": ("account_sid", "auth_token"),
    "signalwire": ("project_id", "api_token"),
    "plivo": ("auth_id", "auth_token"),
    "bandwidth": ("account_id", "password"),
    "ringcentral": ("client_id", "client_secret"),
}
TOKENED: frozenset[Service] = frozenset({"ringcentral"})  # these issue access tokens
_SECRETS: dict[Service, str] = {
    "telnyx": "KEY",
    "signalwire": "PT",
    "plivo": "",
    "bandwidth": "",
    "ringcentral": "",
}  # how they begin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimAccount:
    """One login at a service. Hashable by identity."""

    kind: Service
    account_id: str
    secret: str = field(repr=False)
    parent: SimAccount | None = None
    status: Status = "active"
    created_at: datetime
    shelves: dict[Api, Shelf] = field(repr=False)

    @property
    def credentials(self) -> dict[str, str]:
        """The keys of a `[[sources]]` entry."""
        if self.kind == "telnyx":
            return {"api_key": self.secret}
        account, secret = _KEYS[self.kind]
        more = {"username": f"user-{self.account_id}"} if self.kind == "bandwidth" else {}
        more |= {"jwt": f"jwt.{self.secret}"} if self.kind in TOKENED else {}
        return {account: self.account_id, **more, secret: self.secret}

    @property
    def client(self) -> str:
        """The Authorization header of a request for a token."""
        return _basic(self.account_id, self.secret)

    @property
    def webhook_seed(self) -> bytes:
        """The private key of Telnyx' webhooks."""
        return hashlib.blake2b(f"webhooks/{self.account_id}".encode(), digest_size=32).digest()

    @property
    def webhook_key(self) -> str:
        """What signs webhooks: Twilio's auth token, SignalWire's signing key; Telnyx' public key in base64."""
        if self.kind == "twilio":
            return self.secret
        if self.kind == "signalwire":
            return f"PSK_{self.webhook_seed.hex()}"
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        public = Ed25519PrivateKey.from_private_bytes(self.webhook_seed).public_key()
        return base64.b64encode(public.public_bytes_raw()).decode()

    @property
    def authorization(self) -> str:
        """The Authorization header of this account."""
        if self.kind == "telnyx" or self.kind in TOKENED:  # which also accepts the tokens that it issued
            return f"Bearer {self.secret}"
        return _basic(self.credentials.get("username", self.account_id), self.secret)

    @property
    def api_key(self) -> tuple[str, str] | None:
        """A Twilio API key (`SK…`) and its secret, with access to this account only."""
        if self.kind != "twilio":
            return None
        digest = hashlib.blake2b(f"{self.account_id}/{self.secret}".encode(), digest_size=32).hexdigest()
        return "SK" + digest[:32], digest[32:]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class World:
    """The state behind the servers."""

    def __init__(self, seed: int, switches: Switches) -> None:
        self.seed = seed
        self.switches = switches
        self.clock = Clock()
        self.accounts: dict[str, SimAccount] = {}
        self.logins: dict[str, SimAccount] = {}  # by Authorization header
        self.keys: dict[str, SimAccount] = {}  # Twilio API keys, likewise
        self.tokens: dict[str, tuple[SimAccount, datetime]] = {}  # issued, by Authorization header, with their ends
        self.minted = 0
        self.base_url = ""
        self.media_host = ""
        self.calls: dict[str, tuple[object, list[Any]]] = {}  # by account, with what they follow from
        self.sealer: Sealer | None = None  # really encrypts; without it ciphertext is noise

    def hex(self, *parts: object) -> str:
        """Return 32 hex digits that depend only on the seed and the parts."""
        text = "/".join(map(str, (self.seed, *parts)))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def uuid(self, *parts: object) -> str:
        return str(uuid.UUID(self.hex(*parts), version=4))

    def add_account(
        self, kind: Service, account_id: str | None, secret: str | None, parent: SimAccount | None, status: Status
    ) -> SimAccount:
        number = len(self.accounts)
        if kind == "twilio":
            account_id = account_id or "AC" + self.hex("account", number)
            secret = secret or self.hex("secret", number)
        else:
            account_id = account_id or self.uuid("account", number)
            secret = secret or _SECRETS.get(kind, "") + self.hex("secret", number)
        if account_id in self.accounts:
            raise ValueError(f"account {account_id} is there already")
        shelves = {api: Shelf(timedelta(days=_RETENTION[api])) for api in _APIS[kind]}
        account = SimAccount(
            kind=kind,
            account_id=account_id,
            secret=secret,
            parent=parent,
            status=status,
            created_at=self.clock.now,
            shelves=shelves,
        )
        self.accounts[account_id] = account
        self.logins[account.authorization] = account
        if account.api_key is not None:
            self.keys[_basic(*account.api_key)] = account
        return account

    def mint(self, account: SimAccount) -> tuple[str, int]:
        """Issue an access token; return it with its life in seconds."""
        self.minted += 1
        token, seconds = f"T{self.hex('token', self.minted)}", self.switches.token_seconds
        self.tokens[f"Bearer {token}"] = account, self.clock.now + timedelta(seconds=seconds)
        return token, seconds

    def bearer(self, header: str) -> SimAccount | None:
        """Return the account of an access token that has not ended."""
        account, until = self.tokens.get(header, (None, self.clock.now))
        return account if self.clock.now < until else self.logins.get(header)

    def recordings(self) -> Iterable[SimRecording]:
        return (r for account in list(self.accounts.values()) for shelf in account.shelves.values() for r in shelf)

    def media(self, recording: SimRecording, media_format: str, channels: int) -> Media:
        """Return the bytes that the service serves for this recording, ciphertext if it is encrypted."""
        plain = self.plain(recording, media_format, channels)
        if not recording.encrypted:
            return plain
        if self.sealer is not None:
            return self.sealer.sealed(recording, plain)
        # AES-CBC pads to the next multiple of 16, a multiple by a whole block; AES-GCM appends a tag of 16 bytes.
        video = media_format in {"mka", "mkv"}
        return bytes_of.opaque(
            self._noise(recording, media_format, channels), plain.length // 16 * 16 + 16 if video else plain.length + 16
        )

    def plain(self, recording: SimRecording, media_format: str, channels: int) -> Media:
        """Return the bytes before any encryption."""
        if media_format not in {"wav", "mp3", "mka", "mkv"}:
            raise ValueError(f"no such format: {media_format}")
        noise = self._noise(recording, media_format, channels)
        if media_format in {"mka", "mkv"}:
            return matroska(noise, recording.duration_seconds, media_format)
        return (bytes_of.wav if media_format == "wav" else bytes_of.mp3)(noise, recording.duration_seconds, channels)

    def _noise(self, recording: SimRecording, media_format: str, channels: int) -> Noise:
        return Noise(self.seed, f"{recording.account_id}/{recording.recording_id}/{media_format}/{channels}")

    def plain_length(self, recording: SimRecording) -> int:
        """Return the length of an encrypted Video recording before encryption."""
        noise = Noise(self.seed, recording.recording_id)
        return matroska(noise, recording.duration_seconds, recording.formats[0]).length

    def signed_url(self, recording: SimRecording, media_format: str, channels: int, seconds: int) -> str:
        """Return a URL on the media host that serves these bytes for this many seconds."""
        path = f"/recordings/{recording.account_id}/{recording.api}/{recording.recording_id}/{channels}.{media_format}"
        date = iso(self.clock.now).replace("-", "").replace(":", "")
        return (
            f"http://{self.media_host}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
            f"&X-Amz-Credential=AKIASIMULATOR%2F{date[:8]}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date={date}"
            f"&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host&X-Amz-Signature={self.signature(path, date, seconds)}"
        )

    def signature(self, path: str, date: str, seconds: int | str) -> str:
        return hashlib.sha256(f"{self.seed}\n{path}\n{date}\n{seconds}".encode()).hexdigest()
