"""How a provider's webhook must be signed, and what it may name: for each service by its vendor's rules."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from twilio.request_validator import RequestValidator

from recvault.providers import provider_class
from recvault.providers.hints import Hint, HintingProvider, HintRefused, HintRequest, Verified, check_public_key
from recvault.simulator import Callback, SimAccount, Simulator
from recvault.simulator.recording import Api
from rig import START

URL = "https://hooks.acme.example/recvault/main"
KINDS: dict[str, tuple[Any, Api]] = {
    "twilio": ("twilio", "voice"),
    "twilio-legacy": ("twilio", "voice"),
    "twilio-video": ("twilio", "video"),
    "telnyx": ("telnyx", "telnyx"),
    "signalwire": ("signalwire", "signalwire"),
}
Read = Callable[..., Hint | None]


class Service:
    """One provider, one of its accounts, and a webhook about its only recording."""

    def __init__(self, simulator: Simulator, name: str) -> None:
        kind, api = KINDS[name]
        simulator.set_now(START)
        self.account = simulator.add_account(kind)
        self.recording = simulator.add(self.account, api)
        settings = {**self.account.credentials, "space": "acme"}
        self.provider: Any = provider_class(name).from_settings("main", settings)
        self.values = dict.fromkeys(self.provider.hint_settings, self.account.webhook_key)
        self.callback = simulator.callback(self.account, self.recording, URL)

    def read(self, callback: Callback | None = None, *, url: str = URL, late: float = 0.0) -> Hint | None:
        return self.verify(callback, url=url, late=late).hint

    def verify(self, callback: Callback | None = None, *, url: str = URL, late: float = 0.0) -> Verified:
        callback = callback or self.callback
        headers = {name.lower(): value for name, value in callback.headers.items()}
        now = START + timedelta(seconds=late)
        received = HintRequest(url=url, headers=headers, body=callback.body, now=now)
        found: Verified = self.provider.hint(received, self.values)
        return found


@pytest.fixture(params=KINDS)
def service(request: pytest.FixtureRequest, simulator: Simulator) -> Service:
    return Service(simulator, request.param)


def test_a_signed_webhook_names_its_recording(service: Service) -> None:
    """Every built-in provider reads its service's webhook."""
    assert isinstance(service.provider, HintingProvider)
    assert service.read() == Hint(recording_id=service.recording.recording_id)


def test_a_proof_is_what_was_verified(service: Service) -> None:
    """A further header named like a signature gives no new proof, and the proof is shown nowhere."""
    first, added = service.verify(), {"X-Other-Signature": "1", "Signature": "2", "telnyx-signature": "3"}
    again = service.verify(replace(service.callback, headers={**service.callback.headers, **added}))
    assert (again, first.proof != b"") == (first, True)
    assert "proof" not in repr(first)
    assert [name for name in service.provider.hint_headers if name in map(str.lower, service.callback.headers)]


def test_a_proof_is_the_same_however_it_is_written(simulator: Simulator) -> None:
    """Hex in either case, and base64 with other spare bits, are the same proof; another event is not."""
    service = Service(simulator, "signalwire")
    made = hmac.new(service.account.webhook_key.encode(), URL.encode() + service.callback.body, hashlib.sha1)
    names = ("X-SignalWire-Signature", "X-Twilio-Signature")
    written = [made.hexdigest(), made.hexdigest().upper()]
    proofs = {
        service.verify(replace(service.callback, headers={name: each})).proof for name in names for each in written
    }
    assert len(proofs) == 1
    service = Service(simulator, "telnyx")
    signature = service.callback.headers["telnyx-signature-ed25519"]
    assert signature.endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = f"{signature[:-3]}{letters[letters.index(signature[-3]) + 1]}=="
    told = replace(service.callback, headers={**service.callback.headers, "telnyx-signature-ed25519": other})
    assert service.verify(told).proof == service.verify().proof
    later = telnyx_signed(service.account, b"{}")
    assert service.verify(later).proof != service.verify().proof


def test_what_is_not_signed_so_is_refused(service: Service, simulator: Simulator) -> None:
    """Another body, another key, a missing or truncated signature, or bytes that are no text are refused."""
    other = simulator.add_account(service.account.kind)
    body = service.callback.body
    forged = [
        service.callback.with_body(body.replace(service.recording.recording_id.encode(), b"RE" + b"0" * 32)),
        service.callback.with_body(b""),
        service.callback.with_body(body + b"\xff"),
        simulator.callback(other, service.recording, URL),
        replace(service.callback, headers={"Content-Type": service.callback.headers["Content-Type"]}),
        *(
            replace(service.callback, headers={name: value[:-3] for name, value in service.callback.headers.items()}),
            replace(service.callback, headers=dict.fromkeys(service.callback.headers, "é" * 28)),
        ),
    ]
    for each in forged:
        with pytest.raises(HintRefused):
            service.read(each)


@pytest.mark.parametrize("name", ["twilio", "twilio-video", "signalwire"])
def test_a_form_is_signed_for_its_address(simulator: Simulator, name: str) -> None:
    """A webhook sent to another address or source is refused; a default port may be stated or not."""
    service = Service(simulator, name)
    for url in (
        URL + "2",
        "https://evil.example/recvault/main",
        URL + "?a=b",
        "http://hooks.acme.example/recvault/main",
    ):
        with pytest.raises(HintRefused):
            service.read(url=url)
    assert service.read(url="https://hooks.acme.example:443/recvault/main")
    told = simulator.callback(service.account, service.recording, "https://hooks.acme.example:443/recvault/main")
    assert service.read(told)


@pytest.mark.parametrize("name", ["twilio", "signalwire"])
def test_a_foreign_account_is_refused(simulator: Simulator, name: str) -> None:
    """A validly signed form about another account, such as a sub-account, is refused."""
    service = Service(simulator, name)
    other = simulator.add_account(service.account.kind)
    fields = {**dict(parse_qsl(service.callback.body.decode())), "AccountSid": other.account_id}
    signed = URL + "".join(key + fields[key] for key in sorted(fields))
    made = base64.b64encode(hmac.new(service.account.webhook_key.encode(), signed.encode(), hashlib.sha1).digest())
    headers = {key: made.decode() if "Signature" in key else value for key, value in service.callback.headers.items()}
    with pytest.raises(HintRefused, match="another account"):
        service.read(Callback(URL, headers, urlencode(fields).encode()))


def test_twilio_s_own_validator_agrees(simulator: Simulator) -> None:
    """What Twilio's SDK signs is accepted: fields in any order, repeated, empty, and not ASCII."""
    service = Service(simulator, "twilio")
    fields = [
        ("RecordingSid", "RE1"),
        ("Zed", "é ü"),
        ("AccountSid", service.account.account_id),
        ("Twice", "b"),
        ("Twice", "a"),
        ("Twice", "a"),
        ("Empty", ""),
    ]
    many = {name: [value for key, value in fields if key == name] for name, _ in fields}
    signature = RequestValidator(service.account.secret).compute_signature(URL, _Multi(many))
    told = Callback(URL, {"X-Twilio-Signature": signature}, urlencode(fields).encode())
    assert service.read(told) == Hint(recording_id="RE1")


class _Multi(dict[str, list[str]]):
    """A form as web frameworks give it to the SDK."""

    def getall(self, name: str) -> list[str]:
        return self[name]


@pytest.mark.parametrize("late", [301, -301, 86400])
def test_telnyx_s_time_is_part_of_the_signature(simulator: Simulator, late: float) -> None:
    """An event is accepted within five minutes of its time, and refused later as a possible replay."""
    service = Service(simulator, "telnyx")
    assert service.read(late=299) and service.read(late=-299)
    with pytest.raises(HintRefused, match="timestamp"):
        service.read(late=late)
    moved = {**service.callback.headers, "telnyx-timestamp": str(int(START.timestamp() + late))}
    with pytest.raises(HintRefused, match="signature"):
        service.read(replace(service.callback, headers=moved), late=late)
    for wrong in ("", "soon", "١٢٣", "9" * 40):
        with pytest.raises(HintRefused, match="no timestamp"):
            service.read(replace(service.callback, headers={**moved, "telnyx-timestamp": wrong}))


def telnyx_signed(account: SimAccount, body: bytes, content_type: str = "application/json") -> Callback:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    timestamp = str(int(START.timestamp()))
    made = Ed25519PrivateKey.from_private_bytes(account.webhook_seed).sign(timestamp.encode() + b"|" + body)
    signed = {"telnyx-timestamp": timestamp, "telnyx-signature-ed25519": base64.b64encode(made).decode()}
    return Callback(URL, {"Content-Type": content_type, **signed}, body)


@pytest.mark.parametrize(
    ("event", "hint"),
    [
        ({"event_type": "recording_saved", "payload": {"recording_id": "r1"}}, Hint(recording_id="r1")),
        (
            {"data": {"event_type": "conference.recording.saved", "payload": {"recording_id": "r1"}}},
            Hint(recording_id="r1"),
        ),
        ({"data": {"event_type": "call.recording.saved", "payload": {"call_session_id": "s1"}}}, Hint(call_id="s1")),
        ({"data": {"event_type": "call.hangup", "payload": {"recording_id": "r1"}}}, None),
        ({"data": {"event_type": "call.recording.saved", "payload": None}}, None),
        ({"data": {"event_type": "call.recording.saved", "payload": {"recording_id": "\ud800"}}}, None),
        ([1], None),
    ],
    ids=["captured", "conference", "a call", "another event", "nothing", "no text", "no object"],
)
def test_what_telnyx_tells(simulator: Simulator, event: Any, hint: Hint | None) -> None:
    """A recording is named by its id, or else by its call; any other event is ignored, not refused."""
    service = Service(simulator, "telnyx")
    assert service.read(telnyx_signed(service.account, json.dumps(event).encode())) == hint


def test_telnyx_s_forms_and_no_json(simulator: Simulator) -> None:
    """TeXML's callback is a form; a signed body that cannot be read is ignored."""
    service = Service(simulator, "telnyx")
    form = telnyx_signed(service.account, b"RecordingSid=r2&CallSid=x", "application/x-www-form-urlencoded")
    assert service.read(form) == Hint(recording_id="r2")
    for body in (b"", b"{", b"[" * 100_000):
        assert service.read(telnyx_signed(service.account, body)) is None


def test_signalwire_s_other_way_to_sign(simulator: Simulator) -> None:
    """Hex signatures of the body, and Twilio's header name, are accepted as the SDK sends them."""
    service = Service(simulator, "signalwire")
    made = hmac.new(service.account.webhook_key.encode(), URL.encode() + service.callback.body, hashlib.sha1)
    for name in ("X-SignalWire-Signature", "X-Twilio-Signature"):
        told = replace(service.callback, headers={name: made.hexdigest()})
        assert service.read(told) == Hint(recording_id=service.recording.recording_id)
        with pytest.raises(HintRefused):
            service.read(told.with_body(service.callback.body + b"&a=b"))


def test_a_form_of_endless_fields_is_refused(simulator: Simulator) -> None:
    """A body that is no form, or has thousands of fields, is refused."""
    service = Service(simulator, "twilio")
    for body in (b"a=b&" * 10_000, b"\xff=\xfe"):
        with pytest.raises(HintRefused):
            service.read(service.callback.with_body(body))


def test_a_wrong_public_key_is_told(simulator: Simulator) -> None:
    """A key is checked before any webhook arrives."""
    check_public_key(simulator.add_account("telnyx").webhook_key)
    for wrong in ("", "no base64!", base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError):
            check_public_key(wrong)
