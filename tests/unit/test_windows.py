"""Windows hold every message once and in order, and end where the talk turns or pauses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.knowledge import WindowMessage
from winnow.domain.windows import split_windows

START = datetime(2025, 3, 3, 9, tzinfo=UTC)


def talk(texts: list[str], pauses: dict[int, timedelta] | None = None) -> list[WindowMessage]:
    """Messages a minute apart; `pauses` adds silence before a message."""
    messages, now = [], START
    for number, text in enumerate(texts):
        now += timedelta(minutes=1) + (pauses or {}).get(number, timedelta())
        messages.append(WindowMessage(id=number, author="ann", text=text, sent_at=now, importance=0.5))
    return messages


def starts(messages: list[WindowMessage], size: int) -> list[int]:
    return [window.messages[0].id for window in split_windows(messages, channel="c", size=size, context=2)]


def test_no_messages_no_windows() -> None:
    assert split_windows([], channel="c") == []


def test_few_messages_are_one_window() -> None:
    assert starts(talk(["words"] * 7), size=10) == [0]


def test_a_topic_mark_in_reach_begins_the_next_window() -> None:
    texts = ["words"] * 30
    texts[7] = "Topic: Release plan"
    assert starts(talk(texts), size=10)[:2] == [0, 7]


def test_a_topic_mark_right_at_the_start_does_not_make_a_tiny_window() -> None:
    texts = ["words"] * 30
    texts[1] = "Topic: Release plan"
    assert starts(talk(texts), size=10)[1] > 3


def test_a_long_pause_begins_the_next_window() -> None:
    assert starts(talk(["words"] * 30, {6: timedelta(minutes=45)}), size=10)[:2] == [0, 6]


def test_without_mark_or_long_pause_the_longest_pause_in_the_last_third_cuts() -> None:
    assert starts(talk(["words"] * 30, {8: timedelta(minutes=5)}), size=10)[:2] == [0, 8]


def test_a_proposal_stays_with_its_resolution() -> None:
    texts = ["words"] * 30
    texts[8], texts[9], texts[10], texts[11] = "PROPOSAL: Drop it", "+1", "+1", "RESOLVED: Drop it"
    assert starts(talk(texts), size=10)[1] <= 8


def test_the_running_topic_is_carried_on() -> None:
    texts = ["Topic: Release plan", *["words"] * 24]
    topics = [window.topic for window in split_windows(talk(texts), channel="c", size=10, topic="Before")]
    assert topics == ["Before", "Release plan", "Release plan"]


def test_hours_of_silence_end_the_running_topic() -> None:
    texts = ["Topic: Release plan", *["words"] * 19]
    windows = split_windows(talk(texts, {10: timedelta(hours=9)}), channel="c", size=10)
    assert [window.topic for window in windows] == [None, None]


def test_context_is_what_was_said_just_before() -> None:
    windows = split_windows(talk(["words"] * 20), channel="c", size=10, context=3)
    first, second = windows[0], windows[1]
    assert first.context == ()
    assert second.context == first.messages[-3:]


@pytest.mark.parametrize(("size", "context"), [(0, 1), (-1, 1), (5, -1)])
def test_impossible_sizes_are_refused(size: int, context: int) -> None:
    with pytest.raises(ValueError, match="size of at least 1"):
        split_windows(talk(["words"]), channel="c", size=size, context=context)


LINES = st.sampled_from(["words", "Topic: One", "PROPOSAL: x y", "RESOLVED: x y", "+1", "", "... more"])


@given(
    st.lists(st.tuples(LINES | st.text(max_size=20), st.integers(-500, 500)), max_size=80),  # clocks go back, too
    st.integers(1, 30),
    st.integers(0, 8),
)
def test_every_message_is_in_exactly_one_window_in_order(said: list[tuple[str, int]], size: int, context: int) -> None:
    messages = talk([text for text, _ in said], {n: timedelta(minutes=m) for n, (_, m) in enumerate(said)})
    windows = split_windows(messages, channel="c", size=size, context=context)
    assert [message for window in windows for message in window.messages] == messages
    for window in windows:
        assert 1 <= len(window.messages) <= size
        assert len(window.context) <= context
        first = window.messages[0].id
        assert [message.id for message in window.context] == list(range(max(0, first - context), first))
    assert split_windows(messages, channel="c", size=size, context=context) == windows
