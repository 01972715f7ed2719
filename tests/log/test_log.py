"""Logs: one line per event, without anything that must not leave."""

from __future__ import annotations

import enum
import io
import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from recvault.log import lines as module
from recvault.log.lines import configure, get_logger, redact, redact_text
from recvault.log.masking import hide

SIGNED = "https://media.example/a.wav?X-Amz-Signature=0123abcd&X-Amz-Expires=600"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def unconfigured() -> None:
    """Each test begins without logging set up."""
    structlog.reset_defaults()


def logged(verbosity: int = 0, **event: Any) -> dict[str, Any]:
    stream = io.StringIO()
    configure(format="json", verbosity=verbosity, stream=stream)
    get_logger("recvault.test").info("transfer.archived", **event)
    line: dict[str, Any] = json.loads(stream.getvalue())
    return line


def test_an_event_is_one_line_of_json() -> None:
    """An event is one JSON line with time (UTC), level and event first; numbers stay numbers."""
    line = logged(bytes=123456789012, ok=True, none=None, share=0.5)
    assert list(line)[:3] == ["ts", "level", "event"]
    assert (line["level"], line["event"], line["logger"]) == ("info", "transfer.archived", "recvault.test")
    assert abs((datetime.now(UTC) - datetime.fromisoformat(line["ts"])).total_seconds()) < 60
    assert (line["bytes"], line["ok"], line["none"], line["share"]) == (123456789012, True, None, 0.5)


def test_json_unless_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets readable lines, in colour unless NO_COLOR is set; everything else gets JSON."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown: dict[str, str] = {}
    for name, stream, no_color in (("pipe", io.StringIO(), ""), ("screen", Screen(), ""), ("plain", Screen(), "1")):
        monkeypatch.setenv("NO_COLOR", no_color)
        configure(format=None, verbosity=0, stream=stream)
        get_logger("recvault").info("daemon.started")
        shown[name] = stream.getvalue()
    assert json.loads(shown["pipe"])["event"] == "daemon.started"
    assert "\x1b[" in shown["screen"]
    assert "\x1b[" not in shown["plain"]
    assert "daemon.started" in shown["plain"]


def test_console_in_a_pipe_has_no_colours() -> None:
    """The console format in a pipe has no colours."""
    stream = io.StringIO()
    configure(format="console", verbosity=0, stream=stream)
    get_logger("recvault").info("daemon.started", to="+14155550100")
    assert "\x1b" not in stream.getvalue()
    assert "to=+[number]" in stream.getvalue()


@pytest.mark.parametrize(
    ("verbosity", "levels"), [(1, ["debug", "info", "warning"]), (0, ["info", "warning"]), (-1, ["warning"])]
)
def test_verbosity(verbosity: int, levels: list[str]) -> None:
    """-v logs more and -q less, for our own and other loggers."""
    stream = io.StringIO()
    configure(format="json", verbosity=verbosity, stream=stream)
    for log in (get_logger("recvault"), logging.getLogger("other")):
        for level in ("debug", "info", "warning"):
            getattr(log, level)("x")
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == levels * 2


@pytest.mark.parametrize(
    "name", ["httpx", "httpcore.http11", "botocore", "boto3", "urllib3.connectionpool", "apscheduler"]
)
def test_libraries_are_quiet(name: str) -> None:
    """Libraries that log URLs log only from WARNING up, even with -v, and redacted."""
    stream = io.StringIO()
    configure(format="json", verbosity=1, stream=stream)
    logging.getLogger(name).info("GET %s", SIGNED)
    assert stream.getvalue() == ""
    logging.getLogger(name).warning("GET %s", SIGNED)
    assert json.loads(stream.getvalue())["event"] == "GET https://media.example/a.wav?[cut]"


def test_configuring_again_replaces_the_lines() -> None:
    """After a second set-up each event is written once, to the new stream."""
    first, second = io.StringIO(), io.StringIO()
    configure(format="json", verbosity=0, stream=first)
    configure(format="json", verbosity=0, stream=second)
    get_logger("recvault").info("x")
    assert (first.getvalue(), len(second.getvalue().splitlines())) == ("", 1)


_OTHERS_FIRST = """
import logging, sys
from recvault.log.lines import configure, get_logger
from recvault.log.masking import hide
hide("s3cret-of-a-line")
configure(format="json", verbosity=0)
assert "structlog" not in sys.modules
{first}
try:
    raise ValueError("s3cret-of-a-line")
except ValueError:
    get_logger("recvault").exception("job.failed", job="hints", to="+14155550100")
"""


@pytest.mark.parametrize("first", ["logging.getLogger('asyncio').warning('slow s3cret-of-a-line')", "import structlog"])
def test_an_event_is_whole_whoever_needs_structlog_first(first: str) -> None:
    """After a line of a library, or an import by one, an event has its fields and traceback, and is masked."""
    command = [sys.executable, "-c", _OTHERS_FIRST.format(first=first)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    line = json.loads(said.splitlines()[-1])
    assert (line["event"], line["level"], line["job"], line["to"]) == ("job.failed", "error", "hints", "+[number]")
    assert "Traceback (most recent call last)" in line["exception"]
    assert "s3cret" not in said


def test_a_stream_that_is_gone_costs_nothing() -> None:
    """A line that cannot be written is dropped, and nothing is shown raw."""
    stream = io.StringIO()
    configure(format="json", verbosity=0, stream=stream)
    stream.close()
    get_logger("recvault").info("x")


def test_before_configure_nothing_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Without set-up nothing is logged to stdout."""
    get_logger("recvault").info("x", to="+14155550100")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("format", ["json", "console"])
def test_tracebacks_have_no_locals_and_are_redacted(format: Any) -> None:
    """Tracebacks are redacted, and have no local variables."""
    stream = io.StringIO()
    configure(format=format, verbosity=0, stream=stream)

    def failing() -> None:
        local = "value-of-a-local"
        raise ValueError(SIGNED + len(local) * "\nforged line")

    for log in (get_logger("recvault"), logging.getLogger("other")):
        try:
            failing()
        except ValueError:
            log.exception("request.failed")
    text = stream.getvalue()
    assert text.count("Traceback (most recent call last)") == 2
    assert "in failing" in text
    assert "0123abcd" not in text
    assert "Signature" not in text
    assert text.count("value-of-a-local") == 2 * ('local = "value' in text)  # in the code at most, never as a local
    assert not any(line.startswith("forged") for line in text.splitlines())


class Colour(enum.StrEnum):
    RED = "red"


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError


def test_values_of_any_kind_become_redacted_text() -> None:
    """Exceptions, URLs, paths and unknown objects are redacted at any depth."""
    hide("s3cret-token")
    line = logged(
        error=ValueError("token s3cret-token"),
        url=httpx.URL(SIGNED),
        path=Path("/x/+14155550100.wav"),
        body=b"Bearer abcdefgh",
        deep={"a": [{"b": ("s3cret-token", 7)}], "s3cret-token": 1},
        moment=datetime(2026, 1, 2, tzinfo=UTC),
        colour=Colour.RED,
        infinite=float("inf"),
        unwritable=Unwritable(),
    )
    del line["ts"], line["level"], line["event"], line["logger"]
    assert line == {
        "error": "token [hidden]",
        "url": "https://media.example/a.wav?[cut]",
        "path": "/x/+[number].wav",
        "body": "b'Bearer [hidden]'",
        "deep": {"a": [{"b": ["[hidden]", 7]}], "[hidden]": 1},
        "moment": "2026-01-02 00:00:00+00:00",
        "colour": "red",
        "infinite": "inf",
        "unwritable": "<Unwritable>",
    }


def test_a_cycle_does_not_hang() -> None:
    """A value that contains itself is cut off."""
    cycle: list[Any] = ["+14155550100"]
    cycle.append(cycle)
    assert "14155550100" not in json.dumps(redact(None, "info", {"event": "x", "cycle": cycle}))


def test_headers_are_masked_by_their_names() -> None:
    """A credential's header is hidden, whatever its scheme."""
    headers = {"Authorization": "opaque-token", "Accept": "audio/wav"}
    assert redact(None, "info", {"headers": headers})["headers"] == {"Authorization": "[hidden]", "Accept": "audio/wav"}


def test_context_is_redacted_too() -> None:
    """Values bound to the context are redacted, too."""
    structlog.contextvars.bind_contextvars(caller="+14155550100")
    assert logged()["caller"] == "+[number]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"GET {SIGNED} 403", "GET https://media.example/a.wav?[cut] 403"),
        ("'HTTP://X.example/?a=b'", "'HTTP://X.example/?[cut]'"),
        ("https://x.example/a?b (see it)", "https://x.example/a?[cut] (see it)"),
        ("https://AC1:token@x.example/a", "https://[hidden]@x.example/a"),
        ("url: /b/k?X-Amz-Signature=abc&x=1", "url: /b/k?X-Amz-Signature=[hidden]&x=1"),
        ("Authorization: Basic QUM6dG9r", "Authorization: [hidden]"),
        ("{'authorization': 'Bearer abc.def'}", "{'authorization': '[hidden]'}"),
        ("(b'Authorization', b'Basic QUM6dG9r')", "(b'Authorization', b'[hidden]')"),
        ("sent bearer KEY0123_456-7", "sent bearer [hidden]"),
        ("from +14155550100 to %2B442071838750", "from +[number] to +[number]"),
        ("\x1b[31mred\x07 a\r\nb\tc\u202ed", "\\x1b[31mred\\x07 a\\r\nb\tc\\u202ed"),
        ("RE1\u200b \u061cRE\u2066a\u2069 \ufeffb\xad", "RE1\\u200b \\u061cRE\\u2066a\\u2069 \\ufeffb\\xad"),
        ("RE1\U000e0041", "RE1\\U000e0041"),
        ("http://a?b=http://c?d https://e http://f?", "http://a?[cut] https://e http://f?[cut]"),
    ],
)
def test_what_is_masked(text: str, expected: str) -> None:
    """Queries, credentials and phone numbers are masked; control characters are escaped."""
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "RE0123456789abcdef0123456789abcdef",
        "14155550100",
        "1380000000 bytes",
        "2026-10-01T00:00:00+0000",
        "2026-10-01T00:00:00.123456+02:00",
        "+123456",
        "123e4567-e89b-12d3-a456-426614174000",
        "https://api.twilio.com/2010-04-01/Accounts/AC1/Recordings.json",
        "what? nothing",
        "é ✓ 日本",
    ],
)
def test_what_is_not_masked(text: str) -> None:
    """Ids, byte counts, times, digits and plain URLs stay readable."""
    assert redact_text(text) == text


def test_hidden_secrets() -> None:
    """A secret is masked as it is, in a URL and in a repr; the longest first, and short ones not at all."""
    for secret in ("abc+/123", "abc+/123456", "tiny", 'quo"te\\s'):
        hide(secret)
    assert redact_text("abc+/123456 abc%2B%2F123 abc+/123 tiny") == "[hidden] [hidden] [hidden] tiny"
    assert redact_text(repr(['quo"te\\s'])) == "['[hidden]']"


def test_a_line_stays_a_line() -> None:
    """No value, key or event name can begin a new line or control a terminal."""
    for format in ("json", "console"):
        stream = io.StringIO()
        configure(format=format, verbosity=0, stream=stream)  # type: ignore[arg-type]
        get_logger("recvault").info("a\nb", **{"k\ne": "v\r\nlevel=error \x1b[2J"})
        logging.getLogger("other").warning("x\n%s", "y\x1b[2J")
        assert len(stream.getvalue().splitlines()) == 2
        assert "\x1b" not in stream.getvalue()


def test_a_value_of_megabytes_is_cut() -> None:
    """A very long value is cut after redaction, so that no part of a secret remains."""
    secret = "s3cr3t-of-ours"
    hide(secret)
    stream = io.StringIO()
    configure(format="json", verbosity=0, stream=stream)
    log = get_logger("recvault")
    log.info("a", recordings=["RE" * 10**6, "RE1"], body="x" * 8185 + secret)
    try:
        raise ValueError("y" * 10**6)
    except ValueError:
        log.info("b", exc_info=True)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["recordings"][0].endswith("RERE [cut: 2000000 characters]")
    assert first["recordings"][1] == "RE1"
    assert "s3cr" not in first["body"]
    assert "[cut: " in second["exception"] and len(stream.getvalue()) < 200_000


@examples(50)
@given(st.text(max_size=60), st.text("0123456789", min_size=7, max_size=15))
def test_no_number_behind_a_plus_is_left(around: str, number: str) -> None:
    """E.164 numbers are masked anywhere, and redacting twice changes nothing."""
    once = redact_text(f"{around} +{number} {around}")
    assert f"+{number}" not in once
    assert redact_text(once) == once
    assert not any(ord(character) < 32 and character not in "\n\t" for character in once)


PIECES = [
    "Authorization",
    "authoriZation",
    ":",
    "=",
    "token-1",
    "X-Amz-Signature",
    "x-amz-credential",
    "https://",
    "a.b",
]
PIECES += [
    "/",
    "?",
    "@",
    " ",
    "Basic",
    "bearer",
    "ba\u017fic",
    "abcdef123",
    "+",
    "%2B",
    "14155550100",
    "\n",
    "\x1b",
    "\u202e",
]


@examples(200)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_what_is_passed_at_a_glance_holds_nothing(text: str) -> None:
    """A text that counts as plain is one that masking would not change."""
    thorough = module._shown(module._masked(text), keep_breaks=False)
    assert module._line(text) == thorough


def test_a_plain_text_may_be_a_secret() -> None:
    """Plain letters and digits are also checked for hidden secrets, in values and keys."""
    hide("abcdef123")
    assert redact(None, "info", {"event": "x", "a": "abcdef123", "abcdef123": 1}) == {
        "event": "x",
        "a": "[hidden]",
        "[hidden]": 1,
    }


SPEAKS = """
import sys
from recvault.log.masking import hide
from recvault.log.lines import configure, get_logger, log_uncaught
configure(format=sys.argv[1], verbosity=1)
log = get_logger("recvault")
for level in ("debug", "info", "warning", "error", "critical"):
    getattr(log, level)(level)
"""
CRASHES = """
import sys, threading
from recvault.log.masking import hide
from recvault.log.lines import configure, get_logger, log_uncaught
from recvault.log.masking import hide
configure(format=sys.argv[1], verbosity=0)
log_uncaught()
hide("s3cret-token")
def thread():
    raise ValueError("+14155550100")
def leaves():
    sys.exit(3)
for each in (thread, leaves):
    worker = threading.Thread(target=each, name="worker-1")
    worker.start()
    worker.join()
try:
    raise KeyError("https://media.example/a.wav?X-Amz-Signature=0123abcd")
except KeyError as error:
    hidden_local = "value-" + "of-a-local"
    raise RuntimeError("sent s3cret" + "-token") from error
"""


def spoken(script: str, format: str, stream: IO[bytes], **env: str) -> int:
    """Run a script in a process whose stderr is this file; return its exit code."""
    command = [sys.executable, "-c", script, format]
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    return subprocess.run(command, stderr=stream, env=environment | env, check=False, timeout=60).returncode


def test_the_journal_learns_of_priorities(tmp_path: Path) -> None:
    """If the journal reads stderr, JSON lines have a priority prefix; otherwise not."""
    with (tmp_path / "journal").open("w+b") as journal, (tmp_path / "other").open("w+b") as other:
        status = os.fstat(journal.fileno())
        named = f"{status.st_dev}:{status.st_ino}"
        assert spoken(SPEAKS, "json", journal, JOURNAL_STREAM=named) == 0
        assert spoken(SPEAKS, "json", other, JOURNAL_STREAM=named) == 0
        assert spoken(SPEAKS, "json", other, JOURNAL_STREAM="nonsense") == 0
        journal.seek(0)
        lines = journal.read().decode().splitlines()
        assert spoken(SPEAKS, "console", journal, JOURNAL_STREAM=named) == 0
        for_people = (tmp_path / "journal").read_text().splitlines()[5:]
        others = (tmp_path / "other").read_text().splitlines()
    assert [line[:4] for line in lines] == ["<7>{", "<6>{", "<4>{", "<3>{", "<2>{"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["debug", "info", "warning", "error", "critical"]
    assert [line[0] for line in others] == ["{"] * 10
    assert [line[0] for line in for_people] == ["2"] * 5


def test_a_stream_without_a_file_is_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without a file descriptor is written without prefix."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    stream = io.StringIO()
    configure(format="json", verbosity=0, stream=stream)
    get_logger("recvault").info("x")
    assert json.loads(stream.getvalue())["event"] == "x"


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_crash_is_logged_and_redacted(tmp_path: Path, format: str) -> None:
    """An uncaught error in any thread is logged with a redacted traceback, without locals; the exit code is 1."""
    with (tmp_path / "log").open("w+b") as log:
        assert spoken(CRASHES, format, log) == 1
        log.seek(0)
        text = log.read().decode()
    assert not any(each in text for each in ("s3cret-token", "0123abcd", "14155550100", "value-of-a-local"))
    assert all(each in text for each in ("ValueError: +[number]", "RuntimeError: sent [hidden]", "a.wav?[cut]"))
    if format == "json":
        events = [json.loads(line) for line in text.splitlines()]
        assert [(each["level"], each["event"], each.get("thread")) for each in events] == [
            ("critical", "crash", "worker-1"),
            ("critical", "crash", None),
        ]
    else:
        assert text.count("\n    RuntimeError: sent [hidden]\n") == 1


def test_a_crash_that_cannot_be_logged_is_not_shown_raw(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """If even logging fails, only the error's class is shown."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(module, "get_logger", lambda name: 1 / 0)
    module.log_uncaught()
    error = RuntimeError("s3cret")
    sys.excepthook(RuntimeError, error, None)
    assert capfd.readouterr().err == "recvault: crashed by RuntimeError, which could not be logged\n"
