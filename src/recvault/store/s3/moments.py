"""Parse times in a store's responses as ISO: botocore guesses the format, which takes 3/4 of a listing's time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from botocore.parsers import DEFAULT_TIMESTAMP_PARSER


def read_quickly(session: Any) -> None:
    """Make the clients of a botocore session parse ISO times directly."""
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_moment)


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return DEFAULT_TIMESTAMP_PARSER(value)
    return moment if moment.tzinfo else DEFAULT_TIMESTAMP_PARSER(value)
