"""Windows hold every message once, each a stretch of a conversation, and end where the talk turns or pauses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.knowledge import Window, WindowMessage
from winnow.domain.usage import tokens_of_bytes
from winnow.domain.windows import SHORT_CONVERSATION, cut_windows

if TYPE_CHECKING:
    from collections.abc import Iterable

START = datetime(2025, 3, 3, 9, tzinfo=UTC)


def talk(texts: list[str], pauses: dict[int, timedelta] | None = None) -> list[WindowMessage]:
    """Messages a minute apart; `pauses` adds silence before a message."""
    messages, now = [], START
    for number, text in enumerate(texts):
        now += timedelta(minutes=1) + (pauses or {}).get(number, timedelta())
        messages.append(WindowMessage(id=number, author="ann", text=text, sent_at=now, importance=0.5))
    return messages


def starts(messages: list[WindowMessage], size: int) -> list[int]:
    return [window.messages[0].id for window in cut_windows(messages, channel="c", size=size, context=2)]


def test_no_messages_no_windows() -> None:
    assert cut_windows([], channel="c") == []


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
    topics = [window.topic for window in cut_windows(talk(texts), channel="c", size=10, topic="Before")]
    assert topics == ["Before", "Release plan", "Release plan"]


def test_hours_of_silence_end_the_running_topic() -> None:
    texts = ["Topic: Release plan", *["words"] * 19]
    windows = cut_windows(talk(texts, {10: timedelta(hours=9)}), channel="c", size=10)
    assert [window.topic for window in windows] == [None, None]


def test_context_is_what_was_said_just_before() -> None:
    windows = cut_windows(talk(["words"] * 20), channel="c", size=10, context=3)
    first, second = windows[0], windows[1]
    assert first.context == ()
    assert second.context == first.messages[-3:]


@pytest.mark.parametrize(("size", "context", "tokens"), [(0, 1, 9), (-1, 1, 9), (5, -1, 9), (5, 1, 0)])
def test_impossible_sizes_are_refused(size: int, context: int, tokens: int) -> None:
    with pytest.raises(ValueError, match="size and tokens of at least 1"):
        cut_windows(talk(["words"]), channel="c", size=size, context=context, tokens=tokens)


def in_conversations(given: str, texts: dict[int, str] | None = None) -> list[WindowMessage]:
    """A message a letter, a minute apart; each letter is a conversation."""
    messages = talk([(texts or {}).get(number, "words") for number in range(len(given))])
    return [replace(one, conversation=ord(letter)) for one, letter in zip(messages, given, strict=True)]


def ids(windows: list[Window]) -> list[list[int]]:
    return [[message.id for message in window.messages] for window in windows]


def test_a_long_conversation_has_windows_of_its_own() -> None:
    windows = cut_windows(in_conversations("abababababab" + "c"), channel="c", size=10)
    assert ids(windows) == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11], [12]]


def test_short_conversations_that_lie_side_by_side_share_a_window_one_after_the_other() -> None:
    assert ids(cut_windows(in_conversations("abbacbc"), channel="c")) == [[0, 3, 1, 2, 5, 4, 6]]


def test_no_more_short_conversations_share_a_window_than_fit() -> None:
    assert ids(cut_windows(in_conversations("aabbcc"), channel="c", size=5)) == [[0, 1, 2, 3], [4, 5]]
    assert ids(cut_windows(in_conversations("aabbcc"), channel="c", tokens=8)) == [[0, 1, 2, 3], [4, 5]]


def test_hours_keep_short_conversations_apart() -> None:
    messages = [*in_conversations("aa"), *(replace(one, sent_at=one.sent_at + timedelta(hours=9), id=one.id + 10)
                                           for one in in_conversations("bb"))]  # fmt: skip
    assert ids(cut_windows(messages, channel="c")) == [[0, 1], [10, 11]]


def test_a_conversation_that_was_long_before_shares_with_none() -> None:
    messages = in_conversations("aaaaaabb")
    windows = cut_windows(messages[5:], channel="c", earlier=messages[:5])
    assert ids(windows) == [[5], [6, 7]]


def test_the_context_is_of_the_conversation_and_only_then_of_the_channel() -> None:
    messages = in_conversations("aaaaaabababbbbbb")
    windows = cut_windows(messages[7:], channel="c", context=4, earlier=messages[:7])
    (of_a,) = [window for window in windows if window.messages[0].conversation == ord("a")]
    (of_b,) = [window for window in windows if window.messages[0].conversation == ord("b")]
    assert ([one.id for one in of_a.messages], [one.id for one in of_a.context]) == ([7, 9], [2, 3, 4, 5])
    assert [one.id for one in of_b.context] == [4, 5, 6, 7], "one of its own, and what was said around it"


def test_the_context_of_a_window_is_a_quarter_of_it_at_most() -> None:
    messages = talk(["w" * 37] * 30)  # ten tokens each, with the author
    windows = cut_windows(messages, channel="c", tokens=100)
    assert {len(window.messages) for window in windows} == {10}
    assert [len(window.context) for window in windows] == [0, 2, 2]


def test_a_message_that_is_too_long_stands_alone() -> None:
    messages = in_conversations("aaaa", {1: "w" * 5000})
    assert ids(cut_windows(messages, channel="c", tokens=100)) == [[0], [1], [2, 3]]


def test_a_mark_in_another_conversation_turns_the_topic_of_all() -> None:
    messages = in_conversations("aabaa", {2: "Topic: Release plan"})
    windows = cut_windows(messages, channel="c", topic="Before")
    assert [(each, window.topic) for each, window in zip(ids(windows), windows, strict=True)] == [
        ([0, 1], "Before"), ([2], "Before"), ([3, 4], "Release plan")
    ]  # fmt: skip


def test_short_conversations_of_one_topic_share_a_window_behind_its_mark() -> None:
    windows = cut_windows(in_conversations("abc", {0: "Topic: One"}), channel="c", topic="Before")
    assert ids(windows) == [[0, 1, 2]]


LINES = st.sampled_from(["words", "Topic: One", "PROPOSAL: x y", "RESOLVED: x y", "+1", "", "... more"])


SAID = st.tuples(
    LINES | st.text(max_size=200),
    st.integers(-500, 500),  # clocks go back, too
    st.sampled_from([1, 1, 1, 2, 2, 3, 4, 5]),
    st.booleans(),
)


@given(st.lists(SAID, max_size=80), st.integers(1, 30), st.integers(0, 8), st.integers(1, 300))
def test_every_message_is_in_exactly_one_window_and_all_bounds_are_kept(
    said: list[tuple[str, int, int, bool]], size: int, context: int, tokens: int
) -> None:
    timed = talk([text for text, *_ in said], {number: timedelta(minutes=one[1]) for number, one in enumerate(said)})
    talked = [replace(message, conversation=one[2]) for message, one in zip(timed, said, strict=True)]
    messages = [message for message, one in zip(talked, said, strict=True) if not one[3]]
    earlier = [message for message, one in zip(talked, said, strict=True) if one[3]]
    windows = cut_windows(messages, channel="c", size=size, context=context, tokens=tokens, earlier=earlier)
    assert sorted(message.id for window in windows for message in window.messages) == [one.id for one in messages]
    for conversation in {message.conversation for message in messages}:
        read = [one.id for window in windows for one in window.messages if one.conversation == conversation]
        assert read == [one.id for one in messages if one.conversation == conversation]
    for window in windows:
        _keeps_its_bounds(window, size=size, context=context, tokens=tokens)
    assert cut_windows(messages, channel="c", size=size, context=context, tokens=tokens, earlier=earlier) == windows


def _keeps_its_bounds(window: Window, *, size: int, context: int, tokens: int) -> None:
    assert 1 <= len(window.messages) <= size
    assert len(window.messages) == 1 or weight(window.messages) <= tokens
    assert len(window.context) <= context
    assert weight(window.context) <= max(1, tokens // 4)
    held = Counter(one.conversation for one in window.messages)
    assert len(held) == 1 or max(held.values()) <= SHORT_CONVERSATION
    assert len([pair for pair in pairwise(window.messages) if pair[0].conversation != pair[1].conversation]) < len(held)
    assert not {one.id for one in window.context} & {one.id for one in window.messages}
    latest = max((one.sent_at, one.id) for one in window.messages)
    assert all((one.sent_at, one.id) < latest for one in window.context)


def weight(messages: Iterable[WindowMessage]) -> int:
    return sum(tokens_of_bytes(len(one.author.encode()) + len(one.text.encode("utf-8", "replace"))) for one in messages)
