"""A number is found in a listed row where it is a number, and nowhere else."""

from __future__ import annotations

import json

import pytest

from recvault.ledger.custody_records import _names


@pytest.mark.parametrize(
    ("row", "digits"),
    [
        ({"from": "+1 (555) 123-4567"}, "15551234567"),
        ({"note": "call from +15551234567."}, "15551234567"),
        ({"uri": "https://x/?To=%2B15551234567&a=1"}, "15551234567"),
        ({"to": "sip:+15551234567@10.0.0.1"}, "15551234567"),
        ({"to": "sip:1001@10.0.0.1"}, "1001"),
        ({"legs": [{"from_number": 1001}]}, "1001"),
    ],
)
def test_a_number_is_found(row: object, digits: str) -> None:
    """However it is written, and wherever a long one stands."""
    assert _names(json.dumps(row), digits)


@pytest.mark.parametrize(
    ("row", "digits"),
    [
        ({"created_at": "2026-10-01T09:01:00Z", "from": "+1555"}, "2026"),
        ({"created_at": "2026-10-01", "from": "+1555"}, "20261001"),
        ({"sid": "RE1001ab", "from": "+1555"}, "1001"),
        ({"from": "+15551001234"}, "1001"),
        ({"from": "+15551234567"}, "5551234567"),
        ({"duration": "1001", "from": "client:alice1001"}, "1001"),
        ({"sid": "REa15551234567b"}, "15551234567"),
    ],
)
def test_other_digits_are_no_number(row: object, digits: str) -> None:
    """Dates, ids, durations, and parts of longer numbers do not select a recording."""
    assert not _names(json.dumps(row), digits)
