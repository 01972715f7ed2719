"""A transfer under watch: that it goes on, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from recvault.meter import Meter
from recvault.models import Job, Outcome
from recvault.stopping import Pulse


@dataclass(frozen=True, slots=True)
class Watched:
    """Carries out jobs as `transfer` does, in the same thread."""

    transfer: Callable[[Job], Outcome]
    pulse: Pulse
    meter: Meter | None

    def __call__(self, job: Job) -> Outcome:
        begun = time.monotonic()
        with self.pulse.working():
            outcome = self.transfer(job)
        if self.meter is not None:
            self.meter.transferred(job.source, time.monotonic() - begun)
        return outcome
