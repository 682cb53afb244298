"""Requests are as large as a server takes: the size falls when it is refused, comes back, and nobody ever starves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.providers.batching import (
    GOOD_ANSWERS_AFTER_REFUSAL,
    GOOD_ANSWERS_AFTER_SILENCE,
    AdaptiveLimits,
    RequestLimits,
    estimated_tokens,
    first_portion,
    request_tokens,
    surely_fits,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("диск", 4), ("диск ok", 5), ("磁盘", 3), ("🐉", 2), ("\ud800", 1)],
)
def test_tokens_of_a_text(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_never_has_fewer_tokens_and_each_strange_character_one(text: str, more: str) -> None:
    assert estimated_tokens(text + more) >= estimated_tokens(text)
    assert estimated_tokens(text) >= sum(not character.isascii() for character in text)


@given(st.text(), st.integers(0, 100))
def test_what_surely_fits_does(text: str, tokens: int) -> None:
    assert not surely_fits(text, tokens) or estimated_tokens(text) <= tokens


@pytest.mark.parametrize(("size_bytes", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (1_200_000, 300_000)])
def test_tokens_in_a_request(size_bytes: int, tokens: int) -> None:
    assert request_tokens(size_bytes) == tokens


@pytest.mark.parametrize(
    ("tokens", "limits", "count"),
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
def test_the_first_portion(tokens: list[int], limits: tuple[int, int], count: int) -> None:
    assert first_portion(tokens, RequestLimits(texts=limits[0], tokens=limits[1])) == count


@given(st.lists(st.integers(0, 60), min_size=1), st.integers(1, 10), st.integers(0, 100))
def test_a_portion_fits_and_one_more_text_would_not(tokens: list[int], texts: int, most: int) -> None:
    count = first_portion(tokens, RequestLimits(texts=texts, tokens=most))
    assert 1 <= count <= min(len(tokens), texts)
    assert count == 1 or sum(tokens[:count]) <= most
    assert count in (len(tokens), texts) or sum(tokens[: count + 1]) > most


MOST = RequestLimits(texts=100, tokens=1000)


def test_a_refused_size_is_halved() -> None:
    limits = AdaptiveLimits(MOST)
    limits.refused([10] * 100, named=None)
    assert limits.now == RequestLimits(texts=50, tokens=500)
    limits.refused([10] * 50, named=None)
    assert limits.now == RequestLimits(texts=25, tokens=250)
    limits.refused([10] * 50, named=None)
    assert limits.now == RequestLimits(texts=25, tokens=250), "it was sent before the last one was refused"


def test_a_number_that_the_server_named_is_not_tried_again() -> None:
    limits = AdaptiveLimits(MOST)
    limits.refused([1] * 100, named=32)
    for _ in range(10_000):
        limits.answered(was_full=True)
    assert limits.now == RequestLimits(texts=32, tokens=1000)


def grown(limits: AdaptiveLimits) -> int:
    """Full answers until the next step."""
    before = limits.now
    for count in range(1, 10_000):
        limits.answered(was_full=True)
        if limits.now != before:
            return count
    raise AssertionError("it never grows")


def test_a_size_comes_back_step_by_step_and_what_is_refused_again_ever_later() -> None:
    limits = AdaptiveLimits(MOST)
    limits.refused([10] * 100, named=None)
    limits.refused([10] * 50, named=None)
    first = grown(limits)
    assert first >= GOOD_ANSWERS_AFTER_REFUSAL
    assert limits.now == RequestLimits(texts=50, tokens=500)
    limits.refused([10] * 50, named=None)
    assert grown(limits) > first
    grown(limits)
    assert limits.now == MOST


def test_after_silence_the_size_is_soon_back() -> None:
    limits = AdaptiveLimits(MOST)
    limits.unanswered([10] * 100)
    assert limits.now == RequestLimits(texts=50, tokens=500)
    assert grown(limits) == GOOD_ANSWERS_AFTER_SILENCE
    assert limits.now == MOST


def test_answers_to_small_requests_say_nothing_of_large_ones() -> None:
    limits = AdaptiveLimits(MOST)
    limits.unanswered([10] * 100)
    for _ in range(1000):
        limits.answered(was_full=False)
    assert limits.now.texts == 50


def test_one_text_that_is_not_answered_in_time_makes_no_request_smaller() -> None:
    limits = AdaptiveLimits(MOST)
    limits.unanswered([5000])
    assert limits.now == MOST


EVENTS = st.lists(
    st.tuples(st.sampled_from(["refused", "named", "unanswered", "answered"]), st.integers(1, 200)), max_size=200
)


@given(EVENTS, st.lists(st.integers(0, 3000), min_size=1, max_size=50))
def test_whatever_happens_every_text_gets_its_turn_and_no_limit_is_overstepped(
    events: list[tuple[str, int]], waiting: list[int]
) -> None:
    limits, ceiling = AdaptiveLimits(MOST), MOST.texts
    for what, number in events:
        portion = [7] * min(number, limits.now.texts)
        if what == "answered":
            limits.answered(was_full=True)
        elif what == "unanswered":
            limits.unanswered(portion)
        else:
            named = number if what == "named" else None
            if named is not None and named < len(portion):
                ceiling = min(ceiling, named)
            limits.refused(portion, named=named)
        assert 1 <= limits.now.texts <= ceiling
        assert 1 <= limits.now.tokens <= MOST.tokens
    while waiting:
        count = first_portion(waiting, limits.now)
        assert count >= 1
        waiting = waiting[count:]


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_server_that_takes_any_size_at_all_is_found(sent: int, takes: int) -> None:
    limits = AdaptiveLimits(RequestLimits(texts=sent, tokens=10**9))
    for _ in range(20):
        portion = [1] * limits.now.texts
        if len(portion) <= takes:
            return
        limits.refused(portion, named=None)
    raise AssertionError(f"still {limits.now.texts}")


def test_a_size_that_proves_good_is_felt_for_sooner_the_next_time() -> None:
    limits = AdaptiveLimits(RequestLimits(texts=1024, tokens=10**6))
    for _ in range(4):
        limits.refused([1] * limits.now.texts, named=None)
    first = grown(limits)
    assert grown(limits) == first, "this is its trial"
    assert grown(limits) < first


def test_after_silence_the_size_is_soon_felt_for_again_whatever_was_refused_before() -> None:
    limits = AdaptiveLimits(RequestLimits(texts=1024, tokens=10**6))
    for _ in range(4):
        limits.refused([1] * limits.now.texts, named=None)
    limits.unanswered([1] * limits.now.texts)
    assert grown(limits) == GOOD_ANSWERS_AFTER_SILENCE
