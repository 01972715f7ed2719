"""Each of the five built-in providers keeps the contract against the simulator."""

from __future__ import annotations

from typing import Any, cast

from contract.simulated import Simulated
from recvault.providers.bandwidth import Bandwidth
from recvault.providers.base import Provider
from recvault.providers.plivo import Plivo
from recvault.providers.ringcentral import RingCentral
from recvault.providers.signalwire import SignalWire
from recvault.providers.telnyx import Telnyx
from recvault.providers.twilio import Twilio
from recvault.providers.twilio_legacy import TwilioLegacy
from recvault.providers.twilio_video import TwilioVideo
from recvault.simulator import Switches
from recvault.testing import ProviderContract, Service

TWILIO = "AC" + "ab" * 16
PLIVO = "MA" + "AB12" * 4 + "CD"
PROJECT = "720796a0-8ee9-4350-83bd-2d07a3121f1e"


class TestTwilio(ProviderContract):
    def service(self) -> Service:
        return Simulated("twilio", "voice", TWILIO)

    def provider(self, base_url: str) -> Provider:
        return Twilio(base_url, TWILIO)


class TestTwilioBehindARedirect(ProviderContract):
    """Twilio with media on a signed host, behind a redirect."""

    def service(self) -> Service:
        return Simulated("twilio", "voice", TWILIO, Switches(voice_media_from="redirect", voice_mixed_offsets=True))

    def provider(self, base_url: str) -> Provider:
        return Twilio(base_url, TWILIO)


class TestTwilioLegacy(ProviderContract):
    def service(self) -> Service:
        return Simulated("twilio", "voice", TWILIO)

    def provider(self, base_url: str) -> Provider:
        return TwilioLegacy(base_url, TWILIO)

    def with_unknown_field(self, body: bytes) -> bytes:
        fields = "".join(f"<{name}>{value}</{name}>" for name, value in self.unknown.items())
        return body.replace(b"</Recording>", f"{fields}</Recording>".encode())


class TestTwilioLegacyByNumber(TestTwilioLegacy):
    """The 2008 API without page links, as in its documents' sample: pages are counted."""

    def service(self) -> Service:
        return Simulated("twilio", "voice", TWILIO, Switches(legacy_nextpageuri=False))


class TestTwilioVideo(ProviderContract):
    def service(self) -> Service:
        return Simulated("twilio", "video", TWILIO)

    def provider(self, base_url: str) -> Provider:
        return TwilioVideo(base_url, TWILIO)


class TestTelnyx(ProviderContract):
    def service(self) -> Service:
        return Simulated("telnyx", "telnyx", "main", Switches(telnyx_visible="creation"))

    def provider(self, base_url: str) -> Provider:
        return Telnyx(base_url, "main")


class TestTelnyxNested(TestTelnyx):
    """Telnyx with rows as in the documents of 2024, listed on completion, oldest first."""

    def service(self) -> Service:
        return Simulated("telnyx", "telnyx", "main", Switches(telnyx_nested=True, telnyx_order="oldest"))


class TestSignalWire(ProviderContract):
    def service(self) -> Service:
        return Simulated("signalwire", "signalwire", PROJECT)

    def provider(self, base_url: str) -> Provider:
        return SignalWire(base_url, PROJECT)


class TestSignalWireOf2018(TestSignalWire):
    """SignalWire as captured in 2018: links without /api/laml, `Sept`, an empty page within the list, its own types."""

    def service(self) -> Service:
        switches = Switches(
            signalwire_prefixed_links=False,
            signalwire_sept=True,
            signalwire_empty_page=True,
            signalwire_channels="missing",
            signalwire_price="null",
            signalwire_created_at="start",
        )
        return Simulated("signalwire", "signalwire", PROJECT, switches)


class TestPlivo(ProviderContract):
    def service(self) -> Service:
        return Simulated("plivo", "plivo", PLIVO, Switches(plivo_window_days=0))

    def provider(self, base_url: str) -> Provider:
        return Plivo(base_url, PLIVO)


class TestPlivoWithWholeLinks(TestPlivo):
    """Plivo with next links that repeat the bounds."""

    def service(self) -> Service:
        return Simulated("plivo", "plivo", PLIVO, Switches(plivo_window_days=0, plivo_link_repeats_filter=True))


class TestBandwidth(ProviderContract):
    def service(self) -> Service:
        return Simulated("bandwidth", "bandwidth", "9900000")

    def provider(self, base_url: str) -> Provider:
        return Bandwidth(base_url, "9900000")

    def _small_pages(self) -> Any:
        cast("Simulated", self.bench.service).switch(Switches(bandwidth_most=self.small_page))
        return super()._small_pages()


class TestRingCentral(ProviderContract):
    def service(self) -> Service:
        return Simulated("ringcentral", "ringcentral", "main")

    def provider(self, base_url: str) -> Provider:
        return RingCentral(base_url, "main")
