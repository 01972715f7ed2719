"""Twilio's REST API of 2008-08-01: XML pages by offset, six fields a row, no status and no channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from recvault.errors import ProtocolError
from recvault.models import JSON, Phase, Recording, Scope, Window
from recvault.providers import twilio_account, values
from recvault.providers.base import OwnMedia, Page, Reply, Setting, Subaccount, check_scope, read_one, read_rows
from recvault.providers.lenient import Unreadable
from recvault.providers.stated import Stated, check_echo
from recvault.providers.urls import address, follow, request, segment, unsigned, with_parameter

if TYPE_CHECKING:
    import httpx

SPOILT = "\ufffd"
ILLEGAL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[1-9]|2[0-9]|3[01]));", re.I
)


@dataclass(frozen=True, slots=True)
class TwilioLegacy:
    """One account, as its 2008 list shows it; the same recordings as in the 2010 list, under the same ids."""

    name: ClassVar[str] = "twilio-legacy"
    provider: ClassVar[str] = "twilio"
    api: ClassVar[str] = "2008-08-01"
    settings: ClassVar[Mapping[str, Setting]] = twilio_account.SETTINGS
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = twilio_account.CREDENTIALS
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # 2008 docs
    scopes: ClassVar[tuple[str, ...]] = ("account",)  # 2008 docs know no list of a call's recordings
    page_size: ClassVar[int] = 1000  # 2008 docs: the most
    default_lookback: ClassVar[timedelta] = timedelta(hours=26)  # TwiML docs: a recording may last 24 hours
    offset_pages: ClassVar[bool] = True  # 2008 docs: pages "may contain duplicates"
    newest_first: ClassVar[bool] = False
    lists_unfinished: ClassVar[bool] = False  # it cannot tell: there is no status
    media_url_expires: ClassVar[bool] = False
    has_subaccounts: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ("2010-04-01", "2008-08-01")  # the same recordings, under the same ids

    base_url: str
    account_id: str

    @classmethod
    def from_settings(cls, name: str, values: Mapping[str, str]) -> Self:
        return cls((values.get("base_url") or "https://api.twilio.com").rstrip("/"), values["account_sid"])

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        return twilio_account.authorization(values)

    def list_request(self, window: Window, scope: Scope) -> httpx.Request:
        """Days of GMT only, each from its midnight; the page's size is `num` (2008 docs)."""
        check_scope(self, scope)
        pairs: list[tuple[str, str | int]] = []
        if window.since:
            pairs.append(("DateCreated>", values.day(window.since)))
        if window.until:
            pairs.append(("DateCreated<", values.day_after(window.until)))
        path = f"{self._account(self.account_id)}/Recordings"
        url = address(self.base_url, path, [*pairs, ("num", self.page_size)])
        return request("GET", url, headers={"Accept": "application/xml"})

    def parse_page(self, reply: Reply) -> Page:
        """Paging stands in attributes of `<Recordings>` (2008 docs)."""
        listed = _document(reply).find("Recordings")
        if listed is None:
            raise ProtocolError(f"{reply.request.url.host} answered {reply.status} with no <Recordings>")
        rows = [_row(element) for element in listed.findall("Recording")]
        recordings, rejected = read_rows(rows, self._read, lambda row: values.identifier(row, "Sid"))
        following, said = self._next(reply, listed), Stated.of(listed.attrib, listed.get("lastpageuri"))
        check_echo(reply, listed.get("uri"))
        check_echo(reply, listed.get("nextpageuri"))
        said.check(reply, len(rows), is_last=following is None, is_told=True, size=self.page_size)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def media_requests(self, recording: Recording, media_format: str) -> tuple[OwnMedia, ...]:
        if media_format not in self.formats:
            return ()
        return (OwnMedia(f"{self.base_url}{self._instance(recording)}.{media_format}"),)

    def refresh_request(self, recording: Recording) -> httpx.Request:
        """Without `.xml` the instance is WAV audio (2008 docs)."""
        url = address(self.base_url, f"{self._instance(recording)}.xml")
        return request("GET", url, headers={"Accept": "application/xml"})

    def parse_recording(self, reply: Reply) -> Recording:
        found = _document(reply).find("Recording")
        return read_one(reply, {} if found is None else _row(found), self._read)

    def delete_request(self, recording: Recording) -> httpx.Request:
        """Answered 204 (2008 docs)."""
        return request("DELETE", address(self.base_url, self._instance(recording)))

    def media_encryption(self, headers: Mapping[str, str]) -> JSON | None:
        return None

    def accounts_request(self) -> httpx.Request:
        return twilio_account.accounts_request(self.base_url)

    def parse_accounts(self, reply: Reply) -> tuple[tuple[Subaccount, ...], httpx.URL | None]:
        return twilio_account.parse_accounts(self.base_url, reply)

    def _account(self, account_id: str) -> str:
        return f"/2008-08-01/Accounts/{segment(account_id)}"

    def _instance(self, recording: Recording) -> str:
        return f"{self._account(recording.account_id)}/Recordings/{segment(recording.recording_id)}"

    def _next(self, reply: Reply, listed: Element) -> httpx.URL | None:
        """Follow `nextpageuri`; where it is missing, as in the docs' sample, count to `numpages` from page 0."""
        if link := (listed.get("nextpageuri") or "").strip():
            return follow(self.base_url, link, twilio_account.PUBLIC)
        url = reply.request.url
        page = values.whole(listed.get("page"))
        after = (page if page is not None else values.whole(url.params.get("page")) or 0) + 1
        pages = values.whole(listed.get("numpages"))
        size = values.whole(listed.get("pagesize")) or self.page_size
        more = after < pages if pages is not None else len(listed) >= size
        return with_parameter(url, "page", after) if more else None

    def _read(self, row: JSON) -> Recording:
        return Recording(
            provider=self.provider,
            api=self.api,
            account_id=values.text(row.get("AccountSid")) or self.account_id,
            recording_id=values.identifier(row, "Sid"),
            created_at=values.moment(row.get("DateCreated")),
            status=None,
            phase=Phase.COMPLETE,  # 2008 has no status: one that is not ready shows as a 404 of its media
            formats=self.formats,
            call_id=values.text(row.get("CallSid")),
            duration_seconds=values.length(row.get("Duration")),
            raw=unsigned(row),
        )


def _document(reply: Reply) -> Element:
    try:
        root = _parsed(reply.body)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        message = f"{reply.request.url.host} answered {reply.status} with a body that is not plain XML"
        raise ProtocolError(message) from error
    return root


def _parsed(body: bytes) -> Element:
    """What XML does not allow is marked: it spoils the row that holds it, not the page."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError):
        root = fromstring(ILLEGAL.sub(SPOILT, body.decode("utf-8", "replace")), forbid_dtd=True)
    return root


def _row(element: Element) -> JSON:
    return {field.tag: _text(field) for field in element}


def _text(field: Element) -> str | None:
    text = "".join(field.itertext()).strip()
    return Unreadable("a character that XML does not allow") if SPOILT in text else text or None  # empty: a null
