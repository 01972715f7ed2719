"""The Terraform module: its roles have the permissions they need, and no others."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

import pytest

from cli.commands import Ran, run
from recvault.simulator import Simulator
from rig import Rig
from store.places import PART, Place, make_put
from strict_s3 import Bucket
from systemd.lab import UNITS

MODULE = UNITS / "terraform"
ROLES = (MODULE / "roles.tf").read_text()
README = UNITS.parent / "src/recvault/config/README.md"
RIGHTS = {
    # operations of a store, and the permission that S3 requires
    "PUT": "s3:PutObject",
    "CREATE": "s3:PutObject",
    "PART": "s3:PutObject",
    "COMPLETE": "s3:PutObject",
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "DELETE": "s3:DeleteObject",
    "LIST": "s3:ListBucket",
    "HEAD_BUCKET": "s3:ListBucket",
    "ABORT": "s3:AbortMultipartUpload",
    "UPLOADS": "s3:ListBucketMultipartUploads",
    "RETENTION": "s3:PutObjectRetention",
    "LEGAL_HOLD": "s3:PutObjectLegalHold",
    "CREATE_BUCKET": "s3:CreateBucket",
}


def granted(role: str, condition: str | None = None) -> set[str]:
    """Return the actions of a role's policy: the fixed ones, or those of a variable."""
    (policy,) = re.findall(rf'^data "aws_iam_policy_document" "{role}" \{{\n(.*?)^\}}\n', ROLES, re.M | re.S)
    always = re.findall(r"^  statement \{\n(.*?)^  \}\n", policy, re.M | re.S)
    dynamic = re.findall(r'^  dynamic "statement" \{\n    for_each = (.*?)\n(.*?)^  \}\n', policy, re.M | re.S)
    blocks = [text for when, text in dynamic if condition in when] if condition else always
    return {action for block in blocks for action in re.findall(r'"((?:s3|kms):\w+)"', block)}


def deny_all_but(bucket: Bucket, actions: set[str]) -> None:
    """Let a bucket refuse what a policy does not grant."""
    bucket.denied = {operation for operation, right in RIGHTS.items() if right not in actions}


def test_the_archive_role_has_what_the_configuration_guide_asks_for() -> None:
    """The archive role has exactly the configuration guide's permissions, and none to delete."""
    part = README.read_text().split("\n## Bucket permissions\n")[1].split("\n\n")[0]
    assert granted("archive") == set(re.findall(r"`(s3:\w+)`", part))
    assert granted("archive", "object_lock") == {"s3:PutObjectRetention", "s3:PutObjectLegalHold"}
    assert granted("archive", "object_tags") == {"s3:PutObjectTagging"}
    assert not [action for action in granted("archive") if "Delete" in action]


@pytest.fixture
def archiving(rig: Rig, simulator: Simulator) -> Rig:
    """A source whose recordings are under a prefix."""
    account = simulator.add_account("twilio")
    simulator.populate(account, "voice", count=4, conference_share=0)
    rig.add_source("voice", "twilio", account)
    rig.archive = {"prefix": "calls"}
    return rig


def commands(rig: Rig) -> list[Ran]:
    """All commands that use the bucket."""
    return [run(rig, *words.split()) for words in ("check", "sync", "verify --deep", "manifest", "reconcile")]


def test_the_archive_role_is_enough(archiving: Rig, strict_bucket: Bucket) -> None:
    """With its permissions every command succeeds, and uses no key outside the prefix."""
    deny_all_but(strict_bucket, granted("archive"))
    assert [(ran.code, ran.stderr if ran.code else "") for ran in commands(archiving)] == [(0, "")] * 5
    touched = {seen.key for seen in strict_bucket.log if seen.key}
    assert len(touched) > 8
    assert [key for key in touched if not key.startswith("calls/")] == []


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObject", "s3:ListBucket"])
def test_the_archive_role_has_nothing_to_spare(archiving: Rig, strict_bucket: Bucket, action: str) -> None:
    """Without any one permission `check` fails and names it."""
    deny_all_but(strict_bucket, granted("archive") - {action})
    ran = run(archiving, "check")
    assert ran.code == 77
    assert action in ran.stdout


def test_the_archive_role_is_enough_for_the_largest(strict_bucket: Bucket) -> None:
    """It can upload in parts, and abort an earlier upload, whose parts cost money."""
    place = Place("aws", strict_bucket.url, strict_bucket.name, strict_bucket)
    place.client.create_multipart_upload(Bucket=strict_bucket.name, Key="recordings/RE1.wav")
    deny_all_but(strict_bucket, granted("archive"))
    store = place.store(single_put_most=PART, part_least=PART)
    store.put(make_put("recordings/RE1.wav", random.Random(5).randbytes(2 * PART + 7)))
    assert store.clear_unfinished("recordings/", datetime.now(UTC) + timedelta(days=2)) == 1
    assert (strict_bucket.counts["COMPLETE"], strict_bucket.counts["ABORT"]) == (1, 1)


def test_each_variable_is_declared_used_and_described() -> None:
    """Every variable is declared, used and described."""
    texts = {path.name: path.read_text() for path in MODULE.glob("*.tf")}
    declared = set(re.findall(r'^variable "(\w+)"', texts["variables.tf"], re.M))
    used = {name for text in texts.values() for name in re.findall(r"\bvar\.(\w+)", text)}
    assert declared == used
    assert texts["variables.tf"].count("  description =") == len(declared)


def test_the_bucket_is_private_and_cleans_up() -> None:
    """Public access is blocked four ways, unfinished uploads are aborted, and plain http is denied."""
    text = (MODULE / "main.tf").read_text()
    assert re.findall(r"^  (\w+) += true$", text, re.M) == [
        "block_public_acls",
        "block_public_policy",
        "ignore_public_acls",
        "restrict_public_buckets",
    ]
    assert "abort_incomplete_multipart_upload" in text and "aws:SecureTransport" in text
    assert "force_destroy" not in text, "an archive is not deleted with its module"
