"""A bucket of a million objects without storage: an S3 server that computes each answer from the object's number.

It answers ListObjectsV2, GET and HEAD with path-style URLs, and ignores signatures. Recording n has a day derived from
n, a sidecar and a WAV; all WAVs have the same bytes. One of `lacks` recordings has lost its WAV. Run as a program it
prints its URL and serves until its stdin is closed.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

from recvault import archive
from recvault.archive import KeyTemplate
from recvault.models import Check, MediaObject, Phase, Receipt, Recording

BUCKET = "recordings-of-a-million"
ACCOUNT = "AC" + "5" * 32
FIRST_DAY = date(2025, 1, 1)
A_DAY = 1_000
_MODIFIED = "2026-01-01T00:00:00.000Z"
_PAGE = 1_000
_SAMPLE = 123_456_789


@dataclass(frozen=True, slots=True, kw_only=True)
class Million:
    """The truth: which object each key has."""

    recordings: int
    media_bytes: int = 4_000
    lacks: int = 0  # 0: no medium is missing

    def recording(self, number: int) -> Recording:
        created = datetime.combine(FIRST_DAY + timedelta(days=number // A_DAY), datetime.min.time(), UTC)
        return Recording(
            provider="twilio",
            api="2010-04-01",
            account_id=ACCOUNT,
            recording_id=f"RE{number:032x}",
            created_at=created + timedelta(seconds=number % A_DAY),
            status="completed",
            phase=Phase.COMPLETE,
            formats=("wav", "mp3"),
            call_id=f"CA{number:032x}",
            duration_seconds=30.0,
            channels=1,
            raw={"sid": f"RE{number:032x}", "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Recordings/RE{number:032x}.json"},
        )

    def receipt(self, number: int) -> Receipt:
        recording, keys = self.recording(number), KeyTemplate()
        medium = MediaObject(
            key=keys(recording, "wav"),
            media_format="wav",
            bytes=self.media_bytes,
            sha256=_sum(self.media_bytes),
            content_type="audio/wav",
            codec="pcm_s16le",
            sample_rate=8000,
            channels=1,
            duration_seconds=30.0,
            check=Check(status="ok", method="wav sizes"),
        )
        return Receipt(
            source="voice",
            recording=recording,
            sidecar_key=keys(recording, "json"),
            media=(medium,),
            archived_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    @property
    def medium(self) -> bytes:
        return _medium(self.media_bytes)

    def sidecar(self, number: int) -> bytes:
        return archive.sidecar_bytes(self.receipt(number), attempts=1, fetched_from=None, formats_wanted=("wav",))

    def is_lost(self, number: int) -> bool:
        return bool(self.lacks) and number % self.lacks == self.lacks - 1

    def key(self, index: int) -> str:
        """Return the key of that rank: sidecars are even, media odd."""
        number, ext = index // 2, ("json", "wav")[index % 2]
        day = FIRST_DAY + timedelta(days=number // A_DAY)
        return f"recordings/provider=twilio/account={ACCOUNT}/date={day}/RE{number:032x}.{ext}"

    def rank(self, after: str) -> int:
        """Count the keys up to and including this one."""
        low, high = 0, 2 * self.recordings
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.key(middle) <= after else (low, middle)
        return low


def _medium(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


@functools.cache
def _sum(size: int) -> str:
    return hashlib.sha256(_medium(size)).hexdigest()


class Answers:
    """Complete HTTP answers, from bytes that were built once."""

    def __init__(self, truth: Million) -> None:
        self._truth = truth
        sample = truth.recording(_SAMPLE)
        self._sidecar = truth.sidecar(_SAMPLE)
        self._marks = (f"{_SAMPLE:032x}".encode(), f"{sample.created_at:%Y-%m-%dT%H:%M:%S}".encode())
        self._day = f"{sample.created_at:%Y-%m-%d}".encode()
        self._body = truth.medium
        self._medium = self._head(200, truth.media_bytes, f"x-amz-meta-sha256: {_sum(truth.media_bytes)}\r\n")
        self._absent = self._whole(404, b"")

    def answer(self, method: str, target: str) -> bytes:
        url = urlsplit(target)
        key = unquote(url.path.partition("/")[2].partition("/")[2])
        if not key:
            return self._whole(200, self._listing({name: each[0] for name, each in parse_qs(url.query).items()}))
        number, is_medium = int(key[-36:].partition(".")[0][-32:].rpartition("E")[2], 16), key.endswith(".wav")
        if number >= self._truth.recordings or (is_medium and self._truth.is_lost(number)):
            return self._absent
        if is_medium:
            return self._medium if method == "HEAD" else self._medium + self._body
        body = self._sidecar_of(number)
        return self._head(200, len(body), "") if method == "HEAD" else self._whole(200, body)

    def _sidecar_of(self, number: int) -> bytes:
        created = datetime.combine(FIRST_DAY + timedelta(days=number // A_DAY), datetime.min.time(), UTC)
        created += timedelta(seconds=number % A_DAY)
        body = self._sidecar.replace(self._marks[0], b"%032x" % number)
        body = body.replace(self._marks[1], f"{created:%Y-%m-%dT%H:%M:%S}".encode())
        return body.replace(b"date=" + self._day, f"date={created:%Y-%m-%d}".encode())

    def _listing(self, asked: dict[str, str]) -> bytes:
        truth, prefix = self._truth, asked.get("prefix", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        rank = max(truth.rank(after), truth.rank(prefix))
        rows, last = [], ""
        while rank < 2 * truth.recordings and len(rows) < _PAGE and (key := truth.key(rank)).startswith(prefix):
            last = key
            if not (rank % 2 and truth.is_lost(rank // 2)):
                size = truth.media_bytes if rank % 2 else len(self._sidecar)
                rows.append(
                    f"<Contents><Key>{quote(key)}</Key><LastModified>{_MODIFIED}</LastModified><ETag>&quot;0&quot;"
                    f"</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                )
            rank += 1
        more = rank < 2 * truth.recordings and truth.key(rank).startswith(prefix)
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><KeyCount>{len(rows)}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(rows)}</ListBucketResult>"
        ).encode()

    def _whole(self, status: int, body: bytes) -> bytes:
        return self._head(status, len(body), "") + body

    @staticmethod
    def _head(status: int, length: int, more: str) -> bytes:
        return f'HTTP/1.1 {status} .\r\nETag: "0"\r\nContent-Length: {length}\r\n{more}\r\n'.encode()


class _Exchange(asyncio.Protocol):
    def __init__(self, answers: Answers) -> None:
        self._answers, self._rest = answers, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            method, target, _ = self._rest[: self._rest.find(b"\r\n")].decode().split(" ")
            self._rest = self._rest[end + 4 :]
            self._transport.write(self._answers.answer(method, target))  # type: ignore[attr-defined]


async def serve(truth: Million) -> None:
    loop, answers = asyncio.get_running_loop(), Answers(truth)
    server = await loop.create_server(lambda: _Exchange(answers), "127.0.0.1", 0, backlog=256)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Million(**json.loads(sys.argv[1]))))
