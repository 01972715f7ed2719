"""A boto3 client that sends its requests by our own transport, and its credentials for other signers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, cast

from botocore.config import Config as BotoConfig
from botocore.parsers import DEFAULT_TIMESTAMP_PARSER

from recvault import __version__
from recvault.errors import ConfigError
from recvault.store.s3 import credentials, rotation
from recvault.store.s3.botocore_errors import botocore_errors
from recvault.store.s3.routes import Kind, Routes, check_trust, found, trusted_by
from recvault.store.s3.sending import Sending

Addressing = Literal["auto", "path", "virtual"]


class Client:
    """A boto3 client with the transport of its requests; all other attributes are the boto3 client's.

    `signs`: whether its transport can sign a request, so that single objects need no boto3. `has_new_keys`: called
    after its keys were refused, rereads them.
    """

    def __init__(
        self, boto3: Any, sending: Sending, session: Any, has_new_keys: Callable[[], bool], *, signs: bool
    ) -> None:
        self.boto3, self.sending, self.signs = boto3, sending, signs
        self.has_new_keys = has_new_keys
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.boto3, name)

    def credentials(self) -> Any:
        """Return the credentials found by boto3's chain; None if it finds none."""
        return self._session.get_credentials()

    def close(self) -> None:
        """Close all connections."""
        self.sending.transport.close()
        self.boto3.close()


def make_client(
    *,
    region: str | None,
    endpoint_url: str | None,
    addressing_style: Addressing,
    pool: int,
    transport: Kind = "curl",
    profile: str | None = None,
) -> Client:
    """Build a client, once per process, shared by its threads. Credentials come from boto3's own chain.

    `profile`: use this profile of the AWS configuration, as AWS_PROFILE does.
    """
    import boto3  # takes 0.25 s; commands that only read the ledger skip it
    import botocore.session

    config = BotoConfig(
        signature_version="s3v4",
        user_agent=f"recvault/{__version__}",  # boto3 rebuilds its own for every request
        retries={"mode": "standard", "total_max_attempts": 1},  # see Sending.retry
        max_pool_connections=pool,
        # boto3's default trailer breaks older and compatible stores; our own SHA-256 is sent with every put instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": addressing_style},
    )
    kind = found(transport)
    with botocore_errors(endpoint_url or "S3"):
        try:
            core = botocore.session.get_session()
            if profile is not None:
                core.set_config_variable("profile", profile)
            credentials.guard(core)
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)
            sending = Sending(Routes(kind, trusted_by(core)))
            core.register("before-send", cast("Any", sending.send))  # also for STS, if a role is assumed
            session = boto3.session.Session(botocore_session=core)
            with credentials.readable():
                session.get_credentials()  # the client does so next, but here the cause of an error is known
            client = session.client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
        except ValueError as error:
            hint = "check archive.endpoint_url, archive.region and, if set, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
            raise ConfigError(f"{error}", hint) from error
        if client.meta.endpoint_url.startswith("https:"):
            check_trust(core)
        sending.routes.to(client.meta.endpoint_url.rstrip("/"))
        client.meta.events.register_first("needs-retry.s3", cast("Any", sending.retry))
        has_new_keys = rotation.follow(client, session)
    return Client(client, sending, session, has_new_keys, signs=kind == "curl")


def _moment(value: Any) -> datetime:
    """Read a time in a response as ISO: botocore guesses the format, which takes 3/4 of a listing's time."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return DEFAULT_TIMESTAMP_PARSER(value)
    return moment if moment.tzinfo else DEFAULT_TIMESTAMP_PARSER(value)
