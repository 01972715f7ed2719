"""The vendors' own SDKs can read the simulator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from .client import START, Client, sorted_ids

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # warnings of the vendors' imports
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client as TwilioClient


class Redirected(TwilioHttpClient):
    """Sends requests for twilio.com to the simulator."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def request(self, method: str, url: str, *positional: Any, **named: Any) -> Any:
        for host in ("https://api.twilio.com", "https://video.twilio.com"):
            url = url.replace(host, self.base_url)
        return super().request(method, url, *positional, **named)


def test_twilio_sdk_lists_and_deletes(connect: Callable[..., Client]) -> None:
    """twilio-python lists every Voice and Video recording, also by window, and deletes one."""
    client = connect()
    simulator, account = client.simulator, client.account
    voice = simulator.populate(account, "voice", 120, START)
    video = simulator.populate(account, "video", 120, START)
    http = Redirected(simulator.base_url)
    sdk = TwilioClient(account.account_id, account.secret, http_client=http)
    try:
        assert sorted(r.sid for r in sdk.recordings.list(page_size=50)) == sorted_ids(voice)
        assert sorted(r.sid for r in sdk.video.v1.recordings.list(page_size=50)) == sorted_ids(video)
        since, until = START + timedelta(minutes=10), START + timedelta(minutes=20)
        within = sdk.recordings.list(date_created_after=since, date_created_before=until)
        assert sorted(r.sid for r in within) == sorted_ids(voice[10:21])
        within = sdk.video.v1.recordings.list(date_created_after=since, date_created_before=until)
        assert sorted(r.sid for r in within) == sorted_ids(video[10:20])
        room = sdk.video.v1.rooms(video[0].room_id).recordings.list()
        assert sorted(r.sid for r in room) == sorted_ids(video[:4])
        assert sdk.recordings(voice[0].recording_id).delete()
        assert len(sdk.recordings.list()) == 119
    finally:
        http.session.close()


def test_telnyx_sdk_lists_and_deletes(connect: Callable[..., Client]) -> None:
    """telnyx-python lists every recording, also by window, reads one and deletes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import telnyx  # takes two seconds of CPU, so not at collection
    client = connect("telnyx")
    recordings = client.simulator.populate(client.account, "telnyx", 55, START)
    with telnyx.Telnyx(api_key=client.account.secret, base_url=f"{client.simulator.base_url}/v2") as sdk:
        assert sorted(r.id for r in sdk.recordings.list()) == sorted_ids(recordings)
        bounds: Any = {"gte": "2026-03-02T10:10:00Z", "lte": "2026-03-02T10:20:00Z"}
        within = sdk.recordings.list(filter={"created_at": bounds}, page_size=3)
        assert sorted(r.id for r in within) == sorted_ids(recordings[10:21])
        one = sdk.recordings.retrieve(recordings[0].recording_id)
        assert one.data is not None
        assert one.data.duration_millis == round(recordings[0].duration_seconds * 1000)
        sdk.recordings.delete(recordings[0].recording_id)
        assert len(list(sdk.recordings.list())) == 54
