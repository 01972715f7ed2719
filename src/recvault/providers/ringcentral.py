"""RingCentral: the recordings in an account's call log, by access tokens, ten heavy requests a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import values
from recvault.providers.base import Reply, Setting, TokenRequest
from recvault.providers.calendar import EARLIEST
from recvault.providers.rest import Bounds, Paging, Rest
from recvault.providers.stated import Stated
from recvault.providers.urls import basic, fetchable, host, request

if TYPE_CHECKING:
    import httpx

JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # docs: JWT auth flow
RECORDED = {"recordingType": "All"}  # docs: only calls that were recorded, automatically or on demand


class RingCentral(Rest):
    """One login's account, `~`. The log has calls: the recording of one is part of its row."""

    name = "ringcentral"
    provider = "ringcentral"
    api = "v1.0"
    settings: ClassVar[Mapping[str, Setting]] = {
        "client_id": Setting(doc="the app's client id"),
        "client_secret": Setting(secret=True, doc="the app's client secret"),
        "jwt": Setting(secret=True, doc="a JWT credential of a user who may read the company's call log"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (("client_id", "client_secret", "jwt"),)
    # Docs' sample of a recording has audio/mpeg. Whether there are others is not known: such a file is refused.
    formats: ClassVar[tuple[str, ...]] = ("mp3",)
    one_format = True
    page_size = 250  # the most in the detailed view; that of the simple one, which is asked for, is not lower
    offset_pages = True  # docs: page
    # startTime is the call's start, and a row has its recording only once that is made.
    default_lookback = timedelta(hours=26)
    lists_unfinished = False
    requests_per_minute = 10  # docs: the call log and recordings are of the group Heavy

    home = "https://platform.ringcentral.com"
    public = "ringcentral.com"
    root = "/restapi/v1.0/account/~"
    lists: ClassVar[Mapping[str, str]] = {"account": "/call-log"}
    bounds = Bounds("dateFrom", "dateTo", earliest=EARLIEST)  # docs: without dateFrom the last 24 hours alone
    paging = Paging(size="perPage", within="navigation", next="nextPage")
    rows = "records"
    marks = ("navigation", "paging")
    instance = "/call-log/{call}"  # /recording/{id} has no date
    deleted = "/recording/{recording}"  # not documented: it is not `deletes`

    # The row's duration is the call's: that of a recording, which may be shorter, would be needed to prove it whole.
    fields: ClassVar[Mapping[str, Any]] = {
        "recording_id": "recording.id",
        "created_at": "startTime",
        "call_id": "id",
        "session_id": "sessionId",
        "recorded_by": "recording.type",
    }

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return ""

    def token_request(self, values: Mapping[str, str]) -> TokenRequest:
        form = (("grant_type", JWT), ("assertion", values["jwt"]))
        login = basic(values["client_id"], values["client_secret"])
        return TokenRequest(f"{self.base_url}/restapi/oauth/token", form, login)

    @property
    def own_origins(self) -> tuple[str, ...]:
        """The host of contentUri (docs), which needs the token too; a sandbox has its own."""
        name = host(self.base_url)
        return (f"https://media.{name.removeprefix('platform.')}",) if name.startswith("platform.") else ()

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        plain = super().list_request(window, scope)
        return request("GET", plain.url.copy_merge_params(RECORDED), headers=plain.headers)

    def following(
        self, reply: Reply, page: JSON, rows: int, paging: Paging, size: int
    ) -> tuple[httpx.URL | None, Stated]:
        """Return the next page. The last one's navigation has no nextPage, but names the first page (docs)."""
        told = values.mapping(page.get("navigation")) or {}
        if "firstPage" in told:
            page = {**page, "navigation": {"nextPage": None, **told}}
        return super().following(reply, page, rows, paging, size)

    def linked(self, link: Any) -> httpx.URL | None:
        return super().linked((values.mapping(link) or {}).get("uri"))

    def read(self, row: JSON) -> Recording:
        found, url = super().read(row), (values.mapping(row.get("recording")) or {}).get("contentUri")
        if not fetchable(url):
            return replace(found, phase=Phase.UNFINISHED)
        return replace(found, media_urls={found.formats[0]: str(url)})
