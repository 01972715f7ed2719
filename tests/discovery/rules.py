"""Rules for a simulated service's lists: what it refuses, and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from recvault.simulator import dates, exchange
from recvault.simulator import simulated_service as service_module
from recvault.simulator.exchange import Dialect, Request, SimulatedReply, refuse

LOWER = ("DateCreated>", "DateCreatedAfter", "filter[created_at][gte]")
UPPER = ("DateCreated<", "DateCreatedBefore", "filter[created_at][lte]")
SIZE = ("PageSize", "num", "page[size]")
NUMBER = ("Page", "page", "page[number]")
Rule = Callable[[Request, Dialect], None]


def lay(
    monkeypatch: pytest.MonkeyPatch,
    rule: Rule | None = None,
    edit: Callable[[Any, Request], Any] | None = None,
) -> None:
    """Let `rule` see, and perhaps refuse, each list request, and `edit` change the document of its answer."""
    route_of = service_module.SimulatedService._route

    def routed(service: Any, request: Request) -> Any:
        route = route_of(service, request)
        if route.kind != "list":
            return route

        def respond() -> SimulatedReply:
            if rule is not None:
                rule(request, route.dialect)
            reply = route.respond()
            if edit is not None:
                reply.body = json.dumps(edit(json.loads(reply.body), request)).encode()
            return reply

        return exchange.Route(route.dialect, route.kind, respond)

    monkeypatch.setattr(service_module.SimulatedService, "_route", routed)


def first_of(request: Request, names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := request.param(name)) is not None), None)


def bounds(request: Request) -> tuple[datetime | None, datetime | None]:
    since, until = first_of(request, LOWER), first_of(request, UPPER)
    return dates.read(since) if since else None, dates.read(until) if until else None


def fails_beyond(width: timedelta, now: datetime, status: int = 500) -> Rule:
    """A list without a lower bound, or wider than this, is answered with an error."""

    def rule(request: Request, dialect: Dialect) -> None:
        since, until = bounds(request)
        if since is None or (until or now) - since > width:
            raise refuse(dialect, status, 20500, "An internal server error has occurred")

    return rule


def refuses_before(oldest: datetime, status: int = 400) -> Rule:
    """A lower bound before this is refused."""

    def rule(request: Request, dialect: Dialect) -> None:
        if any(bound is not None and bound < oldest for bound in bounds(request)):
            raise refuse(dialect, status, 20004, "Date range specified in query is outside of the retention window")

    return rule


def fails_on_page(number: int, status: int = 400) -> Rule:
    """Pages from this one on, counted from 0, are refused."""

    def rule(request: Request, dialect: Dialect) -> None:
        first = 1 if dialect == "telnyx" else 0
        if int(first_of(request, NUMBER) or first) - first >= number:
            raise refuse(dialect, status, 70002, "Paged requests must include a PageToken")

    return rule


def fails_on_large_pages(most: int, status: int = 500) -> Rule:
    """Pages with more rows are not answered."""

    def rule(request: Request, dialect: Dialect) -> None:
        if int(first_of(request, SIZE) or 0) > most:
            raise refuse(dialect, status, 20500, "An internal server error has occurred")

    return rule
