"""SignalWire's compatibility API (LaML): Twilio's shapes under /api/laml, UUIDs for ids, looser types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recvault.errors import ConfigError
from recvault.providers import values
from recvault.providers.base import Setting
from recvault.providers.hints import HintRequest, Verified, fields_of, refuse_unsigned_body, refuse_unsigned_form
from recvault.providers.rest import TELEPHONY, Bounds, Rest
from recvault.providers.twilio import Twilio
from recvault.providers.twilio_account import hinted
from recvault.providers.urls import basic

if TYPE_CHECKING:
    import httpx

HEX = re.compile(r"[0-9a-fA-F]{40}", re.ASCII)
SPACE = re.compile(r"([a-z0-9][a-z0-9-]*)(\.signalwire\.com)?", re.IGNORECASE)


def _day_before(moment: datetime) -> str:
    return values.day(moment, -1)


def _day_later(moment: datetime) -> str:
    return values.day(moment, 1)


class SignalWire(Rest):
    """One project of one space."""

    name = "signalwire"
    provider = "signalwire"
    api = "laml"
    settings: ClassVar[Mapping[str, Setting]] = {
        "space": Setting(doc='the space: "acme" or "acme.signalwire.com"; base_url goes before it'),
        "project_id": Setting(doc="the project's id, a UUID"),
        "api_token": Setting(secret=True, doc="an API token with the Voice scope"),
        "signing_key": Setting(secret=True, doc="the project's signing key, which verifies webhooks; for hints only"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("project_id", "api_token"),)
    hint_settings: ClassVar[tuple[str, ...]] = ("signing_key",)
    hint_headers: ClassVar[tuple[str, ...]] = ("x-signalwire-signature", "x-twilio-signature")
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # docs
    bytes_per_second = TELEPHONY  # as Twilio's, with whose API it is compatible
    scopes: ClassVar[tuple[str, ...]] = ("account", "call", "conference")
    page_size = 1000  # docs: the most, by PageToken
    default_lookback = timedelta(hours=26)  # date_created may be the start: docs' samples
    newest_first = True  # docs

    public = "signalwire.com"
    account_setting = "project_id"
    root = "/api/laml/2010-04-01/Accounts/{account}"
    lists = {"account": "/Recordings.json", "conference": "/Conferences/{scope}/Recordings.json"}
    filters = {"call": "CallSid"}  # a call has no list of its own (docs)
    # The docs contradict themselves on the format and on inclusive bounds: whole days, one more at each end.
    bounds = Bounds("DateCreated>", "DateCreated<", _day_before, _day_later)
    paging = Twilio.paging
    rows = "recordings"
    marks = ("page_size",)
    # Built from the sid: in the docs' own sample `uri` names another call than call_sid does.
    calls = f"{root}/Calls.json"
    instance = "/Recordings/{recording}.json"  # without `.json` it is audio; a DELETE is answered 204 (docs)
    deletes = True
    media = "/Recordings/{recording}.{format}"

    fields = {**Twilio.fields, "ended_at": "end_time", "channels": ("channels", "channel")}
    phases = Twilio.phases  # the docs know completed and absent; the others are a precaution

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or _home(name, values.get("space", ""))).rstrip("/"), values["project_id"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return basic(values["project_id"], values["api_token"])

    def linked(self, link: Any) -> httpx.URL | None:
        """Resolve a link. Replies of 2018 omit /api/laml (SDK's captured reply); current ones have it (docs).

        An empty page may have a next link (SDK): the list ends only where there is none.
        """
        old = isinstance(link, str) and link.startswith("/2010-04-01/")
        return super().linked(f"/api/laml{link}" if old else link)

    def hint(self, received: HintRequest, values: Mapping[str, str]) -> Verified:
        """RecordingStatusCallback: a form as Twilio's, signed by the project's signing key (webhook security guide).

        The SDK's validateRequest takes both ways to sign, and an old name of the header.
        """
        headers = received.headers
        signature = headers.get("x-signalwire-signature") or headers.get("x-twilio-signature", "")
        fields = fields_of(received)
        if HEX.fullmatch(signature):
            proof = refuse_unsigned_body(received, signature, values["signing_key"])
        else:
            proof = refuse_unsigned_form(received, signature, values["signing_key"], fields)
        return Verified(hint=hinted(dict(fields), self.account_id), proof=proof)


def _home(name: str, space: str) -> str:
    found = SPACE.fullmatch(space)
    if found is None:
        raise ConfigError(f"source {name!r}: {space!r} is not a SignalWire space", 'set space = "acme", or base_url')
    return f"https://{found[1].lower()}.signalwire.com"
