"""The number of requests at once grows while that brings more, stays where it does not, and falls when it is too much.

Servers take their time on the loop's own clock, which passes at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typing_extensions import override

from winnow.errors import ProviderBusy, ProviderTimeout, TextRefused, WinnowError
from winnow.providers.concurrency import FIRST_HOLD_SECONDS, Concurrency, Measured
from winnow.providers.endpoint import Answer, Endpoint
from winnow.providers.gate import OwnGate
from winnow.providers.line import SMALL_TEXTS, Line

if TYPE_CHECKING:
    from plugins.jumping import JumpingLoop

ANSWER_SECONDS = 0.1
MOST = 32


class Server(Endpoint):
    """Works `strength` requests at full speed; more of them share it. Refuses when `takes` are in flight already."""

    def __init__(self, *, strength: int, takes: int = 1000, error: WinnowError | None = None) -> None:
        self.strength, self.takes, self.error = strength, takes, error
        self.in_flight = self.most_in_flight = self.answered = self.refused = 0

    @property
    @override
    def shown(self) -> str:
        return "fake"

    @override
    async def ask(self, texts: list[str]) -> Answer:
        if self.error is not None and self.in_flight >= self.takes:
            self.refused += 1
            raise self.error
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(ANSWER_SECONDS * max(1.0, self.in_flight / self.strength))
        finally:
            self.in_flight -= 1
        self.answered += 1
        return Answer(vectors=np.ones((len(texts), 2), "f4"))

    @override
    async def close(self) -> None:
        pass


async def worked(
    server: Server, concurrency: Concurrency, loop: JumpingLoop, *, seconds: float, tasks: int = 40
) -> None:
    """So many tasks want answers all the time."""
    line, endpoint, ends = (
        Line(at_once=concurrency, gate=OwnGate(clock=loop.time)),
        Measured(server, concurrency),
        loop.time() + seconds,
    )

    async def task() -> None:
        while loop.time() < ends:
            try:
                await line.ask(line.place(SMALL_TEXTS), lambda: endpoint.ask(["some words"]))
            except WinnowError:
                await asyncio.sleep(0.1)

    await asyncio.gather(*(task() for _ in range(tasks)))


@pytest.mark.parametrize(("strength", "least", "most"), [(1, 1, 3), (4, 3, 5), (12, 10, 14), (1000, MOST, MOST)])
def test_it_finds_what_a_server_can_work_at_once(loop: JumpingLoop, strength: int, least: int, most: int) -> None:
    async def scene() -> None:
        concurrency, server = Concurrency(start=2, most=MOST, clock=loop.time), Server(strength=strength)
        await worked(server, concurrency, loop, seconds=100)
        assert least <= concurrency() <= most
        assert server.most_in_flight <= most + 1

    loop.run_until_complete(scene())


def test_what_is_found_is_nearly_all_that_could_be_had(loop: JumpingLoop) -> None:
    async def scene() -> None:
        concurrency, server = Concurrency(start=4, most=MOST, clock=loop.time), Server(strength=16)
        await worked(server, concurrency, loop, seconds=60)
        before = server.answered
        await worked(server, concurrency, loop, seconds=60)
        assert server.answered - before >= 0.85 * 16 * 60 / ANSWER_SECONDS

    loop.run_until_complete(scene())


def test_it_does_not_grow_while_nobody_needs_it(loop: JumpingLoop) -> None:
    async def scene() -> None:
        concurrency = Concurrency(start=4, most=MOST, clock=loop.time)
        await worked(Server(strength=1000), concurrency, loop, seconds=100, tasks=3)
        assert concurrency() == 4

    loop.run_until_complete(scene())


@pytest.mark.parametrize("error", [ProviderBusy("maximum pending requests exceeded"), ProviderTimeout()])
def test_too_much_halves_it_once_for_all_that_were_sent_together(loop: JumpingLoop, error: WinnowError) -> None:
    async def scene() -> None:
        concurrency = Concurrency(start=8, most=MOST, clock=loop.time)
        sent = [concurrency.started() for _ in range(8)]
        await asyncio.sleep(1)
        for sent_at in sent:
            concurrency.overloaded(sent_at)
        assert concurrency() == 4
        endpoint = Measured(Server(strength=1, takes=0, error=error), concurrency)
        await asyncio.sleep(1)
        for expected in (2, 1, 1):
            with pytest.raises(type(error)):
                await endpoint.ask(["x"])
            assert concurrency() == expected
            await asyncio.sleep(1)

    loop.run_until_complete(scene())


def test_after_too_much_it_stays_below_for_a_while_and_is_back_later(loop: JumpingLoop) -> None:
    async def scene() -> None:
        concurrency = Concurrency(start=8, most=MOST, clock=loop.time)
        concurrency.overloaded(concurrency.started())
        assert concurrency() == 4
        await worked(Server(strength=1000), concurrency, loop, seconds=FIRST_HOLD_SECONDS - 5)
        assert concurrency() == 7, "below what was too much"
        await worked(Server(strength=1000), concurrency, loop, seconds=100)
        assert concurrency() == MOST

    loop.run_until_complete(scene())


@pytest.mark.parametrize("error", [ProviderBusy("slowly", retry_after_seconds=30.0), TextRefused("odd")])
def test_a_limited_rate_and_a_bad_text_are_no_overload(loop: JumpingLoop, error: WinnowError) -> None:
    async def scene() -> None:
        concurrency = Concurrency(start=8, most=MOST, clock=loop.time)
        with pytest.raises(type(error)):
            await Measured(Server(strength=1, takes=0, error=error), concurrency).ask(["x"])
        assert concurrency() == 8

    loop.run_until_complete(scene())


def test_a_server_that_refuses_more_is_hardly_ever_given_more(loop: JumpingLoop) -> None:
    async def scene() -> None:
        concurrency = Concurrency(start=4, most=MOST, clock=loop.time)
        server = Server(strength=1000, takes=10, error=ProviderBusy("busy"))
        await worked(server, concurrency, loop, seconds=200)
        assert server.refused < 0.02 * server.answered
        assert server.answered > 0.8 * 10 * 200 / ANSWER_SECONDS

    loop.run_until_complete(scene())


def test_bounds_are_kept(loop: JumpingLoop) -> None:
    async def scene() -> None:
        concurrency, server = Concurrency(start=2, most=2, clock=loop.time), Server(strength=1000)
        await worked(server, concurrency, loop, seconds=30)
        assert server.most_in_flight == 2

    loop.run_until_complete(scene())
