"""Cuts a channel's messages into windows, where the talk itself pauses or turns."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from winnow.domain.knowledge import Window
from winnow.domain.rules.extract import TOPIC_LIFETIME
from winnow.domain.rules.signs import Mark, parse_mark
from winnow.domain.rules.topics import topic_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.knowledge import WindowMessage

DEFAULT_SIZE = 25
DEFAULT_CONTEXT = 6
LONG_PAUSE = timedelta(minutes=30)
_LEAST_SHARE = 3
"""A window is cut early only once it holds a third of its size."""
_HEAD = 200


def split_windows(
    messages: Sequence[WindowMessage],
    *,
    channel: str,
    size: int = DEFAULT_SIZE,
    context: int = DEFAULT_CONTEXT,
    topic: str | None = None,
) -> list[Window]:
    """Windows of at most `size` messages, in order, each message in exactly one, with the `context` messages before it.

    A window ends before a topic mark if there is one in its later two thirds, else at a pause of more than 30 minutes,
    else where people paused longest, though not between a proposal and its resolution. `topic` is what the channel was
    on about before the first message; each window carries on the topic marked last, unless hours have passed.

    Raises:
        ValueError: `size` is below 1 or `context` below 0.
    """
    if size < 1 or context < 0:
        raise ValueError(f"a window needs a size of at least 1 and a context of at least 0, not {size} and {context}")
    windows: list[Window] = []
    start = 0
    while start < len(messages):
        end = _end(messages, start, size)
        before = tuple(messages[max(0, start - context) : start])
        if start and messages[start].sent_at - messages[start - 1].sent_at > TOPIC_LIFETIME:
            topic = None
        windows.append(Window(channel=channel, messages=tuple(messages[start:end]), context=before, topic=topic))
        topic = _topic_after(messages[start:end], topic)
        start = end
    return windows


def _end(messages: Sequence[WindowMessage], start: int, size: int) -> int:
    """Where the window that begins at `start` ends (exclusive)."""
    latest = start + size
    if latest >= len(messages):
        return len(messages)
    earliest = min(latest, start + max(1, -(-size // _LEAST_SHARE)))
    cuts = range(latest, earliest - 1, -1)  # the latest first: of equals, the fullest window
    for cut in cuts:
        if topic_mark(messages[cut].text) is not None:
            return cut
    if _pause(messages, best := max(cuts, key=lambda cut: _pause(messages, cut))) > LONG_PAUSE:
        return best
    later = range(latest, start + max(1, size * 2 // 3) - 1, -1)
    free = [cut for cut in later if not _splits_ballot(messages, cut)]
    return max(free or [latest], key=lambda cut: _pause(messages, cut))


def _pause(messages: Sequence[WindowMessage], cut: int) -> timedelta:
    return messages[cut].sent_at - messages[cut - 1].sent_at


def _splits_ballot(messages: Sequence[WindowMessage], cut: int) -> bool:
    """Whether a proposal stands shortly before the cut and its resolution shortly after."""
    before = {_mark(message) for message in messages[max(0, cut - 12) : cut]}
    after = {_mark(message) for message in messages[cut : cut + 12]}
    return Mark.PROPOSAL in before and Mark.RESOLVED in after


def _mark(message: WindowMessage) -> Mark | None:
    mark = parse_mark(message.text[:_HEAD])
    return mark[0] if mark else None


def _topic_after(messages: Sequence[WindowMessage], topic: str | None) -> str | None:
    last = None
    for message in messages:
        if last is not None and message.sent_at - last > TOPIC_LIFETIME:
            topic = None
        topic = topic_mark(message.text) or topic
        last = message.sent_at
    return topic
