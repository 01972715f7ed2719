"""What the bucket must provide: a put that is stored, a get; and tests that its kind of store adds."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from io import BytesIO

from recvault.app.runtime import Runtime
from recvault.check.probe import Notice, Probe, probe
from recvault.errors import RecvaultError, StoreRefused
from recvault.models import Phase, Recording
from recvault.store import Inspection, Put

_PROBE = b"recvault check\n"


def answers(runtime: Runtime) -> Iterator[Probe]:
    """Test the bucket. If it cannot be reached at all, skip the rest."""
    yield probe("bucket: keys", _keys, runtime)
    inspection = runtime.store.inspection(runtime.clock)
    for question in inspection.before(runtime.keys.root):
        yield (found := probe(f"bucket: {question.name}", question.ask))
        if question.needed and not found.ok and found.code not in inspection.lesser:
            return
    yield (put := probe("bucket: put and conditional put", _put, runtime, inspection))
    if not put.ok:
        return
    for question in inspection.after(runtime.keys.schema_key):
        yield probe(f"bucket: {question.name}", question.ask)
    yield probe("bucket: get", _get, runtime, inspection)
    yield probe("bucket: delete of the probe", _delete, runtime)


def _keys(runtime: Runtime) -> str:
    """Show an example key; a template is checked when it is read."""
    named = next((runtime.provider(source.name) for source in runtime.settings.sources), None)
    sample = Recording(
        provider=named.provider if named else "acme",
        api=named.api if named else "v1",
        account_id=named.account_id if named else "A1",
        recording_id="RE4567",
        created_at=runtime.clock(),
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
    )
    return f"example key of a recording: {runtime.keys(sample, 'wav')}"


def _put(runtime: Runtime, inspection: Inspection) -> str | Notice:
    with _explained(inspection, "put"):
        facts = runtime.prepare_store(ask_again=True, make=True)
        sha256 = hashlib.sha256(_PROBE).hexdigest()
        runtime.store.put(
            Put(
                key=_key(runtime),
                body=BytesIO(_PROBE),
                bytes=len(_PROBE),
                sha256=sha256,
                content_type="text/plain",
                metadata={"sha256": sha256},
            )
        )
    if facts.conditional:
        return f"{facts.proof}; conditional puts are honoured"
    return Notice(
        f"{facts.proof}; conditional puts are ignored: recvault checks each key before it writes",
        "let only one machine write to this bucket, or use a store that honours If-None-Match",
    )


def _get(runtime: Runtime, inspection: Inspection) -> str:
    with _explained(inspection, "get"):
        body = runtime.store.get(_key(runtime))
    if body != _PROBE:
        raise RecvaultError("the probe object reads back changed", "do not use this store")
    return "the probe object reads back unchanged"


def _delete(runtime: Runtime) -> str:
    try:
        runtime.store.delete(_key(runtime))
    except StoreRefused:
        return (
            f"refused, which is fine: archiving needs no permission to delete ({_key(runtime)} stays, {len(_PROBE)} "
            "bytes)"
        )
    return "deleted (archiving never deletes and needs no permission for it)"


@contextlib.contextmanager
def _explained(inspection: Inspection, verb: str) -> Iterator[None]:
    """Add the hint of this kind of store to a refusal."""
    try:
        yield
    except StoreRefused as refusal:
        raise inspection.explained(verb, refusal) from refusal


def _key(runtime: Runtime) -> str:
    return runtime.keys.schema_key.replace("sidecar-v1.json", "check-probe.txt")
