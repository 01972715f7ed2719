"""What the bucket must give: a list, a put that holds what was asked for, a get; and what it says of itself."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from io import BytesIO

from recvault.app.runtime import Runtime
from recvault.check.asked import as_asked_for
from recvault.check.probe import Notice, Probe, probe
from recvault.config.models import Archive
from recvault.errors import ConfigError, RecvaultError, StoreRefused
from recvault.models import Phase, Recording
from recvault.store import Put, StoreFacts
from recvault.store.s3.botocore_errors import LACKS_A_RIGHT
from recvault.store.s3.bucket_questions import BucketLock, BucketQuestions, NotTold, Reached

_PROBE = b"recvault check\n"


def answers(runtime: Runtime) -> Iterator[Probe]:
    """Every line about the bucket. Where it cannot be reached at all, the rest would say the same again."""
    yield probe("bucket: keys", _keys, runtime)
    reached: list[Reached] = []
    yield (listed := probe("bucket: list", _list, runtime, reached))
    if not listed.ok and listed.code not in LACKS_A_RIGHT:
        return
    questions = BucketQuestions(runtime.store)
    for each in reached:
        if each.region not in (None, runtime.settings.archive.region):
            yield probe("bucket: region", _region, runtime, each)
    found = questions.lock()
    yield probe("bucket: Object Lock", _lock, runtime.settings.archive, found)
    yield (put := probe("bucket: put and conditional put", _put, runtime))
    if not put.ok:
        return
    yield probe("bucket: versions", _versions, runtime.store.facts, questions)
    yield probe("bucket: as asked for", as_asked_for, runtime, questions, found)
    yield probe("bucket: get", _get, runtime)
    yield probe("bucket: delete of the probe", _delete, runtime)


def _keys(runtime: Runtime) -> str:
    """A template is proven when it is read; here is what it makes."""
    sample = Recording(
        provider="twilio",
        api="2010-04-01",
        account_id="AC0123",
        recording_id="RE4567",
        created_at=runtime.clock(),
        status="completed",
        phase=Phase.COMPLETE,
        formats=("wav",),
    )
    return f"a recording's key is such as {runtime.keys(sample, 'wav')}"


def _list(runtime: Runtime, reached: list[Reached]) -> str:
    with _needs("s3:ListBucket"):
        reached.append(BucketQuestions(runtime.store).reach(runtime.keys.root))
    where = runtime.settings.archive
    return f"{where.bucket} answers{f' at {where.endpoint_url}' if where.endpoint_url else ''}"


def _region(runtime: Runtime, reached: Reached) -> str | Notice:
    configured = runtime.settings.archive.region
    if reached.elsewhere:
        raise BucketQuestions(runtime.store).other_region(reached.region or "")
    return Notice(
        f"the store says {reached.region}, and takes requests for {configured}",
        f'set archive.region = "{reached.region}"',
    )


def _lock(archive: Archive, found: BucketLock | NotTold) -> str | Notice:
    """What the bucket locks beside what is asked for. Whether a put keeps its lock is seen on the put."""
    asked = archive.object_lock
    wants = [f"{asked.mode} for {asked.days} days"] * (asked.mode != "none") + ["legal hold"] * asked.legal_hold
    if isinstance(found, NotTold):
        if not wants:
            return f"not known: {found.why}"
        hint = "see in the store itself whether it locks: some take the request and lock nothing"
        return Notice(f"whether the bucket has it is not known: {found.why}", hint)
    if not found.enabled and wants:
        raise ConfigError(
            f"object_lock asks for {' and '.join(wants)}, and the bucket has no Object Lock",
            'turn Object Lock on for the bucket, or set archive.object_lock = { mode = "none" }',
        )
    if not found.enabled:
        return "the bucket has none, and none is asked for"
    if wants:
        return f"the bucket has it, and each put asks for {' and '.join(wants)}"
    if found.mode:
        return f"each object is locked by the bucket's default: {found.mode} for {found.length}"
    return Notice(
        "nothing that is archived is locked: the bucket has Object Lock, but no default retention, and object_lock "
        "asks for none",
        'set archive.object_lock = { mode = "GOVERNANCE", days = … }, or a default retention on the bucket',
    )


def _put(runtime: Runtime) -> str | Notice:
    with _needs(*_put_rights(runtime.settings.archive)):
        facts = runtime.prepare_store(ask_again=True)
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
        f"{facts.proof}; conditional puts are ignored: keys are compared before each put",
        "let one machine alone write here, or use a store that honours If-None-Match",
    )


def _put_rights(archive: Archive) -> list[str]:
    """The rights that a put needs as it is configured."""
    rights = ["s3:PutObject"]
    rights += ["s3:PutObjectAcl"] * bool(archive.acl)
    rights += ["s3:PutObjectTagging"] * bool(archive.tags)
    rights += ["s3:PutObjectRetention"] * (archive.object_lock.mode != "none")
    rights += ["s3:PutObjectLegalHold"] * archive.object_lock.legal_hold
    rights += ["kms:GenerateDataKey"] * (archive.sse == "aws:kms")
    return rights


def _versions(facts: StoreFacts, questions: BucketQuestions) -> str:
    """Versions matter where two writers could meet: what is overwritten stays as an older one."""
    state = questions.versioning()
    if isinstance(state, NotTold):
        return f"not known: {state.why}"
    said = {"Enabled": "kept", "Suspended": "suspended: new objects have none", "Off": "not kept"}.get(state, state)
    return said if state == "Enabled" or facts.conditional else f"{said}: of two writers at once the later overwrites"


def _get(runtime: Runtime) -> str:
    with _needs("s3:GetObject"):
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


@contextlib.contextmanager
def _needs(*rights: str) -> Iterator[None]:
    """A refusal names the rights that would mend it. Of unknown or expired credentials it says so by itself."""
    try:
        yield
    except StoreRefused as error:
        if error.code not in LACKS_A_RIGHT:
            raise
        granted = StoreRefused(error.message, f"grant {', '.join(rights)} to these credentials")
        raise granted.answered(error.status, error.code) from error


def _key(runtime: Runtime) -> str:
    return runtime.keys.schema_key.replace("sidecar-v1.json", "check-probe.txt")
