"""What to do about a reason: a line for the operator, with commands that work as they are typed."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import click

from recvault.errors import UnknownName


class _Hint(NamedTuple):
    words: str
    command: str = ""  # {id} stands for a recording with that reason
    retries: bool = True  # whether dead recordings may be retried once the cause is gone


_LOST = "recvault failures accept {id} --reason 'the provider lost it'"

# The longest beginning that fits counts.
_HINTS: Mapping[str, _Hint] = {
    "credentials": _Hint("the provider refuses the credentials", "recvault check"),
    "provider.denied": _Hint(
        "check in the provider's console who may read it; if nobody can, accept the loss",
        "recvault failures accept {id} --reason 'nobody may read it'",
    ),
    "provider.refused": _Hint("report the provider's answer if it can be played there", "recvault show {id}"),
    "provider": _Hint("the provider does not answer as it should; test it now", "recvault check"),
    "store.key_conflict": _Hint("another object occupies its key: move that away", "recvault show {id}"),
    "store": _Hint("the bucket refuses or does not answer", "recvault check"),
    "spool": _Hint("free space in transfer.spool_dir; what waits then continues"),
    "config": _Hint("the configuration is wrong", "recvault check"),
    "media.unsafe_address": _Hint("if the host is yours, add it to the source's media_hosts", "recvault show {id}"),
    "media.not_found": _Hint("if the provider cannot play it either, accept the loss", _LOST),
    "media": _Hint("play it in the provider's console, and compare", "recvault show {id}"),
    "recording": _Hint("wait: it is not finished at the provider yet", "recvault show {id}"),
    "worker": _Hint("if it happens again, report the recording's format and size", "recvault show {id}"),
    "unexpected": _Hint("a bug in recvault: report it with this bundle", "recvault support-bundle", retries=False),
}


# Every reason that a recording can have: a word that is none of them is a mistake, not an empty answer.
REASONS = (
    *("config.wrong", "credentials.refused", "drained", "media.document", "media.elsewhere", "media.empty"),
    *("media.encoded", "media.expired", "media.formats_missing", "media.magic", "media.no_url", "media.not_found"),
    *("media.not_there", "media.not_whole", "media.rejected", "media.suspect", "media.truncated"),
    *("media.unsafe_address", "provider.denied", "provider.refused", "provider.resting", "provider.unavailable"),
    *("recording.external", "recording.gone", "recording.missing", "recording.no_addresses", "recording.unfinished"),
    *("spool.full", "spool.too_small", "store.cold", "store.key_conflict", "store.key_refused", "store.key_taken"),
    *("store.refused", "store.unavailable", "unexpected", "worker.crashed", "worker.lost", "worker.unstarted"),
)


def check_reasons(reasons: Iterable[str], present: Iterable[str]) -> None:
    """Raise UnknownName for a reason that does not exist. `present`: those in the ledger, also of other versions."""
    met = sorted(set(present))
    for reason in reasons:
        if reason not in REASONS and reason not in met:
            near = difflib.get_close_matches(reason, [*met, *REASONS], n=1)
            guess = f"did you mean {near[0]}? " if near else ""
            among = f"in the ledger: {', '.join(met)}" if met else "no recording is dead or failing"
            raise UnknownName(f"there is no reason {reason}", f"{guess}{among}; all: {', '.join(REASONS)}")


def hint(row: Mapping[str, Any], typed: Callable[[str], str] = str) -> str:
    """What to do about recordings that failed alike: their reason, state and source, and one recording's id.

    `typed` makes a command what the operator must type. Empty where nothing is known.
    """
    words, commands = advice(row, typed)
    first, *again = (f"`{command}`" for command in commands) if commands else ("",)
    is_retry = commands and " retry " in commands[0]
    said = words if not first else f"{words}; then {first}" if is_retry else f"{words}: {first}"
    return f"{said}; then {again[0]}" if again else said


def advice(row: Mapping[str, Any], typed: Callable[[str], str] = str) -> tuple[str, list[str]]:
    """The same as a sentence and commands."""
    reason = str(row["reason"])
    fits = [beginning for beginning in _HINTS if reason == beginning or reason.startswith(beginning + ".")]
    if not fits:
        return "", []
    known = _HINTS[max(fits, key=len)]
    id_ = shlex.quote(f"{row['source']}:{row['recording_id']}")
    commands = [known.command.format(id=id_)] if known.command else []
    if row["state"] == "dead" and known.retries:
        commands.append(f"recvault retry --source {row['source']} --reason {shlex.quote(reason)}")
    return known.words, [typed(command) for command in commands]


def print_reasons(rows: Iterable[Mapping[str, Any]], typed: Callable[[str], str], width: int | None) -> None:
    """Each reason with its count, below it what to do; a command stands whole on its line, to be copied."""
    from recvault.cli.tables import cell, say
    from recvault.models import unstamp
    from recvault.timefmt import when

    for row in rows:
        since = when(unstamp(row["failing_since"]))
        say(f"{row['count']:>7,} {row['state']:<8}", f"{row['source']}  {row['reason']}  since {since}", width)
        words, commands = advice(row, typed)
        if words:
            say(_INDENT, words, width)
        for command in commands:
            click.echo(f"{_INDENT}{cell(command)}")


_INDENT = " " * 16
