"""Incomplete media: they are checked again, and accepted if unchanged for hours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.models import Look, Recording

SECOND_LOOK = timedelta(hours=3)  # after which incomplete media are accepted as all there is
YOUNG = timedelta(hours=6)  # age up to which a recording may be completed at any minute, so is checked often
_AWAY = ""  # the hash of a look without an answer; its negative size counts such looks


@dataclass(slots=True)
class Looking:
    """What earlier attempts and this one saw of a recording's incomplete media."""

    earlier: tuple[Look, ...]
    now: datetime
    seen: tuple[Look, ...] = field(default=())

    def confirms(self, media_format: str, size: int, sha256: str) -> bool:
        """Record what was seen; return whether it has been unchanged for hours."""
        look = Look(media_format=media_format, bytes=size, sha256=sha256, seen_at=self.now)
        for each in self.earlier:
            # Some providers encode on demand: another hash with the same size does not mean that more comes.
            if each.media_format == media_format and (each.sha256 == sha256 or each.bytes == size):
                look = replace(look, seen_at=min(each.seen_at, self.now))
        self._record(look)
        return self.now - look.seen_at >= SECOND_LOOK

    def away(self, media_format: str) -> tuple[int, timedelta]:
        """Record that a format is unavailable while others came; return how often, this time included, and for how
        long."""
        looks = [each for each in self.earlier if (each.media_format, each.sha256) == (media_format, _AWAY)]
        first = min((each.seen_at for each in looks), default=self.now)
        times = 1 - min((each.bytes for each in looks), default=0)
        look = Look(media_format=media_format, bytes=-times, sha256=_AWAY, seen_at=min(first, self.now))
        self._record(look)
        return times, self.now - look.seen_at

    def _record(self, look: Look) -> None:
        """Keep one look per format: this one replaces earlier ones."""
        others = (each for each in (*self.earlier, *self.seen) if each.media_format != look.media_format)
        self.seen = (*{each.media_format: each for each in others}.values(), look)

    def was_so(self, media_format: str) -> bool:
        """Whether an earlier attempt saw the same, so that another download would not help."""
        return any(each.media_format == media_format and each.seen_at < self.now for each in self.seen)

    def next_look(self, media_format: str, recording: Recording) -> timedelta:
        """Return how long to wait at least: a young recording is checked often at first, an old one once more."""
        [look] = [each for each in self.seen if each.media_format == media_format]
        since = self.now - look.seen_at
        left = SECOND_LOOK - since
        is_young = self.now - (recording.ended_at or recording.created_at) < YOUNG
        return min(since, left) if is_young else left
