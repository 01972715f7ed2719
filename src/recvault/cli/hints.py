"""What to do about a reason: one line for the operator, with a command that works as it is typed."""

from __future__ import annotations

from collections.abc import Mapping

# The longest beginning that fits counts.
_HINTS: Mapping[str, str] = {
    "credentials": "`recvault check`: the provider refuses the credentials",
    "provider.denied": "check in the provider's console who may read it; it is retried automatically; if nobody can, "
    "`recvault failures accept ID --reason TEXT`",
    "provider.refused": "`recvault show ID` has the provider's answer; report it if the recording can be played there",
    "provider": "wait: it is retried automatically; `recvault check` tests the provider now",
    "store.key_conflict": "another object occupies the key, see `recvault show ID`; move it, then retry",
    "store": "`recvault check`: the bucket refuses or does not answer",
    "spool": "free space in transfer.spool_dir; waiting recordings then continue automatically",
    "config": "`recvault check` lists what is wrong in the configuration",
    "media.unsafe_address": "if the host is yours, add it to the source's media_hosts",
    "media.not_found": "if the provider cannot play it either: `recvault failures accept ID --reason TEXT`",
    "media": "`recvault show ID` has details; play it in the provider's console, then retry",
    "recording": "wait: it is not finished at the provider yet",
    "worker": "`recvault retry ID`; if it happens again, report the recording's format and size",
    "unexpected": "a bug in recvault: report it with the traceback in the log",
}


def hint(reason: str) -> str:
    """What to do about failures with this reason; empty where nothing is known."""
    fits = [beginning for beginning in _HINTS if reason == beginning or reason.startswith(beginning + ".")]
    return _HINTS[max(fits, key=len)] if fits else ""
