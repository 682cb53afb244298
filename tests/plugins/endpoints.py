"""Endpoints of servers that are steered, and a clock that is set: two endpoints behind one `FailOver`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typing_extensions import override

from winnow.errors import (
    ProviderUnavailable,
    WinnowError,
)
from winnow.providers.endpoint import Answer, Endpoint
from winnow.providers.failover import FailOver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SENTENCE = "the fixed sentence"
SPACE = [3.0, 4.0, 0.0]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server(Endpoint):
    """Embeds everything as `vector`, unless `error` says otherwise; `refuses` are errors for texts alone."""

    def __init__(self, name: str, vector: Sequence[float] = SPACE) -> None:
        self.name = name
        self.vector = vector
        self.error: WinnowError | None = None
        self.refuses: Exception | None = None
        self.asked: list[list[str]] = []
        self.blocked: asyncio.Event | None = None
        self.is_closed = False

    @property
    @override
    def shown(self) -> str:
        return f"http://{self.name}"

    @property
    def batches(self) -> int:
        return sum(texts != [SENTENCE] for texts in self.asked)

    @property
    def looks(self) -> int:
        return len(self.asked) - self.batches

    @override
    async def ask(self, texts: list[str]) -> Answer:
        self.asked.append(texts)
        if self.blocked is not None:
            await self.blocked.wait()
        if self.error is not None:
            raise self.error
        if self.refuses is not None and texts != [SENTENCE]:
            raise self.refuses
        return Answer(vectors=np.array([self.vector for _ in texts], "f4"), tokens=len(texts))

    @override
    async def close(self) -> None:
        self.is_closed = True

    def away(self) -> None:
        self.error = ProviderUnavailable(f"http://{self.name} does not answer")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def first() -> Server:
    return Server("first")


@pytest.fixture
def second() -> Server:
    return Server("second")


@pytest.fixture
async def both(first: Server, second: Server, clock: Clock) -> AsyncIterator[FailOver]:
    made = FailOver([first, second], sentence=SENTENCE, clock=clock)
    yield made
    await made.close()
    assert first.is_closed
    assert second.is_closed


async def settle() -> None:
    """Looks in the background have ended, those at servers that answer at all."""
    for _ in range(10):
        await asyncio.sleep(0)
