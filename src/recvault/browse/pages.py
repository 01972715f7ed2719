"""The pages: a list and a card, peaks, media, evidence. Each answers a GET."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from recvault.archive import Sidecar
from recvault.browse import drawing, finding, playing, wording
from recvault.browse.evidence_zip import EvidenceZip
from recvault.browse.holdings import Holdings
from recvault.browse.peaks import Waveforms
from recvault.errors import RecvaultError, UnknownName

HERE = Path(__file__).parent
_NOT_FOUND = 404
_UNUSABLE = 502
_HOUR = re.compile(r"[0-9]{1,2}")


class Pages:
    """Answers requests from an archive's holdings."""

    def __init__(self, holdings: Holdings, listens: playing.Listens) -> None:
        self._holdings, self._listens = holdings, listens
        self._waveforms = Waveforms(holdings)
        self._templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)
        self._templates.globals.update(where=holdings.where)
        self._templates.filters.update(
            clock=wording.clock, full=wording.full, lasting=wording.length, moment=finding.moment, size=wording.size
        )

    def start(self, request: Request) -> Response:
        """Show what was searched for; the newest month, if nothing was."""
        return self._page(request, "list.html", None)

    def card(self, request: Request) -> Response:
        """Show a recording: beside the list that led to it, or alone for a script that has the list."""
        name = request.path_params["name"]
        rows = finding.recordings(self._holdings, name)
        if not rows:
            raise UnknownName(f"the catalog lists no recording {name}", "check the ID, or search for a part of it")
        if len(rows) > 1:
            return self._page(request, "choices.html", None, choices=rows)
        shown = self._shown(rows[0], name)
        if "x-part" in request.headers:
            return self._render(request, "card.html", card=shown)
        return self._page(request, "list.html", shown)

    def peaks(self, request: Request) -> Response:
        """Tell a waveform's peaks; none for media that this process does not decode."""
        row, number = self._medium(request)
        found = None if row["encrypted"] else self._waveforms.of(row["media"][number])
        return JSONResponse({"peaks": found, "seconds": row["media_seconds"] or row["duration_seconds"]})

    def media(self, request: Request) -> Response:
        """Send a medium."""
        row, number = self._medium(request)
        return playing.respond(request, self._holdings, self._listens, row, number)

    def evidence(self, request: Request) -> Response:
        """Send a recording's evidence as a zip."""
        row = self._one(request.path_params["name"])
        made = EvidenceZip(self._holdings, row, datetime.now(UTC))
        if request.method == "HEAD":
            return Response(None, media_type="application/zip")
        self._listens.log("browse.handed_over", row)
        headers = {"content-disposition": playing.attachment(f"{made.name}.zip")}
        return StreamingResponse(iter(made), headers=headers, media_type="application/zip")

    def unusable(self, request: Request, error: Exception) -> Response:
        """Tell an error of ours: what happened, and what to do."""
        status = _NOT_FOUND if isinstance(error, UnknownName) else _UNUSABLE
        return self._render(request, "error.html", status=status, error=error)

    def _page(self, request: Request, template: str, card: Mapping[str, Any] | None, **more: Any) -> Response:
        text = request.query_params.get("q", "")
        hour = request.query_params.get("hour", "")
        if card is not None and not text:
            text = f"{card['when']:%Y-%m-%d}"
        found = finding.find(self._holdings, text, _hour(hour))
        months = self._holdings.months()
        return self._render(
            request,
            template,
            found=found,
            text=request.query_params.get("q", ""),
            list_query=text,
            groups=_by_day(found.rows),
            months=months,
            strip=drawing.strip(finding.days(self._holdings, found.month), found.day),
            month=date.fromisoformat(f"{found.month}-01"),
            beside=_neighbours(found.month, months),
            lanes=drawing.lanes(finding.lanes(self._holdings, found.day)) if found.day else [],
            card=card,
            **more,
        )

    def _render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        page = self._templates.get_template(template)
        return HTMLResponse(page.render(nonce=request.state.nonce, **values), status)

    def _one(self, name: str) -> Mapping[str, Any]:
        rows = finding.recordings(self._holdings, name)
        if len(rows) != 1:
            raise UnknownName(f"{name} is the ID of {len(rows)} recordings of the catalog", "write SOURCE:ID")
        return rows[0]

    def _medium(self, request: Request) -> tuple[Mapping[str, Any], int]:
        row, asked = self._one(request.path_params["name"]), request.path_params["number"]
        for number in range(len(row["media"] or ())):
            if str(number) == asked:
                return row, number
        raise UnknownName(f"{row['recording_id']} has no medium {asked[:20]}", "reload its page")

    def _shown(self, row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """Return a recording as its card shows it; what the bucket says now is asked for."""
        try:
            sidecar = self._holdings.small(row["sidecar_key"])
            described = self._holdings.describe(row["media_key"]) if row["media_key"] else None
            proven, proof = wording.proof(row, described, Sidecar.read(sidecar).sha256 if sidecar else None)
        except (RecvaultError, ValueError) as error:
            words = error.message if isinstance(error, RecvaultError) else str(error)
            proven, proof = False, f"The bucket could not be asked: {words}."
        media = row["media"] or []
        return {
            "row": row,
            "name": name,
            "when": finding.moment(row["created_us"]),
            "parties": wording.parties(row),
            "seconds": row["media_seconds"] or row["duration_seconds"],
            "player": next((number for number, each in enumerate(media) if playing.plays(row, each)), None),
            "media": media,
            "opening": secrets.token_urlsafe(9),
            "proven": proven,
            "proof": proof,
            "raw": _indented(row["raw"]),
        }


def application(holdings: Holdings, *, who: str) -> Starlette:
    """Return the pages as an application; `who` listens."""
    pages = Pages(holdings, playing.Listens(who))
    routes = [
        Route("/", _aside(pages.start)),
        Route("/r/{name:path}", _aside(pages.card)),
        Route("/peaks/{number}/{name:path}", _aside(pages.peaks)),
        Route("/media/{number}/{name:path}", _aside(pages.media)),
        Route("/evidence/{name:path}", _aside(pages.evidence)),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]

    async def unusable(request: Request, error: Exception) -> Response:
        return pages.unusable(request, error)

    return Starlette(routes=routes, exception_handlers={RecvaultError: unusable})


def _aside(page: Callable[[Request], Response]) -> Any:
    """Answer in a thread: a page waits for the bucket."""

    async def answer(request: Request) -> Response:
        return await run_in_threadpool(partial(page, request))

    return answer


def _by_day(rows: list[dict[str, Any]]) -> list[tuple[date, list[dict[str, Any]]]]:
    groups: dict[date, list[dict[str, Any]]] = {}
    for row in rows:
        row["parties"] = wording.parties(row)
        groups.setdefault(finding.moment(row["created_us"]).date(), []).append(row)
    return list(groups.items())


def _neighbours(month: str, months: list[str]) -> tuple[str | None, str | None]:
    """Return the months of the catalog before and after this one."""
    earlier = [each for each in months if each < month]
    later = [each for each in months if each > month]
    return (max(earlier, default=None), min(later, default=None))


def _hour(text: str) -> int | None:
    return int(text) if _HOUR.fullmatch(text) and int(text) < 24 else None


def _indented(raw: str | None) -> str:
    try:
        return json.dumps(json.loads(raw or "null"), indent=2, ensure_ascii=False)
    except ValueError:
        return raw or ""
