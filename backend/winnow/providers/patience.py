"""How long one answer is waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_SECONDS = 300
"""After this long without an answer a server may have unloaded the model (Ollama's own default is five minutes)."""


def no_answer_within(seconds: float, *, shown: str) -> str:
    """What is told of a server, `shown` by this name, that did not answer in time."""
    return (
        f"{shown} gave no answer within {seconds:g} s; if it is only slow, raise WINNOW_PROVIDER_TIMEOUT_SECONDS and "
        "WINNOW_PROVIDER_FIRST_TIMEOUT_SECONDS"
    )


class Patience:
    """The long timeout while the model may have to be loaded, the usual one while it is known to be warm."""

    def __init__(
        self, *, first_seconds: float, usual_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_seconds = max(first_seconds, usual_seconds)
        self._usual_seconds = usual_seconds
        self._clock = clock
        self._warm_until: float | None = None

    @property
    def seconds(self) -> float:
        """The longest wait for the request that is made now."""
        warm = self._warm_until is not None and self._clock() < self._warm_until
        return self._usual_seconds if warm else self._first_seconds

    def answered(self) -> None:
        """The model gave vectors: it is loaded."""
        self._warm_until = self._clock() + WARM_SECONDS

    def unanswered(self) -> None:
        """No answer came, or the server has gone: when it is back, it loads the model again."""
        self._warm_until = None
