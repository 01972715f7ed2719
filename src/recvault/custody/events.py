"""The audit trail: who ran what, when, and on whose reference. One record a run, put before it acts.

    events/date=2026-12-01/20261201T044500.000000Z-prune-1f3a….jsonl

It names the account that ran it, and no phone number: of the command line, the values of options that may hold one, and
whatever looks like one, are left out.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from recvault import __version__
from recvault.archive import EVENTS
from recvault.custody.records import Records, RecordSchema, record_key
from recvault.log.lines import redact_text
from recvault.models import JSON, stamp

_LEFT_OUT = {"--number": "[number]", "--reference": "[above]", "--reason": "[above]"}
_NUMBER = re.compile(r"(?<![\w.+-])\+?\(?\d[\d() ./-]{5,}\d(?![\w-])")


def tell(
    records: Records,
    act: str,
    *,
    now: datetime,
    reference: str | None = None,
    facts: Iterable[Mapping[str, Any]] = ({},),
    command: Sequence[str] | None = None,
) -> str:
    """Put the record of a run that is about to act, a line for each of `facts`; return its path.

    Raises what the store raises: then the act must not happen. `facts` are written as they are: no number, no name.
    """
    at = now.astimezone(UTC)
    name = f"{at:%Y%m%dT%H%M%S.%fZ}-{act.replace(' ', '-')}-{secrets.token_hex(8)}"
    path = record_key(EVENTS, name, ext="jsonl", date=f"{at:%Y-%m-%d}")
    run: JSON = {
        "act": act,
        "at": stamp(now),
        **_who(),
        "reference": None if reference is None else redact_text(reference),
        "command": list(_shown(sys.argv[1:] if command is None else command)),
    }
    records.put_lines(path, RecordSchema.EVENTS, ({**run, **each} for each in facts))
    return path


def events(records: Records, days: Iterable[date] | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield the lines of all records, or of those of these days, oldest first. Raises ValueError for one that is not
    recvault's."""
    roots = [EVENTS] if days is None else [f"{EVENTS}date={day:%Y-%m-%d}/" for day in days]
    for path in (path for root in roots for path in records.paths(root)):
        record = records.read(path)
        if record is not None:
            yield from record.documents


def _who() -> JSON:
    """Return which account of which host runs this; `sudo_user` is as sudo says."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:  # a user without a name, as in a container
        user = str(uid)
    sudo_user = os.environ.get("SUDO_USER") if uid == 0 else None  # anybody else could set it
    return {"user": user, "sudo_user": sudo_user, "host": socket.gethostname(), "version": __version__}


def _shown(command: Sequence[str]) -> Iterator[str]:
    """Yield the words of a command line, without what may be a number or a secret."""
    left_out = None
    for word in command:
        option, equals, _ = word.partition("=")
        if left_out is not None:
            yield left_out
            left_out = None
        elif option in _LEFT_OUT:
            yield f"{option}={_LEFT_OUT[option]}" if equals else option
            left_out = None if equals else _LEFT_OUT[option]
        else:
            yield _NUMBER.sub(_without_number, redact_text(word))


def _without_number(found: re.Match[str]) -> str:
    try:
        datetime.fromisoformat(found[0])
    except ValueError:
        return "[number]"
    return found[0] if "-" in found[0] else "[number]"  # 20261201 may be a number
