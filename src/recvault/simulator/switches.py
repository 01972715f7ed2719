"""Everything that is uncertain about the services, each as a switch for tests.

The defaults are the most likely behaviour by documents and captured replies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from recvault.simulator.exchange import Request, SimulatedReply

Order = Literal["newest", "oldest", "random"]
TooLarge = Literal["clamp", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the services behave. `Simulator.switches` may be replaced while the simulator runs."""

    # All services
    concurrency_limit: int | None = None  # more concurrent requests of one login get 429, unprocessed
    retry_after: Literal["absent", "seconds", "http_date", "mixed"] = "absent"  # on 429 and 503; "mixed" alternates
    retry_after_seconds: int = 1
    latency_seconds: float = 0.0  # before every answer
    stall_seconds: float = 0.3  # silence of the fault `stall` before it closes
    slow_seconds: float = 0.1  # time over which the fault `slow` spreads a body
    token_seconds: int = 3600  # life of an access token, of the services that issue them
    malformed_share: float = 0.0  # share of populated rows without a valid date

    # Calls, at Twilio and SignalWire
    calls_status: int = 200  # another: the list of calls, and nothing else, answers it
    calls_reply: Callable[[Request], SimulatedReply] | None = None  # what it, or a room's participants, answers
    calls_gate: threading.Event | None = None  # the list of calls is answered once it is set
    calls_missing_share: float = 0.0  # share of recordings whose call is never listed
    calls_list_delay_seconds: float = 0.0  # from a call's start to its first listing

    # Twilio Voice, 2010-04-01 and 2008-08-01
    inactive_accounts: Literal["readable", "refused"] = "readable"  # to their parent's token, if closed or suspended
    voice_created_at: Literal["start", "end"] = "start"  # what date_created means
    voice_list_delay_seconds: float = 0.0  # from creation to the first listing
    voice_processing_seconds: float = 2.0  # from the recording's end to completed
    voice_media_lag_seconds: float = 0.0  # after completed, media answer 404 for this long
    voice_page_size_over: TooLarge = "clamp"
    voice_media_length: Literal["content_length", "chunked"] = "content_length"
    voice_media_range: bool = False  # True: Range is answered with 206; False: ignored
    voice_media_from: Literal["direct", "redirect"] = "direct"  # "redirect": 307 to the signed host
    voice_mixed_offsets: bool = False  # a quarter of the rows have dates at +0100
    legacy_nextpageuri: bool = True  # 2008: all documented paging attributes, or only the sample's
    legacy_offset_hours: int = -4  # 2008: the zone of dates
    legacy_retired: bool = False  # 2008: everything answers 410

    # Twilio Video v1
    video_order: Order = "newest"
    video_page_size_over: TooLarge = "refuse"
    video_media_from: Literal["redirect", "direct"] = "redirect"
    video_hostile_next: bool = False  # next_page_url leads to a host of somebody else
    video_codec_case: Literal["upper", "lower"] = "upper"

    # Telnyx v2
    telnyx_order: Order = "newest"
    telnyx_nested: bool = False  # rows are `data[].data`
    telnyx_visible: Literal["completion", "creation"] = "completion"
    telnyx_page_size_over: TooLarge = "refuse"
    telnyx_url_seconds: int = 600  # life of a download URL, from its reply on
    telnyx_fraction_digits: Literal[0, 3, 6] = 3
    telnyx_reset: Literal["seconds", "epoch"] = "seconds"  # the format of x-ratelimit-reset

    # SignalWire LaML
    signalwire_created_at: Literal["start", "end"] = "end"
    signalwire_sept: bool = False  # write `Sept`, as in the documents' sample
    signalwire_date_filter: Literal["exclusive", "inclusive", "ignored"] = "exclusive"
    signalwire_channels: Literal["string", "int", "missing"] = "string"
    signalwire_duration: Literal["int", "string"] = "int"
    signalwire_price: Literal["string", "float", "null"] = "string"
    signalwire_prefixed_links: bool = True  # next_page_uri contains /api/laml
    signalwire_empty_page: bool = False  # the second page is empty but has a next link
    signalwire_repeated_next: bool = False  # the second page's next link leads to itself
    signalwire_media_public: bool = True

    # Plivo v1
    plivo_window_days: int = 30  # a list of more days is refused with 400; 0: of any length
    plivo_unbounded_days: int = 7  # a list without bounds shows this much
    plivo_link_repeats_filter: bool = False  # the next link has the bounds too

    # Bandwidth v2
    bandwidth_most: int = 1000  # rows of a list
