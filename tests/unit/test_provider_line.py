"""Requests to one server: the first in line next, no more at once than it can use, no faster than it lets in."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

import pytest

from winnow.errors import ProviderBusy, ProviderUnavailable
from winnow.providers.line import PATIENCE_SECONDS, Line, Place


class Clock:
    """A loop's time that passes at once: whoever sleeps is waited for."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Server:
    """Notes who asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, asyncio.Event] = {}

    async def request(self, name: str) -> str:
        self.asked.append(name)
        await self.answers.setdefault(name, asyncio.Event()).wait()
        return name

    async def answer(self, name: str) -> None:
        self.answers[name].set()
        await settled()


class LimitedServer:
    """Lets one request in every `interval` seconds; refuses others, with the time that is left as its wish."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.open_at = 0.0
        self.refused = 0
        self.served: list[str] = []

    async def request(self, name: str) -> str:
        now = asyncio.get_running_loop().time()
        if now < self.open_at:
            self.refused += 1
            raise ProviderBusy("slowly", retry_after_seconds=self.open_at - now + 0.001)
        self.open_at = now + self.interval
        self.served.append(name)
        return name


async def settled() -> None:
    """Everybody who can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_are_in_flight_than_the_server_can_use() -> None:
    line, server = Line(at_once=2), Server()
    tasks = [asyncio.create_task(line.ask(line.place(10), partial(server.request, name))) for name in "abc"]
    await settled()
    assert server.asked == ["a", "b"]
    await server.answer("b")
    assert server.asked == ["a", "b", "c"]
    for name in "ac":
        await server.answer(name)
    assert [await task for task in tasks] == ["a", "b", "c"]


async def test_a_batch_that_came_first_is_finished_first() -> None:
    line, server = Line(at_once=1), Server()
    first, second = line.place(100), line.place(100)

    async def batch(place: Place, names: str) -> None:
        for name in names:
            await line.ask(place, partial(server.request, name))

    tasks = [asyncio.create_task(batch(first, "abc")), asyncio.create_task(batch(second, "xy"))]
    await settled()
    for name in "abcxy":
        await server.answer(name)
    assert server.asked == list("abcxy")
    await asyncio.gather(*tasks)


async def test_a_small_batch_goes_before_large_ones() -> None:
    line, server = Line(at_once=1), Server()
    sizes = {"in flight": 100, "large": 100, "small": 1}
    tasks = [
        asyncio.create_task(line.ask(line.place(texts), partial(server.request, name))) for name, texts in sizes.items()
    ]
    await settled()
    for name in ("in flight", "small", "large"):
        await server.answer(name)
    assert server.asked == ["in flight", "small", "large"]
    await asyncio.gather(*tasks)


async def test_who_gives_up_in_the_line_holds_up_nobody() -> None:
    line, server = Line(at_once=1), Server()
    tasks = [asyncio.create_task(line.ask(line.place(1), partial(server.request, name))) for name in "abc"]
    await settled()
    tasks[1].cancel()
    tasks[0].cancel()  # in flight: its answer will not be waited for
    await settled()
    assert server.asked == ["a", "c"]
    await server.answer("c")
    assert await tasks[2] == "c"
    for task in tasks[:2]:
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()


async def test_other_errors_are_the_callers_and_free_the_place() -> None:
    line = Line(at_once=1)

    async def away() -> None:
        raise ProviderUnavailable("away")

    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await line.ask(line.place(1), away)
    await line.ask(line.place(1), settled)


async def test_a_limited_rate_is_kept_to_in_order_and_learned() -> None:
    line, server = Line(), LimitedServer(interval=0.02)
    names = [f"{number:02}" for number in range(40)]
    await asyncio.gather(*(line.ask(line.place(10), partial(server.request, name)) for name in names[:4]))
    after_the_first = server.refused
    served = await asyncio.gather(*(line.ask(line.place(10), partial(server.request, name)) for name in names[4:]))
    assert served == names[4:]
    assert sorted(server.served) == names
    # Every request would be refused at least once by such a server, had nothing been learned of its pace.
    assert server.refused - after_the_first < 18, "requests were sent faster than the server had shown it takes them"


@pytest.mark.parametrize("wish", [None, 0.0, 2.5, 600.0])
async def test_a_refusal_that_is_no_rate_limit_is_the_callers(wish: float | None) -> None:
    line, asked = Line(), 0

    async def refuse() -> None:
        nonlocal asked
        asked += 1
        raise ProviderBusy("busy", retry_after_seconds=wish)

    with pytest.raises(ProviderBusy):
        await line.ask(line.place(1), refuse)
    assert asked == 1


async def test_a_server_that_only_ever_refuses_is_ill() -> None:
    clock, asked = Clock(), 0
    line = Line(clock=clock)

    async def refuse() -> None:
        nonlocal asked
        asked += 1
        clock.now += 1.0  # and so does the line's waiting: the wish is over when it looks
        raise ProviderBusy("slowly", retry_after_seconds=0.001)

    with pytest.raises(ProviderBusy):
        await _with_time_passing(line, clock, refuse)
    assert 2 <= asked <= PATIENCE_SECONDS + 1


async def _with_time_passing(line: Line, clock: Clock, refuse: object) -> None:
    async def passing() -> None:
        while True:
            await asyncio.sleep(0.001)
            clock.now += 0.01

    time = asyncio.create_task(passing())
    try:
        await line.ask(line.place(1), refuse)  # type: ignore[arg-type]
    finally:
        time.cancel()
