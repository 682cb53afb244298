"""However many texts, each goes into one request of a size the server takes, once, and vectors come in their order."""

from __future__ import annotations

import asyncio
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import ProviderUnavailable, SomeInvalid
from winnow.providers.line import Line
from winnow.providers.patience import WARM_SECONDS, Patience
from winnow.providers.portions import (
    KEPT_VECTORS,
    Answer,
    BatchRefused,
    PortionedRequests,
    RequestLimits,
    first_portion,
)

WIDE = RequestLimits(texts=1000, size_bytes=10**6)


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


@pytest.mark.parametrize(
    ("sizes", "limits", "count"),
    [
        ([], (5, 100), 0),
        ([10, 10, 10], (5, 100), 3),
        ([10, 10, 10], (2, 100), 2),
        ([50, 50, 1], (5, 100), 2),
        ([101, 1], (5, 100), 1),
        ([1, 101], (5, 100), 1),
        ([99, 1, 0], (5, 100), 3),
        ([0, 0], (5, 0), 2),
    ],
)
def test_the_first_portion(sizes: list[int], limits: tuple[int, int], count: int) -> None:
    assert first_portion(sizes, RequestLimits(texts=limits[0], size_bytes=limits[1])) == count


@given(st.lists(st.integers(0, 60), min_size=1), st.integers(1, 10), st.integers(0, 100))
def test_a_portion_fits_and_one_more_text_would_not(sizes: list[int], texts: int, size_bytes: int) -> None:
    count = first_portion(sizes, RequestLimits(texts=texts, size_bytes=size_bytes))
    assert 1 <= count <= min(len(sizes), texts)
    assert count == 1 or sum(sizes[:count]) <= size_bytes
    assert count in (len(sizes), texts) or sum(sizes[: count + 1]) > size_bytes


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(1, 8), st.integers(1, 40), st.integers(1, 8))
async def test_every_text_has_its_own_vector_and_is_paid_for_once(
    texts: list[str], most: int, size_bytes: int, cap: int
) -> None:
    server = FakeServer(cap=cap)
    requests = PortionedRequests(server.ask, limits=RequestLimits(texts=most, size_bytes=size_bytes))
    answer = await requests.answer(texts)
    assert len(answer.vectors) == len(texts)
    assert [int(vector[0]) for vector in answer.vectors] == [len(text) for text in texts]
    assert server.paid == Counter(set(texts))
    assert answer.tokens == (len([r for r in server.requests if len(r) <= cap]) or None)


async def test_a_learned_cap_is_remembered() -> None:
    server = FakeServer(cap=32)
    requests = PortionedRequests(server.ask, limits=WIDE)
    texts = [f"text {n}" for n in range(100)]
    await requests.answer(texts)
    assert [len(request) for request in server.requests] == [100, 32, 32, 32, 4]
    await requests.answer([text + "!" for text in texts])
    assert [len(request) for request in server.requests[5:]] == [32, 32, 32, 4]


async def test_a_cap_that_makes_no_sense_still_ends() -> None:
    server = FakeServer()

    async def refuse_two(texts: list[str]) -> Answer:
        if len(texts) > 1:
            raise BatchRefused(10**9)
        return await server.ask(texts)

    answer = await PortionedRequests(refuse_two, limits=WIDE).answer(["a", "b", "c"])
    assert len(answer.vectors) == 3


async def test_what_a_failed_call_has_paid_for_is_not_paid_again() -> None:
    server = FakeServer()
    requests = PortionedRequests(server.ask, limits=RequestLimits(texts=2, size_bytes=1000))
    texts = ["a", "b", "c", "d", "e"]
    server.bad = {"e"}
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await requests.answer(texts)
    server.bad = set()
    assert len((await requests.answer(texts)).vectors) == 5
    assert server.paid == Counter(texts)
    await requests.answer(texts)
    assert server.paid["a"] == 2, "kept for the next call only: this is no cache"


async def test_kept_vectors_are_bounded() -> None:
    server = FakeServer()
    requests = PortionedRequests(server.ask, limits=RequestLimits(texts=1000, size_bytes=10**6))
    server.bad = {"last"}
    with pytest.raises(ProviderUnavailable):
        await requests.answer([*(f"{n}" for n in range(5000)), "last"])
    assert len(requests._kept) == KEPT_VECTORS


async def test_portions_of_different_dimensions_are_no_answer() -> None:
    async def ask(texts: list[str]) -> Answer:
        return Answer(vectors=np.ones((1, len(texts[0])), "f4"))

    with pytest.raises(SomeInvalid, match="text 1 of 2 has 1 numbers, most others 2"):
        await PortionedRequests(ask, limits=RequestLimits(texts=1, size_bytes=10)).answer(["a", "bb"])


async def test_a_useless_vector_keeps_no_other_portion_from_being_asked_for_or_kept() -> None:
    asked: list[str] = []

    async def ask(texts: list[str]) -> Answer:
        asked.extend(texts)
        if "bad" in texts:
            one = np.ones(2, "f4")
            raise SomeInvalid("useless", good={0: one}, bad={1: "has zeros only"})
        return Answer(vectors=np.ones((len(texts), 2), "f4"))

    requests = PortionedRequests(ask, limits=RequestLimits(texts=2, size_bytes=100))
    with pytest.raises(SomeInvalid, match="text 2 of 4 has zeros only") as caught:
        await requests.answer(["a", "bad", "b", "a"])
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
            raise BatchRefused(len(texts) // 2) from None  # as of a server that does not name its number

    requests = PortionedRequests(unnamed, limits=WIDE, line=line)
    batches = [[f"{batch} {number}" for number in range(100)] for batch in range(4)]
    await asyncio.gather(*(requests.answer(texts) for texts in batches))
    sizes = [len(texts) for texts in server.requests]
    assert sizes[:3] == [100, 50, 25]
    assert set(sizes[3:]) == {25}
