"""Set up logs, and keep secrets and personal data out of them.

At any time no line contains a known secret, a URL's query, an Authorization header, a phone number in international
form or a control character: `redact` is the last step before a line is rendered, for our own events and those of
third-party libraries. Tracebacks are written without local variables.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast
from urllib.parse import unquote

from recvault.log.masking import HIDDEN, hide, mask

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger
    from structlog.typing import EventDict, WrappedLogger

_STRUCTLOG = "structlog"
QUIET = ("httpx", "httpcore", "botocore", "boto3", "s3transfer", "urllib3", "apscheduler")
"""Libraries that log only from WARNING up: at INFO httpx logs complete signed URLs."""
_DEEPEST = 8
_LONGEST = 8192  # characters of one value, 64 KiB of a traceback: a provider may send an id of megabytes
_FIRST = ("ts", "level", "event")
_PARAGRAPHS = frozenset({"exception", "stack"})  # keep their line breaks, indented
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "x-amz-security-token"})


def configure(*, format: Literal["json", "console"] | None, verbosity: int, stream: TextIO | None = None) -> None:
    """Write events to `stream` (stderr): JSON lines, or readable ones on a terminal or if `format` is console.

    `verbosity` is 0 for info, positive for debug, negative for warnings only. May be called again. JSON for the journal
    has a priority prefix, see sd-daemon(3).
    """
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy"):
            _hide_user(value)
    target = stream or sys.stderr
    on_terminal = target.isatty()
    console = format == "console" or (format is None and on_terminal)
    colours = console and on_terminal and not os.environ.get("NO_COLOR")
    lines = _Lines(target)
    lines.setFormatter(_Formatter(console=console, colours=colours, journal=_is_journal(target)))
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _Lines)] + [lines]
    root.setLevel(logging.DEBUG if verbosity > 0 else logging.WARNING if verbosity < 0 else logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    _Deferred.is_configured = True
    if _STRUCTLOG in sys.modules:  # else the first event adopts it, whoever loads structlog until then
        from recvault.log import rendering

        rendering.adopt_formatter()


class _Formatter(logging.Formatter):
    """Renders by structlog, which is loaded for the first line: most answers are given without any."""

    def __init__(self, *, console: bool, colours: bool, journal: bool) -> None:
        super().__init__()
        self._chosen = {"console": console, "colours": colours, "journal": journal}
        self._real: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        if self._real is None:
            from recvault.log import rendering

            self._real = rendering.formatter(redact, **self._chosen)
        return self._real.format(record)


class _Deferred:
    """A logger that loads structlog when it first writes a line."""

    is_configured = False  # `configure` was called: structlog is to hand events to the handlers' formatters

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        level = logging.getLevelName(method.upper())
        is_needless = isinstance(level, int) and not logging.getLogger(self._name).isEnabledFor(level)
        if _STRUCTLOG not in sys.modules and is_needless:
            return _write_nothing
        from recvault.log import rendering

        return getattr(rendering.logger(self._name, redact, has_formatter=_Deferred.is_configured), method)


def _write_nothing(*args: Any, **keys: Any) -> None:
    pass


def _hide_user(url: str) -> None:
    """Hide the user and password in a URL, such as a proxy's, which a library may log in its own form."""
    user, at, _ = url.rpartition("://")[2].rpartition("@")
    for each in (user, user.partition(":")[2]) if at else ():
        hide(each)
        hide(unquote(each))


def get_logger(name: str) -> BoundLogger:
    """Return the logger of that name. Before `configure`, it writes only warnings to stderr, redacted."""
    return cast("BoundLogger", _Deferred(name))


def log_uncaught() -> None:
    """Log uncaught exceptions as the event `crash`: Python would print them raw, with secrets."""
    sys.excepthook = _log_crash
    threading.excepthook = _log_thread_crash


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Redact every text of an event, at any depth: structlog's last step before the renderer."""
    ordered = {**{key: event[key] for key in _FIRST if key in event}, **event}
    return {_line(str(key)): _redacted(value, name=str(key)) for key, value in ordered.items()}


def redact_text(text: str) -> str:
    """Mask secrets, URL queries, credentials and phone numbers, and escape control characters; line breaks stay."""
    return _redacted_text(text, keep_breaks=True)


def visible_text(text: str) -> str:
    """Escape control characters on one line, and mask nothing: for what a person asked to read."""
    return _shown(text, keep_breaks=False)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes log lines. One that cannot be written is dropped, never printed raw as logging would."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        pass


_AUTHORIZATION = re.compile(
    r"""(authorization["']?\s*[:=,]\s*(?:b?["'])?)[^\s"',}\])]+(?:\s+[^\s"',}\])]+)?""", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(Basic|Bearer)\s+[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
_USER = re.compile(r"([a-z][a-z0-9+.-]{1,20}://)[^\s/?#\"'<>@]*@", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s\"'<>]*", re.IGNORECASE)  # matched whole: a search for the query takes quadratic time
_SIGNATURE = re.compile(  # in a URL, or in a header as libraries quote it
    r"(X-Amz-(?:Signature|Credential|Security-Token)[\"']?(?:=|\s?[:,]\s?)(?:b?[\"'])?)[^\s&\"']+", re.IGNORECASE
)
_SIGNED = re.compile(r"\b(AWS4-[A-Z0-9-]{1,40}\s+)Credential=(?:.{0,600}?Signature=[0-9a-f]*|[^\s\"']*)", re.DOTALL)
_PHONE = re.compile(r"(?<![0-9])(?:\+|%2B)[0-9]{7,15}(?![0-9])", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_./:=-]*")  # of these, only the two names below need masking
_CONTROL = re.compile(  # also invisible and direction-changing ones: two ids must not look alike
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _redacted_text(text: str, *, keep_breaks: bool) -> str:
    text = mask(text)
    return text if _is_plain(text) else _shown(_masked(text), keep_breaks=keep_breaks)


def _is_plain(text: str) -> bool:
    """Whether nothing must be masked or escaped. Fast, and true for most values."""
    if _PLAIN.fullmatch(text) is None:
        return False
    folded = text.lower()
    return "authorization" not in folded and "x-amz-" not in folded


def _masked(text: str) -> str:
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _URL.sub(_without_query, text)
    text = _SIGNED.sub(rf"\1{HIDDEN}", text)
    text = _SIGNATURE.sub(rf"\1{HIDDEN}", text)
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    return _PHONE.sub("+[number]", text)


def _without_query(url: re.Match[str]) -> str:
    address, mark, _ = url[0].partition("?")
    return f"{address}?[cut]" if mark else address


def _shown(text: str, *, keep_breaks: bool) -> str:
    def visible(match: re.Match[str]) -> str:
        character = match[0]
        if keep_breaks and character in "\n\t":
            return character
        code = ord(character)
        if code < 0x100:
            return _NAMED.get(character) or f"\\x{code:02x}"
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

    return _CONTROL.sub(visible, text)


def _line(text: str) -> str:
    return _cut(_redacted_text(text, keep_breaks=False), _LONGEST)


def _paragraph(text: str) -> str:
    """Indent all lines after the first, so that none can be taken for a log line."""
    return _cut(redact_text(text), 8 * _LONGEST).replace("\n", "\n    ")


def _cut(text: str, most: int) -> str:
    """Truncate a redacted text: half a secret would not be recognised."""
    return text if len(text) <= most else f"{text[:most]} [cut: {len(text)} characters]"


def _redacted(value: Any, *, name: str = "", depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if name.lower() in _CREDENTIALS:
        return HIDDEN
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {_line(_text(key)): _redacted(each, name=_text(key), depth=depth + 1) for key, each in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each, depth=depth + 1) for each in value]
    return _paragraph(_text(value)) if depth == 0 and name in _PARAGRAPHS else _line(_text(value))


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be formatted must not lose the line
        return f"<{type(value).__name__}>"


def _is_journal(stream: TextIO) -> bool:
    """Whether the journal reads this stream. systemd names its device and inode, which differ after a redirection."""
    said = os.environ.get("JOURNAL_STREAM")
    if not said:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return said == f"{found.st_dev}:{found.st_ino}"


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None, **keys: Any) -> None:
    try:
        get_logger("recvault").critical("crash", exc_info=(kind, error, trace), **keys)
    except Exception:  # noqa: BLE001 - else Python would print the first error raw
        os.write(2, f"recvault: crashed by {kind.__name__}, which could not be logged\n".encode())


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_type is SystemExit:
        return  # a normal end of a thread
    error = BaseException() if crash.exc_value is None else crash.exc_value
    thread = crash.thread.name if crash.thread else None
    _log_crash(crash.exc_type, error, crash.exc_traceback, thread=thread)
