"""Requests that no page makes: each gets an answer, none an error of the server."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from starlette.responses import PlainTextResponse

from recvault.browse.guard import Guard


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01", "9999-12-31", "9999-12", "2026-02-30", "2026-13", "\0", "%"])
def test_any_text_can_be_searched_for(browser: httpx.Client, text: str) -> None:
    """The search box answers whatever is typed, the first and the last day of the calendar included."""
    assert browser.get("/", params={"q": text}).status_code == 200


@pytest.mark.parametrize("hour", ["²", "-1", "24", "x", "9" * 5000])
def test_what_is_no_hour_is_ignored(browser: httpx.Client, hour: str) -> None:
    """The whole day is shown for an hour that no day has."""
    day = {"q": "2026-10-01"}
    links = [
        re.findall(r'href="(/r/[^?"]+)', browser.get("/", params={**day, **more}).text) for more in ({"hour": hour}, {})
    ]
    assert links[0] == links[1] != []


@pytest.mark.parametrize("number", ["1", "-1", "x", "9" * 5000])
def test_what_is_no_medium_is_not_found(browser: httpx.Client, number: str) -> None:
    """A number that no medium of the recording has is answered 404."""
    found = re.search(r'href="/r/([^?"]+)', browser.get("/").text)
    assert found is not None
    assert browser.get(f"/media/{number}/{found[1]}").status_code == 404
    assert browser.get(f"/media/0/{found[1]}").status_code == 200


@pytest.mark.parametrize(
    ("port", "host", "status"), [(80, "127.0.0.1", 303), (80, "elsewhere", 421), (81, "127.0.0.1", 421)]
)
def test_port_80_is_left_out_by_browsers(port: int, host: str, status: int) -> None:
    """The link works on port 80, which a browser does not write into Host; another host is refused there, too."""
    guard = Guard(PlainTextResponse("seen"), port=port)

    async def asked() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard)) as client:
            answer = await client.get("http://127.0.0.1/", params={"token": guard.token or ""}, headers={"host": host})
            return answer.status_code

    assert asyncio.run(asked()) == status
