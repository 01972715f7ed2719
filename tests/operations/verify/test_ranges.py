"""Ranges cover every key once, for any template, scope and cuts; memory does not grow with the bucket."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.million import Million
from operations.verify.stage import CREATED, Stage, a_recording, counted, told
from recvault import archive
from recvault.archive import KeyTemplate
from recvault.ledger import Expected, ExpectedMedium
from recvault.models import State, Window
from recvault.operations.verify import BucketScope, Sample, Verify
from recvault.operations.verify.scope import HIGHEST
from recvault.shutdown import Stop
from recvault.store import Body, Described, Listed

TEMPLATES = {
    "default": archive.DEFAULT_TEMPLATE,
    "no date": "calls/{provider}/{account}/{recording_id}.{ext}",
    "date first": "calls/{date}/{provider}/{account}/{recording_id}.{ext}",
    "id before account": "r/{recording_id}/{provider}/{account}.{ext}",
    "no directory": "{provider}/{account}/{recording_id}.{ext}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prefix", ["", "deep/er"])
def test_any_template(stage: Stage, name: str, prefix: str) -> None:
    """For any template, correct objects are ok, and missing and foreign ones are found."""
    stage.keys = KeyTemplate(TEMPLATES[name], prefix)
    recordings = [a_recording(f"RE{number}", days=number % 4) for number in range(12)]
    stage.archive(*recordings)
    assert counted(stage.verify(range_least=3)) == {"checked": 12, "ok": 12}
    stage.lose(stage.keys(recordings[3], "wav"), stage.keys(recordings[7], "json"))
    stage.put(stage.keys(a_recording("RE99"), "wav"), b"x")
    assert sorted(told(stage.verify(range_least=3))) == sorted(
        [
            ("missing", stage.keys(recordings[3], "wav"), "media.missing"),
            ("missing", stage.keys(recordings[7], "json"), "sidecar.missing"),
            ("orphan_media", stage.keys(a_recording("RE99"), "wav"), "media.no_recording"),
        ]
    )


def test_what_an_earlier_template_wrote(stage: Stage) -> None:
    """Recordings of another template, outside all listed ranges, are checked by key."""
    stage.keys = KeyTemplate("attic/{provider}/{account}/{recording_id}.{ext}")
    stage.archive(a_recording("RE1"), a_recording("RE2"))
    lost = stage.key("RE2", "wav")
    stage.keys = KeyTemplate("zoo/{provider}/{account}/{recording_id}.{ext}")
    stage.archive(a_recording("RE3"))
    stage.keys = KeyTemplate()
    stage.archive(a_recording("RE4"))
    assert counted(stage.verify()) == {"checked": 4, "ok": 4}
    stage.lose(lost)
    assert told(stage.verify()) == [("missing", lost, "media.missing")]


def test_parallel_is_as_serial(stage: Stage) -> None:
    """The result is the same for any ranges and number of workers."""
    drawn = random.Random(5)
    names = sorted({f"RE{drawn.choice(['', '.', '-', 'a.'])}{drawn.randrange(60)}" for _ in range(80)})
    stage.archive(
        *(a_recording(name, account=f"AC{number % 3}") for number, name in enumerate(names)), formats=("wav",)
    )
    for key in drawn.sample(sorted(stage.bucket.objects), 25):
        stage.lose(key)
    for number in range(10):
        stage.put(stage.key(f"RE.{drawn.randrange(90)}", "mp3"), b"x")
        stage.put(f"recordings/{number}.bin", b"x")
    serial = stage.verify(workers=1, range_least=10**9)
    assert serial.missing and serial.orphan_media and serial.unknown
    for workers, least in ((2, 1), (8, 3), (16, 7)):
        parallel = stage.verify(workers=workers, range_least=least)
        assert (told(parallel), counted(parallel)) == (told(serial), counted(serial))


@pytest.mark.parametrize("name", TEMPLATES)
def test_ranges_cover_every_key_once(name: str) -> None:
    """Ranges adjoin without a gap, from the first key to the last."""
    keys = KeyTemplate(TEMPLATES[name], "p")
    recordings = [a_recording(f"RE{number}", account=f"AC{number % 3}", days=number) for number in range(30)]
    cuts = [keys(each, "json") for each in recordings]
    window = Window(CREATED + timedelta(days=3), CREATED + timedelta(days=9))
    for accounts in (None, frozenset({("twilio", "AC1")}), frozenset({("twilio", "AC0"), ("twilio", "AC2")})):
        ranges = BucketScope(keys=keys, window=window, accounts=accounts).ranges(cuts)
        assert [ranges[0].after, ranges[-1].until] == ["", HIGHEST]
        assert [each.until for each in ranges[:-1]] == [each.after for each in ranges[1:]]
        for each in recordings:
            asked = each.created_at in window and (accounts is None or ("twilio", each.account_id) in accounts)
            [found] = [one for one in ranges if one.after < keys(each, "json") < one.until]
            assert found.is_listed or not asked


def test_of_one_source_or_time(stage: Stage) -> None:
    """What was not selected is neither checked nor reported, and not listed if the keys allow it."""
    stage.archive(*(a_recording(f"RE{number}", days=number) for number in range(6)))
    stage.archive(*(a_recording(f"RT{number}", account="AC2", days=number) for number in range(6)), source="other")
    for name, account in (("RE9", "AC1"), ("RT9", "AC2")):
        for days in range(6):
            stage.put(stage.key(name, "wav", account=account, days=days), b"x")
    stage.lose(stage.key("RE2", days=2), stage.key("RT2", account="AC2", days=2), stage.key("RE5", days=5))
    result = stage.verify(sources=["main"], accounts=[("twilio", "AC1")])
    assert counted(result) == {"checked": 6, "ok": 4, "missing": 2, "orphan_media": 6}
    window = Window(CREATED + timedelta(days=2), CREATED + timedelta(days=4))
    result = stage.verify(sources=["main"], accounts=[("twilio", "AC1")], window=window)
    assert counted(result) == {"checked": 2, "ok": 1, "missing": 1, "orphan_media": 3}
    assert result.objects == 8  # of three days, the last one the end of the window


class Formula:
    """A reader and ledger rows of a computed bucket, neither held in memory."""

    def __init__(self, recordings: int) -> None:
        self.truth = Million(recordings=recordings, lacks=500)
        self.count = recordings
        self.requests: Counter[str] = Counter()
        self._modified = datetime(2026, 1, 1, tzinfo=UTC)

    def listed(self, prefix: str, after: str = "", until: str | None = None) -> Iterator[Listed]:
        for rank in range(self.truth.rank(after), 2 * self.count):
            key = self.truth.key(rank)
            if until is not None and key >= until:
                return
            if not (rank % 2 and self.truth.is_lost(rank // 2)):
                yield Listed(key, 1, self._modified)

    def get(self, key: str) -> Body:
        return Body(self.truth.sidecar(self._number(key)), None)

    def describe(self, key: str) -> Described | None:
        lost = self.truth.is_lost(self._number(key))
        return None if lost else Described(bytes=self.truth.media_bytes, noted=self._sum)

    def cuts(self, every: int) -> list[str]:
        return [self.truth.key(2 * number) for number in range(every, self.count, every)]

    def between(self, after: str, until: str) -> Iterator[Expected]:
        for number in range((self.truth.rank(after) + 1) // 2, self.count):
            receipt = self.truth.receipt(number)
            if receipt.sidecar_key >= until:
                return
            media = (ExpectedMedium(key=each.key, bytes=each.bytes, sha256=each.sha256) for each in receipt.media)
            provider, account_id, recording_id = receipt.recording.identity
            yield Expected(
                id=number,
                source="voice",
                provider=provider,
                account_id=account_id,
                recording_id=recording_id,
                state=State.ARCHIVED,
                is_due=False,
                sidecar_key=receipt.sidecar_key,
                media=tuple(media),
            )

    @property
    def _sum(self) -> str:
        return self.truth.receipt(0).media[0].sha256

    @staticmethod
    def _number(key: str) -> int:
        return int(key.rpartition("/RE")[2].partition(".")[0], 16)


def peak(recordings: int) -> int:
    """Return the peak memory of a verification of that many recordings."""
    formula: Any = Formula(recordings)
    verification = Verify(
        reader=formula,
        ledger=SimpleNamespace(),  # type: ignore[arg-type]
        expectations=formula,
        scope=BucketScope(keys=KeyTemplate()),
        sample=Sample(),
        workers=4,
        stop=Stop(),
        clock=lambda: datetime(2026, 10, 1, tzinfo=UTC),
        range_least=100,
    )
    tracemalloc.start()
    try:
        result = verification.run()
        assert (result.checked, result.missing) == (recordings, recordings // 500)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither listing nor rows are held in memory: 1,200 recordings would take several MiB."""
    monkeypatch.setattr(
        "recvault.operations.verify.verify._TOGETHER", 2
    )  # so that waiting batches are small compared with it
    peak(20)  # imports and caches
    assert peak(1200) < 1024**2
