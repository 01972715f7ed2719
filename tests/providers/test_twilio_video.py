"""Twilio Video v1."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from providers.bodies import ROWS, SETTINGS, WINDOW, answer, page_of, sample
from recvault.models import ACCOUNT, Phase, Recording, Scope
from recvault.providers.twilio_video import TwilioVideo

VIDEO = TwilioVideo.from_settings("main", SETTINGS)
ROW = ROWS["twilio-video"]


def read(**changes: Any) -> Recording:
    (recording,) = VIDEO.parse_page(answer(VIDEO, page_of("twilio-video", [{**ROW, **changes}]))).recordings
    return recording


@pytest.mark.parametrize(
    ("scope", "path"), [(ACCOUNT, "/v1/Recordings"), (Scope("room", "RM1"), "/v1/Rooms/RM1/Recordings")]
)
def test_lists_are_filtered_by_the_second(scope: Scope, path: str) -> None:
    """Filters have Video's own names and times in Z; a page has at most a hundred rows."""
    query = "DateCreatedAfter=2026-10-01T05%3A00%3A00Z&DateCreatedBefore=2026-10-02T05%3A00%3A01Z&PageSize=100"
    assert f"{path}?{query}" == VIDEO.list_request(WINDOW, scope).url.raw_path.decode()


@pytest.mark.parametrize("name", ["twilio_video_recordings_list.json", "twilio_video_room_recordings_list.json"])
def test_golden_pages_are_read(name: str) -> None:
    """A track has room, participant, codec, size and name; one in the customer's bucket is external."""
    page = VIDEO.parse_page(answer(VIDEO, sample(name)))
    (recording,) = page.recordings
    assert datetime(2015, 7, 30, 20, tzinfo=UTC) == recording.created_at
    assert (recording.room_id, recording.participant_id) == ("RM" + "a" * 32, "PA" + "a" * 32)
    assert (
        recording.codec,
        recording.size_bytes,
        recording.duration_seconds,
        recording.track,
    ) == ("OPUS", 23, 10.0, "A name")
    assert (
        recording.phase,
        recording.external_location,
        recording.formats,
    ) == (Phase.EXTERNAL, "https://www.twilio.com", ())
    assert page.next is None


def test_a_track_that_is_processed_is_not_final() -> None:
    """A track in processing is not final, even if it will be external."""
    recording = VIDEO.parse_recording(answer(VIDEO, sample("twilio_video_recording_processing.json")))
    assert (recording.phase, recording.formats) == (Phase.UNFINISHED, ("mka",))


def test_a_room_without_grouping_is_told_by_the_row() -> None:
    """A room's row names the room even if its grouping is null."""
    assert read(grouping_sids=None, room_sid="RM2").room_id == "RM2"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"container_format": "MKV"}, "mkv"),
        ({"container_format": None, "type": "video"}, "mkv"),
        ({"container_format": None, "type": "audio"}, "mka"),
        ({"container_format": None, "type": "data"}, "mkv"),
        ({"container_format": "../x", "type": None}, "mkv"),
        ({"container_format": "webm"}, "webm"),
    ],
)
def test_the_container_is_the_format(changes: dict[str, Any], expected: str) -> None:
    """The format is the container in lower case; a data track without one is read."""
    assert (expected,) == read(**changes).formats


def test_media_are_behind_one_address() -> None:
    """Media, metadata and deletion use the recording's own URL, also from a room's list."""
    recording = read(url="https://elsewhere.example/x", links={"media": "https://elsewhere.example/y"})
    instance = f"/v1/Recordings/{recording.recording_id}"
    (media,) = VIDEO.media_requests(recording, "mka")
    paths = [VIDEO.refresh_request(recording).url.path, media.url.path, VIDEO.delete_request(recording).url.path]
    assert [instance, f"{instance}/Media", instance] == paths


@pytest.mark.parametrize("host", ["video.twilio.com", "evil.example"])
def test_next_links_are_absolute(host: str) -> None:
    """A next link stays as it is, with its host."""
    link = f"https://{host}/v1/Recordings?DateCreatedAfter=2017-01-01T00%3A00%3A01Z&PageSize=100&PageToken=PTx"
    page = VIDEO.parse_page(answer(VIDEO, page_of("twilio-video", [], next_page_url=link)))
    assert link == str(page.next)


def test_keys_in_the_medias_headers_are_kept() -> None:
    """All key fields in the storage's headers are kept."""
    lines = sample("twilio_video_encrypted_media_s3_response_headers.txt").decode().splitlines()[1:]
    headers = httpx.Headers([tuple(line.split(": ", 1)) for line in lines if ": " in line])
    assert VIDEO.media_encryption(headers) == {
        "x-amz-key": "<base64 RSA-wrapped AES-256 key>",
        "x-amz-unencrypted-content-length": "746518",
        "x-amz-matdesc": "{}",
        "x-amz-iv": "EmKjzVpvXC9rE6DJ00Xv7Q==",
    }


def test_plain_media_have_no_keys() -> None:
    """Headers without key fields give none."""
    assert VIDEO.media_encryption(httpx.Headers({"ETag": "a", "x-amz-meta-other": "b"})) is None


def test_an_external_place_is_kept_without_its_signature() -> None:
    """The stored location in the customer's bucket has no signature."""
    recording = read(media_external_location="https://acme.s3.amazonaws.com/x?X-Amz-Signature=abc")
    assert recording.external_location == "https://acme.s3.amazonaws.com/x" == recording.raw["media_external_location"]
