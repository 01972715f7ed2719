"""What `check` asks of the world: each answer is one line that says what is wrong and how to mend it.

Nothing is changed anywhere but for one small object in the bucket, which is deleted again where the rights allow it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import ParamSpec

from recvault.discovery import subaccounts
from recvault.errors import ConfigError, EndpointRefused, NotFound, RecvaultError, Refused, StoreRefused
from recvault.models import ACCOUNT, Window
from recvault.runtime import Runtime
from recvault.spool import SpoolFull
from recvault.store import Put

P = ParamSpec("P")

_CLOCK_TOLERANCE = timedelta(minutes=1)
_PROBE = b"recvault check\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that was checked."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    exit_code: int = 0


def offline(runtime: Runtime) -> Iterator[Probe]:
    """The configuration is sound already; ledger and spool have a place, and secrets can be had."""
    yield _probe("ledger", _ledger, runtime)
    yield _probe("spool", _spool, runtime)
    for source in runtime.settings.sources:
        yield _probe(f"source {source.name}: settings", _settings, runtime, source.name)


def online(runtime: Runtime) -> Iterator[Probe]:
    """Every source and the bucket answer, with the rights that archiving needs."""
    for source in runtime.settings.sources:
        yield _probe(f"source {source.name}: list", _list, runtime, source.name)
        if source.subaccounts:
            yield _probe(f"source {source.name}: sub-accounts", _accounts, runtime, source.name)
    yield (put := _probe("bucket: put and conditional put", _put, runtime))
    if not put.ok:
        return  # the rest would say the same again
    yield _probe("bucket: get", _get, runtime)
    yield _probe("bucket: delete of the probe", _delete, runtime)


def _probe(name: str, ask: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Probe:
    try:
        return Probe(name=name, ok=True, detail=ask(*args, **kwargs))
    except (NotFound, Refused) as error:
        refused = EndpointRefused(error.message, "check the source's base_url and account")
        return Probe(name=name, ok=False, detail=refused.message, hint=refused.hint, exit_code=refused.exit_code)
    except RecvaultError as error:
        return Probe(name=name, ok=False, detail=error.message, hint=error.hint, exit_code=error.exit_code)


def _ledger(runtime: Runtime) -> str:
    path = runtime.settings.ledger.path
    if not path.parent.is_dir():
        raise ConfigError(f"its directory {path.parent} does not exist", "create it, or mend ledger.path")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written by this user", "run as the service's user, or mend its rights")
    return f"{path}{'' if path.exists() else ', made by the first sync'}"


def _spool(runtime: Runtime) -> str:
    settings = runtime.settings.transfer
    place = next(each for each in (settings.spool_dir, *settings.spool_dir.absolute().parents) if each.exists())
    if not os.access(place, os.W_OK):
        raise ConfigError(f"{settings.spool_dir} cannot be written by this user", "mend its rights, or spool_dir")
    free = shutil.disk_usage(place).free
    if free < settings.min_free_disk:
        raise SpoolFull(f"{settings.spool_dir} has {free} bytes free, less than min_free_disk", "free some")
    return f"{settings.spool_dir}, {free >> 30} GiB free"


def _settings(runtime: Runtime, name: str) -> str:
    lines = runtime.lines(name)
    return f"{lines.provider.name}, account {lines.provider.account_id}, at {lines.provider.base_url}"


def _list(runtime: Runtime, name: str) -> str:
    """The newest page of a day's list, and the provider's clock beside ours."""
    lines = runtime.lines(name)
    line = lines(lines.provider.account_id)
    before = runtime.clock()
    request = line.provider.list_request(Window(since=before - timedelta(days=1)), ACCOUNT)
    page, reply = next(line.session.pages(line.provider, request))
    rows = f"the list answers: {len(page.recordings)} recordings of the last day on its first page"
    if page.rejected:
        raise RecvaultError(f"{len(page.rejected)} rows of the list cannot be read: {page.rejected[0].reason}")
    with contextlib.suppress(KeyError, ValueError, TypeError):
        _check_clock(parsedate_to_datetime(reply.headers["date"]), before, runtime.clock())
    return rows


def _check_clock(theirs: datetime, before: datetime, after: datetime) -> None:
    off = theirs - after if theirs > after else before - theirs
    if off > _CLOCK_TOLERANCE:
        raise RecvaultError(
            f"this machine's clock is {round(off.total_seconds())} s off the provider's", "set it by NTP"
        )


def _accounts(runtime: Runtime, name: str) -> str:
    lines = runtime.lines(name)
    line = lines(lines.provider.account_id)
    return f"{len(list(subaccounts(line.provider, line.session)))} active accounts"


def _put(runtime: Runtime) -> str:
    facts = runtime.prepare_store(ask_again=True)
    body = Put(
        key=_key(runtime),
        body=BytesIO(_PROBE),
        bytes=len(_PROBE),
        sha256=hashlib.sha256(_PROBE).hexdigest(),
        content_type="text/plain",
        metadata={"sha256": hashlib.sha256(_PROBE).hexdigest()},
    )
    runtime.store.put(body)
    conditional = (
        "conditional puts are honoured" if facts.conditional else "conditional puts are ignored: keys are compared"
    )
    return f"{facts.proof}; {conditional}"


def _get(runtime: Runtime) -> str:
    body = runtime.store.get(_key(runtime))
    if body != _PROBE:
        raise RecvaultError("the probe reads back otherwise than it was written", "this store cannot be trusted")
    return "what was put reads back the same"


def _delete(runtime: Runtime) -> str:
    try:
        runtime.store.delete(_key(runtime))
    except StoreRefused:
        return f"refused, which is well: archiving needs no such right ({_key(runtime)} stays, {len(_PROBE)} bytes)"
    return "deleted (archiving itself never deletes, and needs no such right)"


def _key(runtime: Runtime) -> str:
    return runtime.keys.schema_key.replace("sidecar-v1.json", "check-probe.txt")
