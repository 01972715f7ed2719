"""A client that logs in and reads complete lists, shared by the tests here."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from recvault.simulator import SimAccount, SimRecording, Simulator

_TLS = ssl.create_default_context()  # unused, but expensive to build for each client
START = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Client:
    """Sends GETs with an account's credentials and reads complete lists."""

    def __init__(self, simulator: Simulator, account: SimAccount) -> None:
        self.simulator = simulator
        self.account = account
        headers = {"Authorization": account.authorization}
        self.http = httpx.Client(base_url=simulator.base_url, headers=headers, verify=_TLS)

    @property
    def voice(self) -> str:
        return f"/2010-04-01/Accounts/{self.account.account_id}"

    @property
    def legacy(self) -> str:
        return f"/2008-08-01/Accounts/{self.account.account_id}/Recordings"

    @property
    def laml(self) -> str:
        return f"/api/laml/2010-04-01/Accounts/{self.account.account_id}/Recordings"

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.http.get(url, **options)

    def pages(self, url: str, limit: int = 100) -> Iterator[Any]:
        """Follow next_page_uri, verbatim."""
        for _ in range(limit):
            page = self.get(url).raise_for_status().json()
            yield page
            following = page.get("next_page_uri") or page.get("meta", {}).get("next_page_url")
            if not following:
                return
            url = following

    def ids(self, url: str) -> list[str]:
        return [row["sid"] for page in self.pages(url) for row in page["recordings"]]


def sorted_ids(recordings: list[SimRecording]) -> list[str]:
    return sorted(recording.recording_id for recording in recordings)
