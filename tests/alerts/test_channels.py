"""A command, a webhook, a message: what each receives, and what each must not do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.commands import until
from recvault.alerts import CommandChannel, Event, MessageChannel, WebhookChannel
from recvault.alerts.channels import messenger, signature
from recvault.alerts.event import OutgoingEvent
from recvault.errors import ConfigError
from recvault.log.masking import hide
from recvault.testing import Answer

NOW = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)


def event(message: str = "no complete scan for 1 d", **facts: Any) -> OutgoingEvent:
    made = Event(
        id="3f0c",
        kind="stale",
        origin="/recvault/host",
        time=NOW,
        topic="source",
        source="main",
        account_id="AC1",
        message=message,
        facts=facts,
    )
    return OutgoingEvent(made.body())


def command(tmp_path: Path, code: str, seconds: float = 20.0, **environment: str) -> CommandChannel:
    program = tmp_path / "tell.py"
    program.write_text(code)
    return CommandChannel(
        command=[sys.executable, "-S", str(program), "a b", "$HOME; true"],
        seconds=seconds,
        environment={"PATH": os.environ["PATH"], **environment},
    )


def test_what_a_command_is_given(tmp_path: Path) -> None:
    """The event arrives as a CloudEvent on stdin and in variables; arguments are passed without a shell; no secret
    is."""
    code = f"""
import json, os, sys
got = {{"event": json.load(sys.stdin), "args": sys.argv[1:], "env": dict(os.environ)}}
open({str(tmp_path / "got")!r}, "w").write(json.dumps(got))
"""
    channel = command(tmp_path, code, TWILIO_AUTH_TOKEN="s3cret-token", LANG="C.UTF-8")
    assert channel.send(event(condition="stale")) == ""
    got = json.loads((tmp_path / "got").read_text())
    assert got["args"] == ["a b", "$HOME; true"]
    assert got["event"] == {
        "specversion": "1.0",
        "id": "3f0c",
        "source": "/recvault/host",
        "type": "recvault.stale",
        "subject": "main/AC1",
        "time": "2026-10-01T09:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "event": "stale",
            "topic": "source",
            "source": "main",
            "account_id": "AC1",
            "message": "no complete scan for 1 d",
            "condition": "stale",
        },
    }
    mine = {name: value for name, value in got["env"].items() if name.startswith("RECVAULT_")}
    assert mine == {
        "RECVAULT_EVENT_ID": "3f0c",
        "RECVAULT_EVENT_TYPE": "stale",
        "RECVAULT_EVENT_TIME": "2026-10-01T09:00:00Z",
        "RECVAULT_EVENT_SUBJECT": "main/AC1",
        "RECVAULT_EVENT_SOURCE": "main",
        "RECVAULT_EVENT_ACCOUNT": "AC1",
        "RECVAULT_EVENT_MESSAGE": "no complete scan for 1 d",
    }
    assert "TWILIO_AUTH_TOKEN" not in got["env"]


def test_a_command_that_fails(tmp_path: Path) -> None:
    """Its exit code and truncated output are reported without secrets, or why it could not be started."""
    hide("s3cret-of-a-command")
    code = "import sys; sys.stderr.write('no route\\nwith s3cret-of-a-command ' + 'x' * 900_000); sys.exit(7)"
    error = command(tmp_path, code).send(event())
    assert error.startswith(f"{sys.executable} exited with 7: no route with [hidden] xxx")
    assert len(error) < 3000
    for missing in ("/nonexistent/tell", str(tmp_path)):
        assert "cannot be started" in CommandChannel(command=[missing], seconds=1, environment={}).send(event())


def test_no_part_of_a_secret_is_left_where_output_is_cut(tmp_path: Path) -> None:
    """What a command says is masked before it is cut."""
    secret = "S3cretTokenOfThirtyTwoCharacters"
    hide(secret)
    error = command(tmp_path, f"import sys; sys.stderr.write('x' * 1985 + ' {secret}'); sys.exit(3)").send(event())
    assert "x" * 1985 in error and "S3cret" not in error


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    """It is killed with its children when its time is over, even if it never read its input."""
    code = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    assert "was stopped after 2 s" in command(tmp_path, code, seconds=2.0).send(event("m" * 200_000))
    pid = int((tmp_path / "child").read_text())
    until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_message_has_no_secret_and_no_control_character() -> None:
    """A message has no secret and no control character, whatever a provider's error quotes."""
    hide("s3cret-of-an-event")
    told = event("s3cret-of-an-event \x00\x1b[31m +14155550100 " + "x" * 9000)
    assert told.message.startswith("[hidden] \\x00\\x1b[31m +[number] xxx")
    assert len(told.message) == 4000


def test_an_account_s_name_is_a_provider_s_text(tmp_path: Path) -> None:
    """Ids of a provider reach a mail's subject and a command's environment: no control character is in them."""
    made = Event(
        id="1", kind="dead", origin="/", time=NOW, topic="dead", source="main", account_id="A\x00\x1b\nB", message="m"
    )
    told = OutgoingEvent(made.body())
    assert told.title == "recvault: main/A\\x00\\x1b\\nB: dead"
    assert told.variables()["RECVAULT_EVENT_ACCOUNT"] == "A\\x00\\x1b\\nB"
    assert command(tmp_path, "").send(told) == ""


def test_a_secret_that_only_looks_like_base64_is_taken_as_it_is() -> None:
    """No signature is made with an empty key."""
    made = {secret: signature(secret, "id", 1, b"") for secret in ("whsec_", "whsec_!", "")}
    assert made["whsec_"] != made[""] and made["whsec_!"] != made[""]


def webhook(url: str, **more: Any) -> WebhookChannel:
    return WebhookChannel(url=url, secret=lambda: "s3cret-of-a-webhook", clock=lambda: NOW, **more)


def test_a_webhook_is_a_signed_cloudevent(front: Any) -> None:
    """Its body is the event; id, time and body are signed together, as Standard Webhooks specifies."""
    home = front()
    assert webhook(f"{home.origin}/hook?team=ops").send(event()) == ""
    (sent,) = home.seen
    assert (sent.method, sent.path, sent.query) == ("POST", "/hook", "team=ops")
    assert json.loads(sent.body)["type"] == "recvault.stale"
    assert sent.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert (sent.headers["webhook-id"], sent.headers["webhook-timestamp"]) == ("3f0c", str(int(NOW.timestamp())))
    signed = b"3f0c." + str(int(NOW.timestamp())).encode() + b"." + sent.body
    expected = base64.b64encode(hmac.new(b"s3cret-of-a-webhook", signed, hashlib.sha256).digest()).decode()
    assert sent.headers["webhook-signature"] == f"v1,{expected}"


def test_the_specification_s_own_example() -> None:
    """The signature equals that in Standard Webhooks' documentation for its secret, id, time and body."""
    body = b'{"test": 2432232314}'
    made = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [301, 400, 403, 500])
def test_a_webhook_that_refuses(front: Any, status: int) -> None:
    """Any answer but 2xx is a failure, reported without the URL; a redirect is not followed."""
    home = front(Answer(status=status, headers=(("Location", "/elsewhere"),)))
    assert webhook(f"{home.origin}/key-of-a-webhook").send(event()) == f"status {status}"
    assert len(home.seen) == 1


def test_a_webhook_that_is_not_there() -> None:
    """An unreachable webhook and an unreadable secret are returned as errors, not raised."""
    assert webhook("http://127.0.0.1:9/hook").send(event()) != ""

    def unset() -> str:
        raise ConfigError("notify: webhook_secret: the environment variable HOOK is not set")

    told = WebhookChannel(url="http://127.0.0.1:9/", secret=unset, clock=lambda: NOW).send(event())
    assert told == "notify: webhook_secret: the environment variable HOOK is not set"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise imports it
def test_a_message_by_apprise(front: Any) -> None:
    """Title and text reach the target of the URL."""
    pytest.importorskip("apprise")
    home = front()
    channel = MessageChannel(target=lambda: f"json://{home.host}/mail", name="targets[0]")
    assert channel.send(event()) == ""
    (sent,) = home.seen
    document = json.loads(sent.body)
    assert (document["title"], document["message"]) == ("recvault: main/AC1: stale", "no complete scan for 1 d")
    assert MessageChannel(target=lambda: "json://127.0.0.1:9/", name="t").send(event()) != ""


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_a_target_that_apprise_does_not_understand(caplog: pytest.LogCaptureFixture) -> None:
    """It is reported without the URL, which is a secret, and apprise logs nothing of it."""
    pytest.importorskip("apprise")
    told = MessageChannel(target=lambda: "nosuch-s3cret://x", name="targets[0]").send(event())
    assert told == "the value is not a URL that apprise understands"
    assert caplog.records == []


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing apprise is exit code 78, with what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError, match=r"needs apprise") as found:
        messenger("ntfy://x")
    assert (found.value.exit_code, found.value.hint) == (78, "pip install 'recvault[notify]'")
