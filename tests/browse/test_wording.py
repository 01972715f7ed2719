"""What the pages say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from recvault.browse import wording
from recvault.store import Described

ROW: dict[str, Any] = {
    "archived_us": 1_790_845_920_000_000,
    "media_key": "a.wav",
    "media_bytes": 10,
    "media_sha256": "ab" * 32,
    "sidecar_sha256": "cd" * 32,
    "manifest_number": 42,
}
THERE = Described(bytes=10, kept="ab" * 32)
EQUAL = "SHA-256 abababababababab… equals the one recorded in the sidecar; listed in manifest 42."


@pytest.mark.parametrize(
    ("described", "sidecar", "proven", "words"),
    [
        (THERE, "cd" * 32, True, EQUAL),
        (Described(bytes=10, noted="ab" * 32), "cd" * 32, True, EQUAL),
        (Described(bytes=10), "cd" * 32, True, "… is recorded in the sidecar; listed in manifest 42."),
        (replace(THERE, kept="00" * 32), "cd" * 32, False, "is not the one recorded in the sidecar"),
        (replace(THERE, bytes=9), "cd" * 32, False, "the size is not what the catalog lists"),
        (THERE, "00" * 32, False, "the sidecar is not what the catalog lists"),
        (THERE, None, False, "its sidecar is not in the bucket now"),
        (None, "cd" * 32, False, "a.wav is not in the bucket now"),
    ],
)
def test_the_sentence_of_proof(described: Described | None, sidecar: str | None, proven: bool, words: str) -> None:
    """It says that hashes are equal only if the bucket told one that is, and names whatever differs or is missing."""
    found = wording.proof(ROW, described, sidecar)
    assert (found[0], words in found[1]) == (proven, True)
    assert found[1].startswith("Archived 2026-10-01 09:12 UTC")


def test_a_recording_of_today_is_in_no_manifest() -> None:
    """Before its day's manifest is written, the sentence says so."""
    found = wording.proof({**ROW, "manifest_number": None}, THERE, "cd" * 32)
    assert found[1].endswith("; not listed in a manifest yet.")


def test_lengths_and_sizes() -> None:
    """Lengths read as on a player, sizes in binary units, a number in groups."""
    assert [wording.length(each) for each in (None, 0, 59.6, 272, 3872)] == ["-", "0:00", "1:00", "4:32", "1:04:32"]
    assert [wording.size(each) for each in (None, 1, 1023, 1024, 5 << 30)] == [
        *("-", "1 byte", "1,023 bytes"),
        *("1.0 KiB", "5.0 GiB"),
    ]
    assert [wording.number(each) for each in ("+15550100003", "+442071838750", None)] == [
        "+1\N{NO-BREAK SPACE}555\N{NO-BREAK SPACE}010\N{NO-BREAK SPACE}0003",
        "+442071838750",
        "",
    ]
