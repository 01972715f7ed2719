"""structlog, which makes lines of events: loaded when the first one is written, as it takes a tenth of a second.

`redact` is the last step before a line is rendered, for our own events and those of third-party libraries.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any

from recvault.log.lean_imports import without

with without("rich"):
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog's
_adopting = threading.Lock()  # structlog calls itself configured before it is: another thread's line would be unmasked


def formatter(redact: Processor, *, console: bool, colours: bool, journal: bool) -> logging.Formatter:
    """What renders the records of a handler, our own and others'."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_before(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            _for_people(colours) if console else _for_machines(journal=journal),
        ],
    )


def adopt_formatter() -> None:
    """Hand events to the handlers' formatters from now on."""
    with _adopting:
        _adopt(structlog.stdlib.ProcessorFormatter.wrap_for_formatter)


def logger(name: str, redact: Processor, *, has_formatter: bool) -> Any:
    """structlog's logger of that name; where no handler has a formatter of ours, it renders by itself."""
    with _adopting:
        if not structlog.is_configured():
            by_itself = redact, structlog.processors.KeyValueRenderer(key_order=["event"])
            _adopt(*((structlog.stdlib.ProcessorFormatter.wrap_for_formatter,) if has_formatter else by_itself))
    return _named(name)


@functools.cache
def _named(name: str) -> structlog.stdlib.BoundLogger:
    return structlog.stdlib.get_logger(name)


def _before() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.StackInfoRenderer(),
    ]


def _for_people(colours: bool) -> Processor:
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain, timestamp_key="ts", pad_event_to=24)


def _for_machines(*, journal: bool) -> Processor:
    plain = structlog.processors.JSONRenderer()
    if not journal:
        return plain

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        priority = _PRIORITIES.get(str(event.get("level")), _PRIORITIES["info"])
        return f"<{priority}>{plain(logger, method, event)!s}"

    return render


def _adopt(*last: Processor) -> None:
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_before(), *last],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
