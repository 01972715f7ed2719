"""What Twilio's three APIs share: the account's settings, its credentials, and the list of its sub-accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from recvault.errors import ProtocolError
from recvault.models import JSON, Scheme, WrappedKey
from recvault.providers.base import Reply, Setting, Subaccount, read_list
from recvault.providers.hints import Hint, HintRefused, HintRequest, Verified, fields_of, refuse_unsigned_form
from recvault.providers.rest import Paging, Rest
from recvault.providers.urls import address, basic, request
from recvault.providers.values import identifier, text

if TYPE_CHECKING:
    import httpx

PAGE_SIZE = 1000  # of accounts
PAGING = Paging(size="PageSize", next="next_page_uri", own="uri", last="last_page_uri")  # OpenAPI, SDK fixtures


class TwilioAccount(Rest):
    """One account in one region: recordings, credentials and hosts are regional (Twilio region docs)."""

    provider: ClassVar[str] = "twilio"
    settings: ClassVar[Mapping[str, Setting]] = {
        "account_sid": Setting(doc="the account's SID, AC…"),
        "auth_token": Setting(secret=True, doc="the account's auth token; reaches sub-accounts too"),
        "api_key_sid": Setting(
            doc="an API key's SID, SK…; a main account's key does not reach sub-accounts", reaches_subaccounts=False
        ),
        "api_key_secret": Setting(secret=True, doc="the API key's secret"),
    }
    credentials: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("account_sid", "auth_token"),
        ("account_sid", "api_key_sid", "api_key_secret"),
    )
    hint_settings: ClassVar[tuple[str, ...]] = ("auth_token",)  # webhooks are signed by it, also beside an API key
    hint_headers: ClassVar[tuple[str, ...]] = ("x-twilio-signature",)
    account_setting = "account_sid"
    public = "twilio.com"  # regions and edges are below it: links may name any of them

    @staticmethod
    def authorization(values: Mapping[str, str]) -> str:
        """Return HTTP Basic credentials (Twilio auth docs); the auth token first: it reaches more than an API key."""
        if values.get("auth_token"):
            return basic(values["account_sid"], values["auth_token"])
        return basic(values["api_key_sid"], values["api_key_secret"])

    def accounts_request(self) -> httpx.Request:
        """Request the main account and those below it, of any status (OpenAPI: Accounts.json, at most 1000 a page).

        A closed account's recordings can be read for 30 days (Twilio's help).
        """
        url = address(self.base_url, "/2010-04-01/Accounts.json", [("PageSize", PAGE_SIZE)])
        return request("GET", url, headers={"Accept": "application/json"})

    def parse_accounts(self, reply: Reply) -> tuple[tuple[Subaccount, ...], httpx.URL | None]:
        """Read only the sid and the status: each row holds an auth token (OpenAPI)."""
        page, rows = read_list(reply, "accounts", "page_size")
        if not all(isinstance(row, dict) and text(row.get("sid")) for row in rows):
            raise ProtocolError(f"{reply.request.url.host} answered with an account that has no sid")
        if not rows and not page.get("page"):
            raise ProtocolError(f"{reply.request.url.host} answered with no account, not even the one that asked")
        found = tuple(Subaccount(identifier(row, "sid"), text(row.get("status")) or "active") for row in rows)
        return found, self.following(reply, page, len(rows), PAGING, PAGE_SIZE)[0]

    def hint(self, received: HintRequest, values: Mapping[str, str]) -> Verified:
        """RecordingStatusCallback, and a room's status callback: forms with RecordingSid (recordings docs, Video docs).

        A sub-account's webhooks are signed by its own token, which is not known here.
        """
        fields = fields_of(received)
        signature = received.headers.get("x-twilio-signature", "")
        proof = refuse_unsigned_form(received, signature, values["auth_token"], fields)
        return Verified(hint=hinted(dict(fields), self.account_id), proof=proof)


def hinted(fields: Mapping[str, str], account_id: str) -> Hint | None:
    """The recording that a verified form names. HintRefused if it is of another account."""
    if fields.get("AccountSid") != account_id:
        raise HintRefused("it is about another account")
    found = fields.get("RecordingSid")
    return Hint(recording_id=found) if found else None


def wrapped_key(encryption: JSON) -> WrappedKey | None:
    """Read the key fields of an encrypted medium; None for fields that are not Twilio's.

    A call's are in its row, a Video track's in the storage's headers (encryption docs).
    """
    if "encryption_cek" in encryption:
        return WrappedKey(
            scheme=Scheme.OAEP_GCM,
            key=encryption["encryption_cek"],
            vector=encryption.get("encryption_iv"),
            public_key_id=str(encryption.get("encryption_public_key_sid") or "")[:64],
        )
    if "x-amz-key" in encryption:
        told = str(encryption.get("x-amz-unencrypted-content-length") or "")
        return WrappedKey(
            scheme=Scheme.PKCS1_CBC,
            key=encryption["x-amz-key"],
            vector=encryption.get("x-amz-iv"),
            plain_bytes=int(told) if told.isascii() and told.isdecimal() and len(told) < 19 else None,
        )
    return None
