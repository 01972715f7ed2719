"""What to request when a list fails: a smaller part, or only what is offered.

A service may answer a long list with errors, truncate it, or refuse bounds that are too far apart or too old. A short
list, which it must answer, tells this from an outage or a wrong address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from recvault.discovery.time_slices import DAY, EPOCH
from recvault.errors import NotFound, NotWhole, ProtocolError, RecvaultError, Refused, Unavailable
from recvault.http import Session
from recvault.models import Scope, Window
from recvault.providers.base import Provider, capped_list, with_fewer_rows

if TYPE_CHECKING:
    from recvault.providers.base import Request

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FEW = 50  # rows per page if full pages fail: the usual default of services
_CLOSE = timedelta(minutes=1)  # precision of the oldest accepted bound, if the filter is by the hour
_BOUNDS = frozenset({400, 416, 422})  # statuses that refuse the content of a request
_TOO_MANY = 429


def may_help(error: RecvaultError) -> bool:
    """Whether a smaller part of a list might be answered. After a 429, send nothing more."""
    if isinstance(error, Refused):
        return error.status in _BOUNDS
    if isinstance(error, NotWhole):
        return True
    return type(error) is Unavailable and error.status != _TOO_MANY and not error.retry_after


@dataclass(frozen=True, slots=True)
class Narrower:
    """How to request less."""

    page_size: int | None = None  # instead of the provider's own
    offered_since: datetime | None = None  # the service refuses any bound before it

    def differs(self, before: Narrower) -> bool:
        """Whether it requests less than before."""
        return self.joined(before) != before

    def joined(self, other: Narrower) -> Narrower:
        """Combine both restrictions."""
        sizes = [size for size in (self.page_size, other.page_size) if size]
        bounds = [moment for moment in (self.offered_since, other.offered_since) if moment]
        return Narrower(min(sizes, default=None), max(bounds, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowedList:
    """One list of one account, read in parts."""

    provider: Provider
    session: Session
    scope: Scope

    def request(self, window: Window, page_size: int | None = None) -> Request:
        """Return the request for a window's first page, with fewer rows per page if requested."""
        request = self.provider.list_request(window, self.scope)
        return request if page_size is None else with_fewer_rows(request, self.provider.page_size, page_size)

    @property
    def finest(self) -> timedelta:
        """The narrowest window that the filter supports: an hour or a day; of a list with a most of rows, a minute."""
        noon = EPOCH + 12 * HOUR
        first, later = (self.request(Window(noon + step)).url for step in (timedelta(), HOUR))
        if first == later:
            return DAY
        return MINUTE if capped_list(self.provider) else HOUR

    def narrower(self, window: Window, error: RecvaultError, now: datetime) -> Narrower:
        """Find how to request less than this window; raise the error if even a short list is not answered."""
        until = window.until or now
        tip = Window(max(window.since or EPOCH, until - self.finest), window.until)
        recent = Window(now - self.finest)
        for size in (None, FEW) if self.provider.page_size > FEW else (None,):
            if isinstance(error, Refused):
                if self._answers(tip, size) or (until < now and self._answers(recent, size)):
                    return Narrower(size, self._oldest(window.since or EPOCH, now, size))
            elif self._answers(tip, size):
                return Narrower(size)
        raise error

    def _oldest(self, since: datetime, now: datetime, page_size: int | None) -> datetime | None:
        """Find the oldest accepted lower bound by bisection; None if the current one is accepted."""

        def taken(moment: datetime) -> bool:
            return self._answers(Window(moment, min(moment + self.finest, now)), page_size)

        if taken(since):
            return None  # the window's length was refused
        refused, oldest = since, now - self.finest
        while oldest - refused > (DAY if self.finest == DAY else _CLOSE):
            middle = refused + (oldest - refused) / 2
            if taken(middle):
                oldest = middle
            else:
                refused = middle
        return oldest

    def _answers(self, window: Window, page_size: int | None) -> bool:
        """Whether a short list is answered, without retries."""
        self.session.stop.check()
        try:
            self.provider.parse_page(self.session.once(self.request(window, page_size)))
        except (NotFound, Refused, Unavailable, ProtocolError):
            return False
        return True
