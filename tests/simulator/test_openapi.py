"""The simulator's answers comply with Twilio's OpenAPI specification."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .client import START, Client

SPECS = Path(__file__).parent.parent / "data" / "openapi"


def load(name: str) -> Any:
    return nullable(json.loads((SPECS / name).read_text()))


def nullable(node: Any) -> Any:
    """Translate OpenAPI 3.0's `nullable` to JSON Schema. A schema with only `nullable` allows anything."""
    if isinstance(node, list):
        return [nullable(part) for part in node]
    if not isinstance(node, dict):
        return node
    node = {key: nullable(part) for key, part in node.items() if key != "format"}
    if node.pop("nullable", False) and "type" in node:
        node["type"] = [node["type"], "null"]
        if "enum" in node:
            node["enum"] = [*node["enum"], None]
    return node


def validate(spec: Any, path: str, body: Any) -> None:
    """Check that the body matches GET's specification, and has every property of its schema."""
    schema = spec["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**schema, "components": spec["components"]})
    name = schema.get("$ref") or schema["properties"].get("recordings", schema["properties"].get("accounts"))
    reference = name if isinstance(name, str) else name["items"]["$ref"]
    expected = set(spec["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
    for row in [body] if isinstance(name, str) else body.get("recordings", body.get("accounts")):
        assert set(row) == expected


@pytest.fixture
def twilio(connect: Callable[..., Client]) -> Client:
    """An account with recordings in every state."""
    client = connect()
    simulator, account = client.simulator, client.account
    simulator.populate(account, "voice", 30, START, encrypted_share=0.3, conference_share=0.3)
    simulator.populate(account, "video", 30, START, encrypted_share=0.3)
    now = simulator.now
    for api in ("voice", "video"):
        simulator.add(account, api, created_at=now, duration_seconds=60)
        simulator.add(account, api, created_at=START, external_location="https://bucket.s3.amazonaws.com/x.wav")
    simulator.add(account, "voice", created_at=now - timedelta(seconds=61), duration_seconds=60)
    simulator.add(account, "voice", created_at=START, status_final="absent", error_code=16101)
    simulator.add(account, "video", created_at=START, status_final="failed")
    simulator.add(account, "voice", created_at=START, deleted_at=now)
    return client


BASE = "/2010-04-01/Accounts/{AccountSid}"


def test_voice_lists_and_instances_are_as_specified(twilio: Client) -> None:
    """Every page of the account, call and conference lists, and every instance, complies."""
    spec = load("twilio_voice_recordings.json")
    url = f"{twilio.voice}/Recordings.json?PageSize=10&IncludeSoftDeleted=true"
    statuses = set()
    for page in twilio.pages(url):
        validate(spec, BASE + "/Recordings.json", page)
        for row in page["recordings"]:
            statuses.add(row["status"])
            own = twilio.get(f"{twilio.voice}/Recordings/{row['sid']}.json?IncludeSoftDeleted=true").json()
            validate(spec, BASE + "/Recordings/{Sid}.json", own)
            calls = twilio.get(f"{twilio.voice}/Calls/{row['call_sid']}/Recordings.json").json()
            validate(spec, BASE + "/Calls/{CallSid}/Recordings.json", calls)
            assert row["status"] == "deleted" or [r["sid"] for r in calls["recordings"]] == [row["sid"]]
            if row["conference_sid"]:
                meeting = twilio.get(f"{twilio.voice}/Conferences/{row['conference_sid']}/Recordings.json").json()
                validate(spec, BASE + "/Conferences/{ConferenceSid}/Recordings.json", meeting)
                assert [r["sid"] for r in meeting["recordings"]] == [row["sid"]]
    assert statuses == {"in-progress", "processing", "completed", "absent", "deleted"}


def test_accounts_are_as_specified(twilio: Client) -> None:
    """The list of accounts complies."""
    spec = load("twilio_voice_recordings.json")
    page = twilio.get("/2010-04-01/Accounts.json").json()
    validate(spec, "/2010-04-01/Accounts.json", page)
    own = twilio.get(f"/2010-04-01/Accounts/{twilio.account.account_id}.json").json()
    validate(spec, "/2010-04-01/Accounts/{Sid}.json", own)


def test_video_lists_and_instances_are_as_specified(twilio: Client) -> None:
    """Every page of the account and room lists, and every instance, complies."""
    spec = load("twilio_video_recordings.json")
    statuses = set()
    for page in twilio.pages("/v1/Recordings?PageSize=10"):
        validate(spec, "/v1/Recordings", page)
        for row in page["recordings"]:
            statuses.add(row["status"])
            validate(spec, "/v1/Recordings/{Sid}", twilio.get(f"/v1/Recordings/{row['sid']}").json())
            room = f"/v1/Rooms/{row['grouping_sids']['room_sid']}/Recordings"
            tracks = twilio.get(room).json()
            validate(spec, "/v1/Rooms/{RoomSid}/Recordings", tracks)
            assert row["sid"] in [track["sid"] for track in tracks["recordings"]]
            validate(spec, "/v1/Rooms/{RoomSid}/Recordings/{Sid}", twilio.get(f"{room}/{row['sid']}").json())
    assert statuses == {"processing", "completed", "failed"}
    validate(spec, "/v1/RecordingSettings/Default", twilio.get("/v1/RecordingSettings/Default").json())
