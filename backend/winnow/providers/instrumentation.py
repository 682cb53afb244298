"""What a call took: its requests, the texts and tokens in them, and their time, whichever server they went to."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from winnow.domain.usage import tokens_by_bytes
from winnow.errors import AnswerInvalid, ProviderUnavailable
from winnow.providers.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from winnow.providers.endpoint import Answer


@dataclass(slots=True)
class Took:
    """Requests that were answered, refused ones too, texts in them, the sum of their seconds, and tokens if told.

    `untold` is about how many tokens were in answers that did not tell. `is_exact`: no request is missing, so that 0 of
    them says that none was needed.
    """

    requests: int = 0
    texts: int = 0
    seconds: float = 0.0
    tokens: int | None = None
    untold: int = 0
    is_exact: bool = False

    def add(self, other: Took) -> None:
        """Takes over what another call took."""
        self.requests += other.requests
        self.texts += other.texts
        self.seconds += other.seconds
        self.untold += other.untold
        self.is_exact = self.is_exact or other.is_exact
        if other.tokens is not None:
            self.tokens = (self.tokens or 0) + other.tokens


# Requests run in the task of the call they are made for, below wrappers that need not know of this.
_of_this_call: ContextVar[Took | None] = ContextVar("winnow_provider_took", default=None)


@contextmanager
def accounted() -> Iterator[Took]:
    """The requests that instrumented endpoints make within are counted in what is yielded, and in what is around it."""
    took, around = Took(), _of_this_call.get()
    token = _of_this_call.set(took)
    try:
        yield took
    finally:
        _of_this_call.reset(token)
        if around is not None:
            around.add(took)


class Instrumented(Endpoint):
    """An endpoint whose requests are counted for the call they are made for."""

    def __init__(self, endpoint: Endpoint, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._endpoint = endpoint
        self._clock = clock

    @property
    @override
    def shown(self) -> str:
        """As the endpoint inside."""
        return self._endpoint.shown

    @override
    async def ask(self, texts: list[str]) -> Answer:
        """As the endpoint inside."""
        started = self._clock()
        took = Took(requests=1, texts=len(texts))
        try:
            answer = await self._endpoint.ask(texts)
            took.tokens = answer.tokens
            if answer.tokens is None:
                took.untold = tokens_by_bytes(texts)
        except AnswerInvalid:
            took.untold = tokens_by_bytes(texts)
            raise
        except (ProviderUnavailable, asyncio.CancelledError):
            took.requests = took.texts = 0
            raise
        else:
            return answer
        finally:
            took.seconds = self._clock() - started
            if (of_this_call := _of_this_call.get()) is not None:
                of_this_call.add(took)

    @override
    async def close(self) -> None:
        """As the endpoint inside."""
        await self._endpoint.close()
