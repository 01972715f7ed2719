"""Incomplete media: they are checked again, and accepted if unchanged for hours."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recvault.models import Look, Recording

SECOND_LOOK = timedelta(hours=3)  # after which incomplete media are accepted as all there is
YOUNG = timedelta(hours=6)  # a recording that may become whole at any minute: it is looked at often
_AWAY = ""  # the sum of a look that found nothing, because nothing was answered: its size counts such looks, below zero


@dataclass(slots=True)
class Looking:
    """What earlier attempts saw of a recording's media that were not whole, and what this one does."""

    earlier: tuple[Look, ...]
    now: datetime
    seen: tuple[Look, ...] = field(default=())

    def confirms(self, media_format: str, size: int, sha256: str) -> bool:
        """Whether it has been unchanged for hours; records what was seen."""
        look = Look(media_format=media_format, bytes=size, sha256=sha256, seen_at=self.now)
        for each in self.earlier:
            # Some providers encode on demand: another sum of the same size is no sign that more comes.
            if each.media_format == media_format and (each.sha256 == sha256 or each.bytes == size):
                look = replace(look, seen_at=min(each.seen_at, self.now))
        self._record(look)
        return self.now - look.seen_at >= SECOND_LOOK

    def away(self, media_format: str) -> tuple[int, timedelta]:
        """How often a format did not come while others did, this time among them, and since when; notes it."""
        looks = [each for each in self.earlier if (each.media_format, each.sha256) == (media_format, _AWAY)]
        first = min((each.seen_at for each in looks), default=self.now)
        times = 1 - min((each.bytes for each in looks), default=0)
        look = Look(media_format=media_format, bytes=-times, sha256=_AWAY, seen_at=min(first, self.now))
        self._record(look)
        return times, self.now - look.seen_at

    def _record(self, look: Look) -> None:
        """Keep one look of each format: this one in place of those before it."""
        others = (each for each in (*self.earlier, *self.seen) if each.media_format != look.media_format)
        self.seen = (*{each.media_format: each for each in others}.values(), look)

    def was_so(self, media_format: str) -> bool:
        """Whether an earlier attempt saw the same: not a transient fault that another download would fix."""
        return any(each.media_format == media_format and each.seen_at < self.now for each in self.seen)

    def next_look(self, media_format: str, recording: Recording) -> timedelta:
        """How long to wait at least: a young recording is looked at often at first, an old one once more."""
        [look] = [each for each in self.seen if each.media_format == media_format]
        since = self.now - look.seen_at
        left = SECOND_LOOK - since
        is_young = self.now - (recording.ended_at or recording.created_at) < YOUNG
        return min(since, left) if is_young else left
