"""Times in a store's answers, read as what they are: botocore guesses at each, which is three quarters of a listing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botocore.parsers import DEFAULT_TIMESTAMP_PARSER


def read_quickly(session: Any) -> None:
    """Have the clients of a botocore session read ISO times as such."""
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return DEFAULT_TIMESTAMP_PARSER(value)
    return moment if moment.tzinfo else DEFAULT_TIMESTAMP_PARSER(value)
