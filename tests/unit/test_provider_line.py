"""Requests to one server: the first in line next, no more at once than it can use, no faster than it lets in.

Time is the loop's own and passes at once, so minutes cost milliseconds and nothing depends on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from winnow.domain.pacing import PATIENCE_SECONDS
from winnow.errors import ProviderBusy, ProviderUnavailable, TextRefused
from winnow.providers.gate import Entry, OwnGate
from winnow.providers.line import SMALL_TEXTS, Line, Place

if TYPE_CHECKING:
    from plugins.jumping import JumpingLoop

Request = Callable[[], Awaitable[Any]]
LARGE = SMALL_TEXTS
ANSWER_SECONDS = 0.15


class Server:
    """Takes its time over an answer, and notes who asked, and how many were at it at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0

    async def request(self, name: str) -> str:
        self.asked.append(name)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(ANSWER_SECONDS)
        finally:
            self.in_flight -= 1
        return name


class LimitedServer:
    """A bucket of `burst` requests that fills at `rate` a second; `whole_seconds`: its wish is `Retry-After: 1`."""

    def __init__(self, loop: JumpingLoop, *, rate: float, burst: int = 1, whole_seconds: bool = False) -> None:
        self.loop, self.rate, self.burst, self.whole_seconds = loop, rate, burst, whole_seconds
        self.tokens, self.filled_at = float(burst), loop.time()
        self.served = self.refused = 0

    async def request(self) -> None:
        now = self.loop.time()
        self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1 - 1e-6:
            self.refused += 1
            rest = (1 - self.tokens) / self.rate
            raise ProviderBusy("slowly", retry_after_seconds=1.0 if self.whole_seconds else rest + 0.001)
        self.tokens -= 1
        self.served += 1
        await asyncio.sleep(ANSWER_SECONDS)


def refusing(error: Exception, asked: list[float], loop: JumpingLoop) -> Request:
    async def refuse() -> None:
        asked.append(loop.time())
        raise error

    return refuse


# -- order


def test_no_more_are_in_flight_than_the_server_can_use(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=2, gate=OwnGate(clock=loop.time)), Server()
        names = list("abcdefg")
        answers = [line.ask(line.place(LARGE), partial(server.request, name)) for name in names]
        assert await asyncio.gather(*answers) == names
        assert server.asked == names
        assert server.most_in_flight == 2

    loop.run_until_complete(scene())


def test_a_batch_that_came_first_is_finished_first(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=1, gate=OwnGate(clock=loop.time)), Server()

        async def batch(place: Place, names: str) -> None:
            for name in names:
                await line.ask(place, partial(server.request, name))

        await asyncio.gather(batch(line.place(LARGE), "abc"), batch(line.place(LARGE + 9), "xy"))
        assert server.asked == list("abcxy")

    loop.run_until_complete(scene())


def test_a_small_batch_goes_before_large_ones(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=1, gate=OwnGate(clock=loop.time)), Server()
        sizes = {"in flight": LARGE, "large": LARGE, "small": SMALL_TEXTS - 1, "larger": 2 * LARGE, "one": 1}
        await asyncio.gather(
            *(line.ask(line.place(size), partial(server.request, name)) for name, size in sizes.items())
        )
        assert server.asked == ["in flight", "small", "one", "large", "larger"]

    loop.run_until_complete(scene())


def test_a_prompt_that_came_first_goes_behind_a_text_that_somebody_waits_for(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=1), Server()
        order = [("now", line.place(LARGE)), ("prompt", line.place_of_prompt()), ("query", line.place(1))]
        await asyncio.gather(*(line.ask(place, partial(server.request, name)) for name, place in order))
        assert server.asked == ["now", "query", "prompt"]

    loop.run_until_complete(scene())


@pytest.mark.parametrize("found", [1, 2])
def test_prompts_that_take_all_places_leave_one_to_texts(loop: JumpingLoop, found: int) -> None:
    async def scene() -> None:
        line, server = Line(at_once=lambda: found), Server()
        prompts = [
            asyncio.create_task(line.ask(line.place_of_prompt(), partial(asyncio.sleep, 300))) for _ in range(found + 1)
        ]
        await asyncio.sleep(1)
        for name in ("query", "the next one"):
            await line.ask(line.place(1), partial(server.request, name))
        assert server.most_in_flight == 1
        assert not any(prompt.done() for prompt in prompts)
        await asyncio.gather(*prompts)
        assert loop.time() > 600, "the last prompt has waited for a place"

    loop.run_until_complete(scene())


def test_where_a_person_said_how_many_texts_wait_for_prompts(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=1), Server()
        prompt = asyncio.create_task(line.ask(line.place_of_prompt(), partial(asyncio.sleep, 300)))
        await asyncio.sleep(1)
        await line.ask(line.place(1), partial(server.request, "query"))
        assert prompt.done()

    loop.run_until_complete(scene())


def test_who_gives_up_holds_up_nobody(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(at_once=1, gate=OwnGate(clock=loop.time)), Server()
        tasks = [asyncio.create_task(line.ask(line.place(1), partial(server.request, name))) for name in "abcd"]
        await asyncio.sleep(0.01)
        tasks[1].cancel()  # in the line
        tasks[0].cancel()  # in flight
        assert await tasks[2] == "c"
        tasks[3].cancel()  # just let in
        assert await line.ask(line.place(1), partial(server.request, "e")) == "e"
        assert server.asked == ["a", "c", "d", "e"]

    loop.run_until_complete(scene())


def test_who_gives_up_before_a_limited_rate_lets_it_in_holds_up_nobody(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(gate=OwnGate(clock=loop.time)), LimitedServer(loop, rate=1)
        tasks = [asyncio.create_task(line.ask(line.place(LARGE), server.request)) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert server.served == 2
        assert loop.time() < 1003

    loop.run_until_complete(scene())


def test_other_errors_are_the_callers_and_free_the_place(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, asked = Line(at_once=1, gate=OwnGate(clock=loop.time)), list[float]()
        for _ in range(3):
            with pytest.raises(ProviderUnavailable):
                await line.ask(line.place(1), refusing(ProviderUnavailable("away"), asked, loop))
        assert len(asked) == 3

    loop.run_until_complete(scene())


# -- a limited rate


@pytest.mark.parametrize(
    ("burst", "whole_seconds", "least"), [(1, False, 0.95), (2, False, 0.95), (10, False, 0.95), (10, True, 0.9)]
)
def test_what_a_limited_rate_gives_is_used_and_hardly_ever_overstepped(
    loop: JumpingLoop, burst: int, whole_seconds: bool, least: float
) -> None:
    async def scene() -> None:
        line = Line(gate=OwnGate(clock=loop.time))
        server = LimitedServer(loop, rate=500 / 60, burst=burst, whole_seconds=whole_seconds)

        async def task() -> None:
            while loop.time() < 1120:
                await line.ask(line.place(LARGE), server.request)

        await asyncio.gather(*(task() for _ in range(4)))
        assert server.served >= least * 120 * server.rate
        assert server.refused <= 0.1 * server.served

    loop.run_until_complete(scene())


def test_one_refusal_slows_nobody_down_for_long(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server, asked = Line(gate=OwnGate(clock=loop.time)), Server(), list[float]()
        refusals = iter([ProviderBusy("slowly", retry_after_seconds=1.0)])

        async def request() -> str:
            for refusal in refusals:
                asked.append(loop.time())
                raise refusal
            return await server.request("")

        for _ in range(600):
            await line.ask(line.place(LARGE), request)
        assert len(asked) == 1
        assert loop.time() - 1000 < 1.1 * (600 * ANSWER_SECONDS + 1)

    loop.run_until_complete(scene())


def test_a_pair_now_and_then_is_spaced_and_not_slower_each_time(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server, slowest = Line(gate=OwnGate(clock=loop.time)), LimitedServer(loop, rate=500 / 60), 0.0
        for _ in range(60):
            await asyncio.sleep(2)
            began = loop.time()
            await asyncio.gather(*(line.ask(line.place(1), server.request) for _ in range(2)))
            slowest = max(slowest, loop.time() - began)
        assert slowest < 0.5
        assert server.refused < 30

    loop.run_until_complete(scene())


def test_who_is_refused_keeps_the_place(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, limited, order = Line(gate=OwnGate(clock=loop.time)), LimitedServer(loop, rate=5), list[int]()

        async def ask(number: int) -> None:
            await line.ask(line.place(LARGE), limited.request)
            order.append(number)

        await asyncio.gather(*(ask(number) for number in range(12)))
        assert order == sorted(order)

    loop.run_until_complete(scene())


def test_who_is_not_patient_goes_without_rather_than_wait(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, asked = Line(gate=OwnGate(clock=loop.time)), list[float]()
        busy = refusing(ProviderBusy("slowly", retry_after_seconds=1.0), asked, loop)
        for _ in range(3):
            with pytest.raises(ProviderBusy):
                await line.ask(line.place(1), busy, is_patient=False)
        assert (len(asked), loop.time()) == (1, 1000), "the second and the third know already"
        await asyncio.sleep(1.1)
        await line.ask(line.place(1), partial(Server().request, ""), is_patient=False)

    loop.run_until_complete(scene())


# -- no limited rate


@pytest.mark.parametrize("wish", [None, 0.0, 2.5, 600.0])
def test_a_refusal_that_is_no_rate_limit_is_the_callers(loop: JumpingLoop, wish: float | None) -> None:
    async def scene() -> None:
        line, asked = Line(gate=OwnGate(clock=loop.time)), list[float]()
        with pytest.raises(ProviderBusy):
            await line.ask(line.place(1), refusing(ProviderBusy("busy", retry_after_seconds=wish), asked, loop))
        assert len(asked) == 1

    loop.run_until_complete(scene())


def test_a_server_that_only_ever_refuses_is_ill_for_all_at_once(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, asked = Line(gate=OwnGate(clock=loop.time)), list[float]()
        busy = refusing(ProviderBusy("slowly", retry_after_seconds=1.0), asked, loop)
        tasks = (line.ask(line.place(LARGE), busy) for _ in range(12))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ProviderBusy}
        assert PATIENCE_SECONDS - 3 < asked[-1] - 1000 < PATIENCE_SECONDS + 1
        assert len(asked) < 2 * PATIENCE_SECONDS + 24

    loop.run_until_complete(scene())


@pytest.mark.parametrize("between", [TextRefused("odd"), ProviderUnavailable("away"), None])
def test_refusals_far_apart_have_nothing_to_do_with_each_other(loop: JumpingLoop, between: Exception | None) -> None:
    async def scene() -> None:
        line = Line(gate=OwnGate(clock=loop.time))
        for _ in range(3):
            answers: list[Exception | None] = [ProviderBusy("slowly", retry_after_seconds=0.5), between]

            async def request(answers: list[Exception | None] = answers) -> None:
                answer = answers.pop(0)
                if answer is not None:
                    raise answer
                await asyncio.sleep(ANSWER_SECONDS)

            asked = asyncio.gather(line.ask(line.place(LARGE), request), return_exceptions=True)
            await asyncio.wait_for(asked, 10)
            assert not answers, "the refused one was asked again"
            await asyncio.sleep(3600)

    loop.run_until_complete(scene())


class DistantGate(OwnGate):
    """Takes a moment over its answer, and lets large requests wait at first."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__(clock=loop.time)
        self.opens_at = loop.time() + 3.0
        self.loop = loop
        self.entered = 0

    @override
    async def enter(self, *, tokens: int, is_large: bool) -> Entry:
        self.entered += 1
        await asyncio.sleep(0.01)
        wait = max(0.0, self.opens_at - self.loop.time()) if is_large else 0.0
        return Entry(wait, self.loop.time())


def test_who_comes_while_the_first_is_at_the_gate_is_not_forgotten(loop: JumpingLoop) -> None:
    async def scene() -> None:
        gate, server = DistantGate(loop), Server()
        line = Line(at_once=1, gate=gate)
        large = asyncio.create_task(line.ask(line.place(LARGE), partial(server.request, "large")))
        await asyncio.sleep(0.005)
        small = asyncio.create_task(line.ask(line.place(1), partial(server.request, "small")))
        assert set(await asyncio.gather(large, small)) == {"large", "small"}
        assert server.asked == ["small", "large"]
        assert gate.entered < 6, "and nobody asks the gate in circles"

    loop.run_until_complete(scene())


def test_who_has_no_patience_does_not_wait_at_the_gate_either(loop: JumpingLoop) -> None:
    async def scene() -> None:
        line, server = Line(gate=DistantGate(loop)), Server()
        with pytest.raises(ProviderBusy):
            await line.ask(line.place(LARGE), partial(server.request, "search"), is_patient=False)
        assert not server.asked
        assert await line.ask(line.place(LARGE), partial(server.request, "batch")) == "batch"

    loop.run_until_complete(scene())
