"""What is not known for certain of the five services, each as a switch that a test can turn.

A default is what documents and captured replies make most likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Order = Literal["newest", "oldest", "random"]
TooLarge = Literal["clamp", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the services behave. `Simulator.switches` may be replaced while the simulator runs."""

    # All services
    concurrency_limit: int | None = None  # more requests at once of one login are answered 429 and never processed
    retry_after: Literal["absent", "seconds", "http_date", "mixed"] = "absent"  # on 429 and 503; "mixed" takes turns
    retry_after_seconds: int = 1
    latency_seconds: float = 0.0  # before every answer
    stall_seconds: float = 0.3  # how long the fault `stall` holds its breath before it closes
    slow_seconds: float = 0.1  # over how long the fault `slow` spreads a body
    malformed_share: float = 0.0  # share of populated rows that can never be read: no date, or a bad one

    # Twilio Voice, 2010-04-01 and 2008-08-01
    inactive_accounts: Literal["readable", "refused"] = "readable"  # closed and suspended ones, by their parent's token
    voice_created_at: Literal["start", "end"] = "start"  # what date_created means
    voice_list_delay_seconds: float = 0.0  # from creation until a list shows the row
    voice_processing_seconds: float = 2.0  # from the recording's end to completed
    voice_media_lag_seconds: float = 0.0  # media answer 404 for so long after completed
    voice_page_size_over: TooLarge = "clamp"
    voice_media_length: Literal["content_length", "chunked"] = "content_length"
    voice_media_range: bool = False  # True: Range is honoured with 206; False: ignored
    voice_media_from: Literal["direct", "redirect"] = "direct"  # "redirect": 307 to a signed host
    voice_mixed_offsets: bool = False  # every third row writes its dates at +0100
    legacy_nextpageuri: bool = True  # 2008: the attributes of the paging documents, or those of the sample alone
    legacy_offset_hours: int = -4  # 2008: the zone that dates are written in
    legacy_retired: bool = False  # 2008: everything answers 410

    # Twilio Video v1
    video_order: Order = "newest"
    video_page_size_over: TooLarge = "refuse"
    video_media_from: Literal["redirect", "direct"] = "redirect"
    video_hostile_next: bool = False  # next_page_url leads to a host that is not the service's
    video_codec_case: Literal["upper", "lower"] = "upper"

    # Telnyx v2
    telnyx_order: Order = "newest"
    telnyx_nested: bool = False  # rows are `data[].data`
    telnyx_visible: Literal["completion", "creation"] = "completion"
    telnyx_page_size_over: TooLarge = "refuse"
    telnyx_url_seconds: int = 600  # life of a download URL from the reply that minted it
    telnyx_fraction_digits: Literal[0, 3, 6] = 3
    telnyx_reset: Literal["seconds", "epoch"] = "seconds"  # what x-ratelimit-reset holds

    # SignalWire LaML
    signalwire_created_at: Literal["start", "end"] = "end"
    signalwire_sept: bool = False  # write `Sept`, as the documents' sample does
    signalwire_date_filter: Literal["exclusive", "inclusive", "ignored"] = "exclusive"
    signalwire_channels: Literal["string", "int", "missing"] = "string"
    signalwire_duration: Literal["int", "string"] = "int"
    signalwire_price: Literal["string", "float", "null"] = "string"
    signalwire_prefixed_links: bool = True  # next_page_uri holds /api/laml
    signalwire_empty_page: bool = False  # the second page is empty and yet has a next link
    signalwire_repeated_next: bool = False  # the second page's next link leads to the second page, for ever
    signalwire_media_public: bool = True
