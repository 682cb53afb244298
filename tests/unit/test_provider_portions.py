"""However many texts, each goes into one request of a size the server takes, once, and vectors come in their order."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from winnow.domain.pacing import Pace
from winnow.errors import ProviderTimeout, ProviderUnavailable, SomeInvalid, TextTooLong
from winnow.providers.batching import RequestLimits
from winnow.providers.endpoint import Answer, BatchRefused, Endpoint
from winnow.providers.gate import OwnGate
from winnow.providers.instrumentation import Instrumented, accounted
from winnow.providers.line import Line
from winnow.providers.patience import WARM_SECONDS, Patience
from winnow.providers.portions import KEPT_VECTORS, PortionedRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WIDE = RequestLimits(texts=1000, tokens=10**6)


class Fake(Endpoint):
    """An endpoint that answers by a function."""

    def __init__(self, answer: Callable[[list[str]], Awaitable[Answer]]) -> None:
        self._answer = answer

    @property
    @override
    def shown(self) -> str:
        return "fake"

    @override
    async def ask(self, texts: list[str]) -> Answer:
        return await self._answer(texts)

    @override
    async def close(self) -> None:
        pass


class FakeServer:
    """Answers with the text's number; takes at most `cap` texts; fails on the texts in `bad`."""

    def __init__(self, *, cap: int = 10**6) -> None:
        self.cap = cap
        self.bad: set[str] = set()
        self.requests: list[list[str]] = []
        self.paid: Counter[str] = Counter()

    async def ask(self, texts: list[str]) -> Answer:
        self.requests.append(texts)
        if len(texts) > self.cap:
            raise BatchRefused(self.cap)
        if self.bad & set(texts):
            raise ProviderUnavailable
        self.paid.update(texts)
        return Answer(vectors=np.array([[len(text), 1.0] for text in texts], "f4"), tokens=1)


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(1, 8), st.integers(1, 40), st.integers(1, 8))
async def test_every_text_has_its_own_vector_and_is_paid_for_once(
    texts: list[str], most: int, tokens: int, cap: int
) -> None:
    server = FakeServer(cap=cap)
    endpoint = Instrumented(Fake(server.ask))
    with accounted() as took:
        vectors = await PortionedRequests(endpoint, limits=RequestLimits(texts=most, tokens=tokens)).vectors(texts)
    assert len(vectors) == len(texts)
    assert [int(vector[0]) for vector in vectors] == [len(text) for text in texts]
    assert server.paid == Counter(set(texts))
    assert took.tokens == (len([request for request in server.requests if len(request) <= cap]) or None)
    assert (took.requests, took.texts) == (len(server.requests), sum(map(len, server.requests)))


async def test_a_learned_cap_is_remembered() -> None:
    server = FakeServer(cap=32)
    requests = PortionedRequests(Fake(server.ask), limits=WIDE)
    texts = [f"text {n}" for n in range(100)]
    await requests.vectors(texts)
    assert [len(request) for request in server.requests] == [100, 32, 32, 32, 4]
    await requests.vectors([text + "!" for text in texts])
    assert [len(request) for request in server.requests[5:]] == [32, 32, 32, 4]


async def test_a_cap_that_makes_no_sense_still_ends() -> None:
    server = FakeServer()

    async def refuse_two(texts: list[str]) -> Answer:
        if len(texts) > 1:
            raise BatchRefused(10**9)
        return await server.ask(texts)

    vectors = await PortionedRequests(Fake(refuse_two), limits=WIDE).vectors(["a", "b", "c"])
    assert len(vectors) == 3


async def test_one_text_that_is_refused_for_its_number_is_too_long() -> None:
    async def refuse(texts: list[str]) -> Answer:
        raise BatchRefused(None)

    with pytest.raises(TextTooLong):
        await PortionedRequests(Fake(refuse), limits=WIDE).vectors(["a", "b", "c"])


async def test_what_was_not_answered_in_time_is_asked_for_in_smaller_requests() -> None:
    server = FakeServer()

    async def slow(texts: list[str]) -> Answer:
        if len(texts) > 30:
            server.requests.append(texts)
            raise ProviderTimeout
        return await server.ask(texts)

    requests = PortionedRequests(Fake(slow), limits=WIDE)
    texts = [f"text {n}" for n in range(100)]
    for _ in range(2):
        with pytest.raises(ProviderTimeout):
            await requests.vectors(texts)
    assert len(await requests.vectors(texts)) == 100
    assert [len(request) for request in server.requests] == [100, 50, 25, 25, 25, 25]


async def test_what_a_failed_call_has_paid_for_is_not_paid_again() -> None:
    server = FakeServer()
    requests = PortionedRequests(Fake(server.ask), limits=RequestLimits(texts=2, tokens=1000))
    texts = ["a", "b", "c", "d", "e"]
    server.bad = {"e"}
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await requests.vectors(texts)
    server.bad = set()
    assert len(await requests.vectors(texts)) == 5
    assert server.paid == Counter(texts)
    await requests.vectors(texts)
    assert server.paid["a"] == 2, "kept for the next call only: this is no cache"


async def test_kept_vectors_are_bounded() -> None:
    server = FakeServer()
    requests = PortionedRequests(Fake(server.ask), limits=RequestLimits(texts=1000, tokens=10**6))
    server.bad = {"last"}
    with pytest.raises(ProviderUnavailable):
        await requests.vectors([*(f"{n}" for n in range(5000)), "last"])
    assert len(requests._kept) == KEPT_VECTORS


async def test_portions_of_different_dimensions_are_no_answer() -> None:
    async def ask(texts: list[str]) -> Answer:
        return Answer(vectors=np.ones((1, len(texts[0])), "f4"))

    with pytest.raises(SomeInvalid, match="text 1 of 2 has 1 numbers, most others 2"):
        await PortionedRequests(Fake(ask), limits=RequestLimits(texts=1, tokens=10)).vectors(["a", "bb"])


async def test_a_useless_vector_keeps_no_other_portion_from_being_asked_for_or_kept() -> None:
    asked: list[str] = []

    async def ask(texts: list[str]) -> Answer:
        asked.extend(texts)
        if "bad" in texts:
            one = np.ones(2, "f4")
            raise SomeInvalid("useless", good={0: one}, bad={1: "has zeros only"})
        return Answer(vectors=np.ones((len(texts), 2), "f4"))

    requests = PortionedRequests(Fake(ask), limits=RequestLimits(texts=2, tokens=100))
    with pytest.raises(SomeInvalid, match="text 2 of 4 has zeros only") as caught:
        await requests.vectors(["a", "bad", "b", "a"])
    assert sorted(caught.value.good) == [0, 2, 3]
    assert caught.value.bad == {1: "has zeros only"}
    assert asked == ["a", "bad", "b"]


def test_patience_is_long_until_an_answer_and_again_after_silence() -> None:
    now = 0.0
    patience = Patience(first_seconds=300, usual_seconds=60, clock=lambda: now)
    assert patience.seconds == 300
    patience.answered()
    assert patience.seconds == 60
    patience.unanswered()
    assert patience.seconds == 300
    patience.answered()
    now = WARM_SECONDS + 1.0
    assert patience.seconds == 300


def test_the_first_timeout_is_never_the_shorter() -> None:
    assert Patience(first_seconds=5, usual_seconds=60).seconds == 60


async def test_a_cap_that_another_batch_has_met_is_kept_by_all_who_wait() -> None:
    server, line = FakeServer(cap=32), Line(at_once=1)

    async def unnamed(texts: list[str]) -> Answer:
        try:
            return await server.ask(texts)
        except BatchRefused:
            raise BatchRefused(None) from None

    requests = PortionedRequests(Fake(unnamed), limits=WIDE, line=line)
    batches = [[f"{batch} {number}" for number in range(100)] for batch in range(4)]
    await asyncio.gather(*(requests.vectors(texts) for texts in batches))
    sizes = [len(texts) for texts in server.requests]
    assert sizes[:3] == [100, 50, 25]
    assert set(sizes[3:]) == {25}


async def test_a_portion_leaves_small_requests_their_share_of_a_minute_s_tokens() -> None:
    server = FakeServer()
    line = Line(gate=OwnGate(Pace(tokens_per_minute=100), clock=lambda: 0.0))
    requests = PortionedRequests(Fake(server.ask), limits=WIDE, line=line)
    call = asyncio.create_task(requests.vectors([f"{number:04}" * 10 for number in range(12)]))
    for _ in range(20):  # as far as it comes
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert len(server.requests[0]) == 8, "of ten tokens each"
