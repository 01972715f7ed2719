"""Catalogs for tests and benchmarks of `browse`: recvault's own columns, of few rows or of a million."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import wave
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

_TEXTS = (
    *("schema", "provider", "api", "account_id", "source", "recording_id", "call_id", "conference_id", "room_id"),
    *("participant_id", "leg_id", "session_id", "status", "recorded_by", "track", "price_unit", "from_number"),
    *("to_number", "direction", "media_key", "media_format", "media_sha256", "media_codec", "checked"),
    *("checked_reason", "sidecar_key", "sidecar_sha256", "raw"),
)
_TIMES = ("created_at", "started_at", "ended_at", "archived_at")
_MEDIA = "STRUCT(key VARCHAR, media_format VARCHAR, bytes BIGINT, sha256 VARCHAR, content_type VARCHAR)[]"
COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(_TEXTS, "VARCHAR"),
    **dict.fromkeys(_TIMES, "TIMESTAMPTZ"),
    "day": "DATE",
    "numbers": "VARCHAR[]",
    "duration_seconds": "DOUBLE",
    "price": "DOUBLE",
    "channels": "INTEGER",
    "media_bytes": "BIGINT",
    "media_sample_rate": "INTEGER",
    "media_channels": "INTEGER",
    "media_seconds": "DOUBLE",
    "media": _MEDIA,
    "encrypted": "BOOLEAN",
    "attempts": "INTEGER",
    "manifest_number": "INTEGER",
}
_DAYS = """
    COPY (SELECT day, provider, account_id, source, count(*) AS recordings, sum(media_seconds) AS seconds,
                 sum(media_bytes) AS bytes, count(*) FILTER (checked = 'suspect') AS suspect
          FROM read_parquet('{root}/catalog/recordings/*/recordings.parquet', hive_partitioning = false)
          GROUP BY ALL ORDER BY day) TO '{root}/catalog/days.parquet' (FORMAT parquet, COMPRESSION zstd)
"""


def write_catalog(root: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the catalog of these rows; columns that a row lacks are null."""
    lines = root / "rows.jsonl"
    lines.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        read = f"read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}})"
        db.execute(f"CREATE TABLE r AS SELECT * FROM {read}")
        for (month,) in db.execute("SELECT DISTINCT strftime(day, '%Y-%m') FROM r").fetchall():
            _copy(db, root, month, f"SELECT * FROM r WHERE strftime(day, '%Y-%m') = '{month}' ORDER BY created_at")
        db.execute(_DAYS.format(root=root))
    lines.unlink()


def write_million(root: Path, rows: int = 1_000_000) -> None:
    """Write a year of generated recordings: five sources, twelve months. There are no media."""
    made = """
        SELECT i, hash(i, {number}) AS h, TIMESTAMP '{month}-01' + to_seconds((random() * 86400 * 28)::BIGINT) AS t,
               md5(i::VARCHAR || '{month}') AS id FROM range({count}) x(i)
    """
    select = """
        SELECT *, number_of(h) AS from_number, number_of(h // 7) AS to_number,
               [number_of(h)[2:], number_of(h // 7)[2:]] AS numbers, 'inbound' AS direction,
               'recordings/provider=twilio/account=AC1/date=' || t::DATE || '/RE' || id AS stem,
               'RE' || id AS recording_id, 'CA' || id AS call_id, sha256(id) AS media_sha256,
               'twilio' AS provider, 'AC' || h % 5 AS account_id, 'source-' || h % 5 AS source,
               t::TIMESTAMPTZ AS created_at, t::DATE AS day, (h % 900)::DOUBLE AS media_seconds,
               (h % 900) * 32000 AS media_bytes, 'ok' AS checked, 42 AS manifest_number, t::TIMESTAMPTZ AS archived_at,
               '{{"sid": "RE' || id || '"}}' AS raw, 'wav' AS media_format, sha256(id || 's') AS sidecar_sha256,
               'recordings/' || id || '.wav' AS media_key, 'recordings/' || id || '.json' AS sidecar_key,
               false AS encrypted FROM made
    """
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'")
        db.execute("CREATE MACRO number_of(h) AS '+1555' || lpad((h % 10000000)::VARCHAR, 7, '0')")
        for number in range(1, 13):
            month = f"2026-{number:02}"
            view = made.format(number=number, month=month, count=rows // 12)
            db.execute(f"CREATE OR REPLACE TEMP TABLE r AS WITH made AS ({view}) {select.format()}")
            known = {name for name, *_ in db.execute("DESCRIBE r").fetchall()}
            listed = ", ".join(
                f"{name if name in known else 'NULL'}::{kind} AS {name}" for name, kind in COLUMNS.items()
            )
            _copy(db, root, month, f"SELECT {listed} FROM r ORDER BY created_at")
        db.execute(_DAYS.format(root=root))


def _copy(db: Any, root: Path, month: str, select: str) -> None:
    folder = root / "catalog" / "recordings" / f"month={month}"
    folder.mkdir(parents=True, exist_ok=True)
    db.execute(
        f"COPY ({select}) TO '{folder}/recordings.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 20480)"
    )


def write_archive(root: Path) -> list[dict[str, Any]]:
    """Write a small archive in a directory: media, sidecars, a manifest and the catalog. Return the catalog's rows."""
    (root / ".recvault").mkdir()
    rows = [_recording(root, number) for number in range(8)]
    lines = "".join(
        f"{row['sidecar_sha256']}  {row['sidecar_key']}\n{row['media_sha256']}  {row['media_key']}\n" for row in rows
    )
    folder = root / "manifests/provider=twilio/account=AC1/number=00000042"
    folder.mkdir(parents=True)
    (folder / "manifest-sha256.txt").write_text(f"# recvault manifest v1\n{lines}")
    write_catalog(root, rows)
    return rows


def _recording(root: Path, number: int) -> dict[str, Any]:
    """Write the media and the sidecar of a recording. The last is hostile, the one before it encrypted."""
    day, hostile = f"2026-{9 + number // 4:02}-{1 + number % 4:02}", number == 7
    name = f"RE{number:032x}"
    text = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>" if hostile else None
    folder = f"recordings/provider=twilio/account=AC1/date={day}"
    seconds = 2.0 + number
    body = tone(seconds, name)
    medium = {
        "key": f"{folder}/{name}.wav",
        "media_format": "wav",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_type": "audio/wav",
        "codec": "pcm_s16le",
        "sample_rate": 8000,
        "channels": 2,
        "duration_seconds": seconds,
        "checked": {"status": "ok", "method": "wav sizes", "reason": None},
    }
    common = {
        "schema": "recvault/sidecar/v1",
        "provider": "twilio",
        "api": "twilio",
        "account_id": "AC1",
        "source": ("main", "support")[number % 2],
        "recording_id": name,
        "call_id": f"CA{number:032x}",
        "status": "completed",
        "created_at": f"{day}T{8 + number:02}:12:04Z",
        "encryption": {"type": "rsa-aes"} if number == 6 else None,
    }
    archive = {"archived_at": f"{day}T23:12:00Z", "attempts": 1}
    raw = {"sid": name, "friendly_name": text or "Sales call"}
    sidecar = json.dumps({**common, "media": [medium], "archive": archive, "raw": raw}).encode()
    for path, content in ((medium["key"], body), (f"{folder}/{name}.json", sidecar)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return {
        **{key: value for key, value in common.items() if key != "encryption"},
        "day": day,
        "direction": text or "inbound",
        "from_number": text or f"+1555010{number:04}",
        "to_number": f"+1555020{number:04}",
        "numbers": [f"1555010{number:04}", f"1555020{number:04}"],
        **{f"media_{name}": medium[name] for name in ("key", "bytes", "sha256", "codec", "sample_rate", "channels")},
        "media_format": "wav",
        "media_seconds": seconds,
        "checked": "suspect" if number == 5 else "ok",
        "checked_reason": "truncated: 10 of 12 bytes" if number == 5 else None,
        "media": [{name: medium[name] for name in ("key", "media_format", "bytes", "sha256", "content_type")}],
        "encrypted": number == 6,
        "archived_at": archive["archived_at"],
        "attempts": 1,
        "sidecar_key": f"{folder}/{name}.json",
        "sidecar_sha256": hashlib.sha256(sidecar).hexdigest(),
        "manifest_number": 42 if number else None,
        "raw": json.dumps(raw),
    }


def tone(seconds: float, name: str) -> bytes:
    """Return a WAV of two channels that take turns, as in a call; another for each name."""
    count, seed = int(seconds * 8000), random.Random(name)
    samples = array("h")
    loud = [(seed.randrange(2000, 20000), seed.random() < 0.5) for _ in range(int(seconds * 4) + 1)]
    for at in range(count):
        level, is_first = loud[at // 2000]
        value = int(level * math.sin(at / 9) * math.sin(math.pi * (at % 2000) / 2000))
        samples.extend((value, value // 40) if is_first else (value // 40, value))
    with io.BytesIO() as file:
        with wave.open(file, "wb") as written:
            written.setparams((2, 2, 8000, count, "NONE", ""))
            written.writeframes(samples.tobytes())
        return file.getvalue()
