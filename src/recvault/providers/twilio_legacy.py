"""Twilio's REST API of 2008-08-01: XML pages by offset, six fields a row, no status and no channels."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from recvault.errors import ProtocolError
from recvault.models import JSON, Recording
from recvault.providers import values
from recvault.providers.base import Page, Reply, read_one, read_rows
from recvault.providers.lenient import Unreadable
from recvault.providers.rest import TELEPHONY, Bounds, Paging
from recvault.providers.stated import Stated, check_echo
from recvault.providers.twilio_account import TwilioAccount
from recvault.providers.urls import with_parameter

if TYPE_CHECKING:
    import httpx

SPOILT = "\ufffd"
ILLEGAL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[1-9]|2[0-9]|3[01]));", re.I
)


class TwilioLegacy(TwilioAccount):
    """One account by its 2008 list: the same recordings as in the 2010 list, under the same ids."""

    name = "twilio-legacy"
    api = "2008-08-01"
    reads: ClassVar[tuple[str, ...]] = ("2010-04-01", "2008-08-01")  # the same recordings, under the same ids
    formats: ClassVar[tuple[str, ...]] = ("wav", "mp3")  # 2008 docs
    bytes_per_second = TELEPHONY
    page_size = 1000  # 2008 docs: the most; they have no list of a call's recordings
    default_lookback = timedelta(hours=26)  # TwiML docs: a recording may last 24 hours
    offset_pages = True  # 2008 docs: pages "may contain duplicates"
    lists_unfinished = False  # there is no status
    has_subaccounts = True

    home = "https://api.twilio.com"
    root = "/2008-08-01/Accounts/{account}"
    lists = {"account": "/Recordings"}
    bounds = Bounds("DateCreated>", "DateCreated<", values.day, values.day_after)  # days in GMT, from midnight (docs)
    paging = Paging(size="num", next="nextpageuri", own="uri", last="lastpageuri")
    accept = "application/xml"
    calls = "/2010-04-01/Accounts/{account}/Calls.json"  # the same calls, as JSON
    instance = "/Recordings/{recording}.xml"  # without `.xml` it is WAV audio (2008 docs)
    deletes = True
    deleted = "/Recordings/{recording}"  # answered 204 (2008 docs)
    media = "/Recordings/{recording}.{format}"

    fields = {  # no status: the media of a recording that is not ready answer 404
        "account_id": "AccountSid",
        "recording_id": "Sid",
        "created_at": "DateCreated",
        "call_id": "CallSid",
        "duration_seconds": "Duration",
    }

    def parse_page(self, reply: Reply) -> Page:
        """Parse a page; paging is in attributes of `<Recordings>` (2008 docs)."""
        listed = _document(reply).find("Recordings")
        if listed is None:
            raise ProtocolError(f"{reply.request.url.host} answered {reply.status} with no <Recordings>")
        rows = [_row(element) for element in listed.findall("Recording")]
        recordings, rejected = read_rows(rows, self.read, self.id_of)
        following, said = self._next(reply, listed), Stated.of(listed.attrib, listed.get(self.paging.last))
        check_echo(reply, listed.get(self.paging.own))
        check_echo(reply, listed.get(self.paging.next))
        said.check(reply, len(rows), is_last=following is None, is_told=True, size=self.page_size)
        return Page(recordings=recordings, rejected=rejected, next=following, total=said.total, pages=said.pages)

    def parse_recording(self, reply: Reply) -> Recording:
        found = _document(reply).find("Recording")
        return read_one(reply, {} if found is None else _row(found), self.read)

    def _next(self, reply: Reply, listed: Element) -> httpx.URL | None:
        """Follow `nextpageuri`; if it is missing, as in the docs' sample, count from page 0 to `numpages`."""
        if link := (listed.get(self.paging.next) or "").strip():
            return self.linked(link)
        url = reply.request.url
        page = values.whole(listed.get("page"))
        after = (page if page is not None else values.whole(url.params.get("page")) or 0) + 1
        pages = values.whole(listed.get("numpages"))
        size = values.whole(listed.get("pagesize")) or self.page_size
        more = after < pages if pages is not None else len(listed) >= size
        return with_parameter(url, "page", after) if more else None


def _document(reply: Reply) -> Element:
    try:
        root = _parsed(reply.body)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        message = f"{reply.request.url.host} answered {reply.status} with a body that is not plain XML"
        raise ProtocolError(message) from error
    return root


def _parsed(body: bytes) -> Element:
    """Parse the body; characters that XML forbids are marked, so that they affect only the row that holds them."""
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
