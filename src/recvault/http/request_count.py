"""How many requests were made, by result."""

from __future__ import annotations

import threading
from collections import Counter

NO_ANSWER = "error"


class RequestCount:
    """Counts requests by result: a status, or "error" without an answer. Thread-safe.

    Includes redirects and retries. A request refused here, for its address or by an open circuit, does not count.
    """

    def __init__(self, whole: RequestCount | None = None) -> None:
        self._whole = whole  # which counts them, too
        self._answers = Counter[str]()
        self._lock = threading.Lock()

    def add(self, answers: Counter[str]) -> None:
        """Count requests."""
        with self._lock:
            self._answers.update(answers)
        if self._whole is not None:
            self._whole.add(answers)

    @property
    def answers(self) -> Counter[str]:
        """Requests so far by result."""
        with self._lock:
            return self._answers.copy()

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return self.answers.total()

    @property
    def answered(self) -> int:
        """The number of requests that got an answer."""
        answers = self.answers
        return answers.total() - answers[NO_ANSWER]
