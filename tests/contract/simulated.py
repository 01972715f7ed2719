"""The simulator as a service for the contract: one account of one of its five services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recvault.simulator import Simulator, Switches
from recvault.simulator.details import Details
from recvault.simulator.population import ONE_FORMAT
from recvault.simulator.recording import Api
from recvault.simulator.world import Service as Kind

LATER = timedelta(days=2)


class Simulated:
    """A `recvault.testing.Service`."""

    def __init__(self, kind: Kind, api: Api, account_id: str, switches: Switches | None = None) -> None:
        self._simulator = Simulator(seed=11, switches=switches)
        self._simulator.start()
        self._api = api
        self._account = self._simulator.add_account(kind, account_id)
        self.authorization = self._account.authorization
        self.origins = (self._simulator.base_url, f"http://{self._simulator.media_host}")

    def add(self, created_at: datetime, *, media_format: str = "", finished: bool = True, readable: bool = True) -> str:
        details: Details = {"created_at": created_at}
        if self._api in ONE_FORMAT:
            details["duration_seconds"] = 9.0  # half of it differs by more than an MP3's length may
        if self._api in {"video", *ONE_FORMAT} and media_format:
            details["formats"] = (media_format,)
        if not finished:
            details["completed_at"] = datetime.now(UTC) + LATER / 2
        if not readable:
            details["malformed"] = "no_date"
        return self._simulator.add(self._account, self._api, **details).recording_id

    def finish(self, recording_id: str) -> None:
        self._simulator.advance(LATER)

    def media(self, recording_id: str, media_format: str) -> bytes:
        found = {each.recording_id: each for each in self._simulator.recordings(self._account)}
        return self._simulator.media(found[recording_id], media_format).read()

    def switch(self, switches: Switches) -> None:
        self._simulator.switches = switches

    def close(self) -> None:
        self._simulator.stop()
