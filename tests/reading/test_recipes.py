"""Each recipe for readers runs as written: with keys that may only read, an empty home, and no configuration."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reading import population
from reading.documents import README, blocks
from reading.population import BUCKET, NUMBER, Sidecar, body_of, encoded, key_of
from recvault.catalog import columns
from recvault.cli import export
from strict_s3 import Bucket, StrictS3

pytest.importorskip("duckdb")
OCTOBER, FIRST = "2026-10", "2026-10-01"
READING = {"GET", "HEAD", "LIST"}
NOT_RUN = {
    # heading and language: where its blocks are tested
    ("Archive", "python"): "tests/reading/test_archive.py",
    ("Archive", "sh"): "test_the_commands_for_a_shell",  # and in tests/exporting
    ("Keys that may only read", "json"): "test_the_policy_allows_reading_alone",
    ("Athena", "sql"): "test_athenas_table_is_the_catalogs",
    ("Events", "json"): "tests/reading/test_events.py",
    ("Events", "python"): "tests/reading/test_events.py",
}
RUN = ("DuckDB", "Polars", "pyarrow", "pandas", "Hugging Face", "WebDataset", "Lhotse", "Sidecars")
OFFLINE = """
import duckdb, importlib.util, pathlib
found = importlib.util.find_spec("duckdb_extension_httpfs")
duckdb.sql("SET autoinstall_known_extensions = false")
if found:
    duckdb.sql(f"LOAD '{next(pathlib.Path(found.origin).parent.rglob('httpfs.duckdb_extension'))}'")
duckdb.sql("SET s3_endpoint = '{host}'; SET s3_use_ssl = false; SET s3_url_style = 'path'")
"""
ELSEWHERE = """
import functools, importlib.util
if importlib.util.find_spec("pyarrow"):
    import pyarrow.fs
    pyarrow.fs.S3FileSystem = functools.partial(pyarrow.fs.S3FileSystem, endpoint_override="{url}")
"""
TOLD = {
    # library: how its answers are printed for the test
    "DuckDB": """
told = [[str(d), s, n, h] for d, s, n, h in hours.fetchall()], [
    [r, k] for r, k in calls.project("recording_id, media_key").fetchall()  # times need pytz
]""",
    "Polars": """
told = [[str(d), s, n, h] for d, s, n, h in hours.rows()], [[r, k] for _, r, k in calls.rows()]""",
    "pyarrow": """
told = (
    [[str(r["day"]), r["source"], r["count_all"], (r["duration_seconds_sum"] or 0) / 3600] for r in hours.to_pylist()],
    [[r["recording_id"], r["media_key"]] for r in calls.to_pylist()],
)""",
    "pandas": """
told = (
    [[str(d)[:10], s, int(n), float(h)] for (d, s), n, h in hours.itertuples()],
    [[r, k] for r, k in zip(calls["recording_id"], calls["media_key"])],
)""",
}


def only(heading: str, number: int = 0) -> str:
    return [block for title, language, block in blocks() if (title, language) == (heading, "python")][number]


@dataclass(frozen=True)
class Readable:
    """A bucket with a catalog, to be read only."""

    bucket: Bucket
    known: list[Sidecar]

    def run(self, script: str, folder: Path) -> str:
        """Run a script in an empty folder that is also its home; return its output."""
        home = folder / "home"
        home.mkdir()
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "error",
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": "reader",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.bucket.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        before = len(self.bucket.log)
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE.replace("{url}", self.bucket.url) + script],
            env=variables,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        asked = [seen for seen in [*self.bucket.log][before:] if seen.op not in READING or seen.status == 403]
        assert [(seen.op, seen.key) for seen in asked] == []
        return done.stdout

    def of_the_first(self, source: str | None = None) -> list[Sidecar]:
        """Return the recordings of the first of October."""
        return [each for each in self.known if each["created_at"][:10] == FIRST and source in (None, each["source"])]


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readable]:
    """Twenty thousand recordings; the first of October has also its media and sidecars."""
    from reading.flat import catalog

    known = population.sidecars(20_000)
    with StrictS3(seed=7) as server:
        bucket = server.bucket(BUCKET)
        client = client_for(server.url)
        for key, body in catalog(known, tmp_path_factory.mktemp("catalog")).items():
            client.put_object(Bucket=BUCKET, Key=key, Body=body)
        readable = Readable(bucket, known)
        for each in readable.of_the_first():
            client.put_object(Bucket=BUCKET, Key=each["media"][0]["key"], Body=body_of(each))
            client.put_object(Bucket=BUCKET, Key=key_of(each), Body=encoded(each))
        bucket.denied = {"PUT", "DELETE", "CREATE", "PART", "COMPLETE", "RETENTION", "LEGAL_HOLD"}
        bucket.log.clear()
        yield readable


def client_for(url: str) -> Any:
    import boto3

    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="writer", aws_secret_access_key="writer"
    )


def needs(*names: str) -> None:
    """Skip a test without these libraries."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install -e '.[readers]'")


def test_each_block_is_run_or_tested_otherwise() -> None:
    """Every block of the document has a test."""
    languages = {(heading, language) for heading, language, _ in blocks()}
    assert languages == {(heading, "python") for heading in RUN} | set(NOT_RUN)
    for where in NOT_RUN.values():
        assert where in globals() or (README.parents[3] / where).exists()


def test_the_commands_for_a_shell(readable: Readable, tmp_path: Path) -> None:
    """`find` and `get` as they are written return the calls of the number and a recording's bytes."""
    block, exports = [block for title, language, block in blocks() if (title, language) == ("Archive", "sh")]
    search, fetch = (shlex.split(line.partition(" > ")[0])[1:] for line in block.strip().splitlines())
    [each] = readable.of_the_first("voice")[:1]
    script = "from recvault.cli import main\nmain({})"
    (there := tmp_path / "find").mkdir()
    rows = list(csv.DictReader(io.StringIO(readable.run(script.format(search), there))))
    truth = [call for month in ("2026-10", "2026-11") for call in population.calls(readable.known, month, NUMBER)]
    assert sorted((row["recording_id"], row["media_key"]) for row in rows) == sorted(truth)
    (there := tmp_path / "get").mkdir()
    readable.run(script.format([*fetch[:-1], each["recording_id"]]), there)
    assert (there / f"{each['recording_id']}.wav").read_bytes() == body_of(each)
    *others, speech = (shlex.split(line)[1:] for line in exports.strip().splitlines())
    (there := tmp_path / "export").mkdir()
    readable.run(script.format(speech), there)
    assert len([*there.rglob("*.wav")]) == len(readable.of_the_first("telnyx"))
    for words in others:  # the bucket has the media of one day alone
        export.command.make_context("export", words[1:])


@pytest.mark.parametrize("library", ["DuckDB", "Polars", "pyarrow", "pandas"])
def test_answers_are_the_truth(readable: Readable, library: str, tmp_path: Path) -> None:
    """Hours a day and source, and the calls of a number, are those of the sidecars."""
    needs(library.lower(), *(["duckdb_extension_httpfs"] if library == "DuckDB" else []))
    prelude = offline(readable) if library == "DuckDB" else ""
    script = f"{prelude}\n{only(library)}\n{TOLD[library]}\nimport json\nprint(json.dumps(told))"
    days, calls = json.loads(readable.run(script, tmp_path).splitlines()[-1])
    told = {(day, source): (count, round(hours, 6)) for day, source, count, hours in days}
    assert told == population.hours(readable.known, OCTOBER)
    assert sorted(map(tuple, calls)) == (truth := population.calls(readable.known, OCTOBER, NUMBER))
    assert len(truth) > 5


def offline(readable: Readable) -> str:
    return OFFLINE.replace("{host}", readable.bucket.url.removeprefix("http://"))


def test_a_month_alone_is_read(readable: Readable, tmp_path: Path) -> None:
    """A question about one month reads no byte of another."""
    needs("polars")
    before = len(readable.bucket.log)
    readable.run(only("Polars"), tmp_path)
    keys = {seen.key for seen in [*readable.bucket.log][before:] if seen.op == "GET"}
    others = {key for key in keys if f"month={OCTOBER}" not in key}
    assert (len(keys - others), all("recordings.parquet" in key for key in others)) == (1, True)


def test_sidecars_are_read_without_a_catalog(readable: Readable, tmp_path: Path) -> None:
    """A day of an account is read from its sidecars, by boto3 and by DuckDB."""
    needs("duckdb", "duckdb_extension_httpfs")
    expected = sorted(each["recording_id"] for each in readable.of_the_first("voice"))
    printed = readable.run(only("Sidecars"), tmp_path)
    assert sorted(line.split()[0] for line in printed.splitlines()) == expected
    (second := tmp_path / "second").mkdir()
    tell = "import json\nprint(json.dumps(sidecars.project('recording_id, media[1].key').fetchall()))"
    told = json.loads(readable.run(f"{offline(readable)}\n{only('Sidecars', 1)}\n{tell}", second).splitlines()[-1])
    keys = {each["recording_id"]: each["media"][0]["key"] for each in readable.of_the_first("voice")}
    assert (dict(told), sorted(keys)) == (keys, expected)


def test_hugging_face_streams_the_audio(readable: Readable, tmp_path: Path) -> None:
    """A dataset gives each WAV recording of a day with its bytes."""
    needs("datasets", "pyarrow")
    printed = readable.run(only("Hugging Face"), tmp_path)
    wanted = [each for each in readable.of_the_first() if each["media"][0]["media_format"] == "wav"]
    told = sorted(line.split() for line in printed.splitlines())
    assert told == sorted([each["recording_id"], str(each["media"][0]["bytes"])] for each in wanted)


def test_webdataset_reads_back_its_shard(readable: Readable, tmp_path: Path) -> None:
    """A shard of several providers holds each recording of a day, proven, with its row."""
    needs("webdataset", "pyarrow")
    printed = readable.run(only("WebDataset"), tmp_path)
    told = sorted(tuple(line.split()) for line in printed.splitlines() if "/" in line and not line.startswith("#"))
    assert told == sorted(
        (f"{each['provider']}/{each['account_id']}/{each['recording_id']}", each["source"])
        for each in readable.of_the_first()
    )


def test_a_flipped_bit_enters_no_shard(readable: Readable, tmp_path: Path) -> None:
    """Media with other bytes than the catalog's hash end the run."""
    needs("webdataset", "pyarrow")
    script = only("WebDataset").replace(
        "if hashlib.sha256(body)", 'body = b"x" + body[1:]\n        if hashlib.sha256(body)'
    )
    with pytest.raises(AssertionError, match="other bytes than were archived"):
        readable.run(script, tmp_path)


def test_lhotses_manifest_is_one(readable: Readable, tmp_path: Path) -> None:
    """Each line has the fields of Lhotse's `Recording`, which itself needs torch, and its URL serves the audio."""
    needs("pyarrow")
    readable.run(only("Lhotse"), tmp_path)
    with gzip.open(tmp_path / "recordings.jsonl.gz", "rt") as lines:
        told = [json.loads(line) for line in lines]
    wanted = {
        each["recording_id"]: each["media"][0]
        for each in readable.known
        if each["created_at"].startswith(OCTOBER)
        and (each["media"][0]["media_format"], each["media"][0]["checked"]["status"]) == ("wav", "ok")
    }
    assert {each["id"].rpartition("/")[2] for each in told} == set(wanted)
    fields = ["id", "sources", "sampling_rate", "num_samples", "duration", "channel_ids"]
    assert [list(each) for each in told if list(each) != fields] == []
    for each in told:
        medium = wanted[each["id"].rpartition("/")[2]]
        (source,) = each["sources"]
        assert (source["type"], source["channels"], each["channel_ids"]) == ("url", [0, 1], [0, 1])
        assert each["num_samples"] == round(each["duration"] * each["sampling_rate"])
        assert source["source"].startswith(f"{readable.bucket.url}/{BUCKET}/{medium['key'].replace('=', '%3D')}?")


def test_the_table_of_columns_is_complete() -> None:
    """The document names each column of the catalog, and no other."""
    section = README.read_text().partition("## The catalog")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(
        each.name for each in columns.RECORDINGS
    )
    for each in columns.DAYS:
        assert f"`{each.name}`" in section


def test_the_policy_allows_reading_alone() -> None:
    """The shown policy lists and gets, and nothing else."""
    (policy,) = (json.loads(block) for heading, _, block in blocks() if heading == "Keys that may only read")
    allowed = {(each["Effect"], each["Action"]) for each in policy["Statement"]}
    assert allowed == {("Allow", "s3:ListBucket"), ("Allow", "s3:GetObject")}


ATHENA = {
    "VARCHAR": "string",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "DOUBLE": "double",
    "BIGINT": "bigint",
    "INTEGER": "int",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "VARCHAR[]": "array<string>",
}


def test_athenas_table_is_the_catalogs(readable: Readable, tmp_path: Path) -> None:
    """Athena's DDL and queries parse, and its columns are those of the Parquet files, `media` apart."""
    sqlglot = pytest.importorskip("sqlglot")
    import duckdb

    ddl, *queries = [block for heading, language, block in blocks() if (heading, language) == ("Athena", "sql")]
    table = sqlglot.parse_one(ddl, dialect="athena")
    told = {each.name: each.kind.sql("hive").lower() for each in table.this.expressions if each.name != "month"}
    (key,) = (key for key in readable.bucket.objects if f"month={OCTOBER}/" in key and key.startswith("catalog/"))
    (path := tmp_path / "october.parquet").write_bytes(readable.bucket.body(key))
    described = duckdb.sql(f"DESCRIBE FROM read_parquet('{path}')").fetchall()
    columns = {name: ATHENA[kind] for name, kind, *_ in described if name != "media"}
    assert told == columns
    view = "CREATE VIEW recordings AS FROM read_parquet(?, hive_partitioning = false)"
    with duckdb.connect() as connection:
        connection.execute(view.replace("?", f"'{path}'").replace("FROM", "SELECT *, '2026-10' AS \"month\" FROM"))
        hours, calls = (connection.sql(sqlglot.transpile(query, read="athena", write="duckdb")[0]) for query in queries)
        counted = {(str(day), source): (count, round(total, 6)) for day, source, count, total in hours.fetchall()}
        found = calls.project("recording_id, media_key").fetchall()
    assert counted == population.hours(readable.known, OCTOBER)
    assert sorted(found) == population.calls(readable.known, OCTOBER, NUMBER)
