"""Shared by the tests of `recvault.transport`: both transports, over plain HTTP and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from transport.certificates import Authority
from transport.loopback import Line


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the tests' transports trust."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def loopback_tls(authority: Authority) -> ssl.SSLContext:
    """The certificate of a server on loopback."""
    return authority.server("localhost", "127.0.0.1", "::1")


def _line(way: str, scheme: str, authority: Authority, tls: ssl.SSLContext) -> Iterator[Line]:
    with ExitStack() as opened:
        line = Line(way, scheme, authority, tls, opened)
        yield line
    line.check_secrets()


@pytest.fixture(params=["curl-http", "curl-https", "plain-http", "plain-https"])
def line(request: pytest.FixtureRequest, authority: Authority, loopback_tls: ssl.SSLContext) -> Iterator[Line]:
    """Both transports, over plain HTTP and over TLS."""
    way, scheme = request.param.split("-")
    yield from _line(way, scheme, authority, loopback_tls)


@pytest.fixture(params=["curl", "plain"])
def tls_line(request: pytest.FixtureRequest, authority: Authority, loopback_tls: ssl.SSLContext) -> Iterator[Line]:
    """Both transports over TLS."""
    yield from _line(request.param, "https", authority, loopback_tls)


@pytest.fixture(params=["http", "https"])
def curl_line(request: pytest.FixtureRequest, authority: Authority, loopback_tls: ssl.SSLContext) -> Iterator[Line]:
    """libcurl over plain HTTP and over TLS."""
    yield from _line("curl", request.param, authority, loopback_tls)
