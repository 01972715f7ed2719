"""The toy's service: a shelf of sounds, oldest first, in pages. A plug-in's author writes the like for tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from recvault.testing import Answer, Front, Request, sound

SHELF, TOKEN = "bears", "s3cret-of-the-bears"


class ToyBox:
    """A `recvault.testing.Service`."""

    authorization = f"Toy {TOKEN}"

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._front = Front(self._answer).__enter__()
        self.origins: tuple[str, ...] = (self._front.origin,)

    def add(self, created_at: datetime, *, media_format: str = "", finished: bool = True, readable: bool = True) -> str:
        made = {"made": round(created_at.timestamp() * 1000)} if readable else {}
        row = {"id": f"s{len(self._rows)}", **made, "state": "ready" if finished else "busy", "seconds": 0.5}
        self._rows.append(row)
        return str(row["id"])

    def finish(self, recording_id: str) -> None:
        self._row(recording_id)["state"] = "ready"

    def media(self, recording_id: str, media_format: str = "wav") -> bytes:
        return sound(media_format, recording_id, seconds=0.5)

    def close(self) -> None:
        self._front.__exit__()

    def _row(self, recording_id: str) -> dict[str, Any]:
        return next(row for row in self._rows if row["id"] == recording_id)

    def _answer(self, request: Request) -> Answer:
        if request.headers.get("authorization") != self.authorization:
            return Answer(status=401)
        match request.path.split("/")[1:]:
            case ["v1", "bears"]:
                return Answer.json(self._page(request))
            case ["v1", "bears", name] if not any(row["id"] == name for row in self._rows):
                return Answer(status=404)
            case ["v1", "bears", name] if request.method == "DELETE":
                self._rows.remove(self._row(name))
                return Answer(status=204)
            case ["v1", "bears", name]:
                return Answer.json(self._row(name))
            case ["v1", "bears", name, "wav"] if self._row(name)["state"] == "ready":
                return Answer(headers=(("Content-Type", "audio/wav"),), body=self.media(name))
        return Answer(status=404)

    def _page(self, request: Request) -> dict[str, Any]:
        since, before = int(request.param("from") or 0), int(request.param("before") or 1 << 60)
        start, most = int(request.param("start") or 0), int(request.param("most") or 10)
        found = sorted(
            (row for row in self._rows if since <= row.get("made", since) < before), key=lambda row: row.get("made", 0)
        )
        more = f"/v1/bears?from={since}&before={before}&most={most}&start={start + most}"
        return {"sounds": found[start : start + most], "more": more if start + most < len(found) else None}
