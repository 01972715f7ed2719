"""One check, and how its answer or error becomes a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

from recvault.errors import EndpointRefused, NotFound, RecvaultError, Refused
from recvault.log.lines import get_logger
from recvault.store import Notice

__all__ = ["Notice", "Probe", "probe"]

P = ParamSpec("P")
log = get_logger("recvault.check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The result of one check. One that is `ok` but has a hint is a notice."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    exit_code: int = 0
    status: int | None = None  # of HTTP, if an answer is the cause
    code: str = ""  # the store's own name for the cause


def probe(name: str, ask: Callable[P, str | Notice], *args: P.args, **kwargs: P.kwargs) -> Probe:
    """Run a check, and turn its answer or error into one line."""
    try:
        answer = ask(*args, **kwargs)
    except (NotFound, Refused) as error:
        refused = EndpointRefused(error.message, "check the source's base_url and account")
        return _failed(name, refused.answered(error.status))
    except RecvaultError as error:
        return _failed(name, error)
    except Exception as error:  # a bug in one check must not prevent the others
        log.error("check.bug", check=name, exc_info=True)
        unexpected = RecvaultError(f"the check itself failed: {type(error).__name__}", "see the traceback in the log")
        return _failed(name, unexpected)
    if isinstance(answer, Notice):
        return Probe(name=name, ok=True, detail=answer.detail, hint=answer.hint)
    return Probe(name=name, ok=True, detail=answer)


def _failed(name: str, error: RecvaultError) -> Probe:
    return Probe(
        name=name,
        ok=False,
        detail=error.message,
        hint=error.hint,
        exit_code=error.exit_code,
        status=error.status,
        code=error.code,
    )
