"""What is told of a recording, for people's tables and scripts."""

from __future__ import annotations

from typing import Any

from recvault.models import JSON

COLUMNS = (
    *("created_at", "source", "recording_id", "from_number", "to_number", "direction", "duration_seconds"),
    *("call_id", "provider", "account_id", "media_format", "media_bytes", "media_sha256", "checked", "encrypted"),
    *("media_key", "sidecar_key"),
)
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_row(row: JSON) -> dict[str, Any]:
    """Return a row for a spreadsheet, which would take some texts for formulas: those are quoted."""
    return {name: _safe(row[name]) for name in COLUMNS}


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
