"""A running simulator and a client that logs in, for every test here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from recvault.simulator import SimAccount, Simulator, Switches

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Client:
    """GETs with an account's credentials and reads whole lists."""

    def __init__(self, simulator: Simulator, account: SimAccount) -> None:
        self.simulator = simulator
        self.account = account
        self.http = httpx.Client(base_url=simulator.base_url, headers={"Authorization": account.authorization})

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


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(seed=7) as running:
        running.set_now(datetime(2026, 3, 10, 12, tzinfo=UTC))
        yield running


@pytest.fixture
def connect(simulator: Simulator) -> Iterator[Callable[..., Client]]:
    """Open an account and a client for it; both are closed at the end."""
    opened: list[Client] = []

    def open_one(kind: str = "twilio", *, switches: Switches | None = None, **options: Any) -> Client:
        if switches is not None:
            simulator.switches = switches
        opened.append(Client(simulator, simulator.add_account(kind, **options)))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for client in opened:
        client.http.close()


def sorted_ids(recordings: list[Any]) -> list[str]:
    return sorted(recording.recording_id for recording in recordings)
