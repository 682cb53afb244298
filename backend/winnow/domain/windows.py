"""Cuts conversations into windows, where the talk itself pauses or turns."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from winnow.domain.knowledge import Window
from winnow.domain.rules.extract import TOPIC_LIFETIME
from winnow.domain.rules.signs import Mark, parse_mark
from winnow.domain.rules.topics import topic_mark
from winnow.domain.usage import tokens_of_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from winnow.domain.knowledge import WindowMessage

DEFAULT_SIZE = 25
DEFAULT_CONTEXT = 8
DEFAULT_TOKENS = 3000
LONG_PAUSE = timedelta(minutes=30)
SHORT_CONVERSATION = 5
"""Conversations of so many messages may share a window: a request for each would cost ten times what it says."""
_CONTEXT_SHARE = 4
_LEAST_SHARE = 3
"""A window is cut early only once it holds a third of its size."""
_HEAD = 200


def cut_windows(
    messages: Sequence[WindowMessage],
    *,
    channel: str,
    size: int = DEFAULT_SIZE,
    context: int = DEFAULT_CONTEXT,
    tokens: int = DEFAULT_TOKENS,
    topic: str | None = None,
    earlier: Sequence[WindowMessage] = (),
) -> list[Window]:
    """Windows of one channel's messages, each in exactly one, those of a conversation in the order given.

    A window holds at most `size` messages of about `tokens` tokens; one message that is longer stands alone. It is a
    stretch of one conversation; or several short ones that lie side by side, one after the other, by their first
    messages. It ends before a topic mark if there is one in its later two thirds, else at a pause of more than 30
    minutes, else where people paused longest, though not between a proposal and its resolution; and wherever a topic
    mark in another conversation changes what the channel is on about.

    At most `context` messages, of about a quarter of `tokens`, are shown beside it: what was said before in its
    conversations, and where that is less, in the channel. `earlier` are messages from before that may be shown, too,
    in any order. `topic` is what the channel was on about before the first message; hours of silence end it.

    Raises:
        ValueError: `size` or `tokens` is below 1, or `context` below 0.
    """
    if size < 1 or tokens < 1 or context < 0:
        raise ValueError(
            "a window needs a size and tokens of at least 1 and a context of at least 0, "
            f"not {size}, {tokens} and {context}"
        )
    talk = _Talk(messages, earlier, topic)
    limits = _Limits(size, tokens)
    before = _Limits(context, max(1, tokens // _CONTEXT_SHARE))
    return [
        Window(
            channel=channel,
            messages=tuple(messages[place] for place in places),
            context=talk.context(places, before),
            topic=talk.topic_before[places[0]],
        )
        for places in sorted(_packed(talk, limits))
    ]


@dataclass(frozen=True, slots=True)
class _Limits:
    """Most messages, and most tokens."""

    size: int
    tokens: int

    def fit(self, weights: Iterable[int]) -> int:
        """How many of the messages fit, counted from the first."""
        number = held = 0
        for weight in weights:
            held += weight
            if number == self.size or held > self.tokens:
                break
            number += 1
        return number


class _Talk:
    """The messages by their places, and what is known of each: weight, topic mark, what the channel was on about."""

    def __init__(self, messages: Sequence[WindowMessage], earlier: Sequence[WindowMessage], topic: str | None) -> None:
        self.messages = messages
        self.weights = [_weight(message) for message in messages]
        self.marks = [topic_mark(message.text) for message in messages]
        self.topic_before, self.topic_after = _topics(messages, self.marks, topic)
        self.conversations: dict[int, list[int]] = {}
        for place, message in enumerate(messages):
            self.conversations.setdefault(message.conversation, []).append(place)
        self._said = sorted({one.id: one for one in (*earlier, *messages)}.values(), key=_moment)
        self._said_in: dict[int, list[WindowMessage]] = {}
        for message in self._said:
            self._said_in.setdefault(message.conversation, []).append(message)

    def is_short(self, conversation: int) -> bool:
        """Whether all that is known of it are few messages."""
        return len(self._said_in[conversation]) <= SHORT_CONVERSATION

    def goes_on(self, before: int, after: int) -> bool:
        """Whether the topic at the one place is still the topic just before the other, or a mark there sets it anew."""
        return self.marks[after] is not None or self.topic_before[after] == self.topic_after[before]

    def pause(self, before: int, after: int) -> timedelta:
        """The silence between two places."""
        return self.messages[after].sent_at - self.messages[before].sent_at

    def context(self, places: Sequence[int], limits: _Limits) -> tuple[WindowMessage, ...]:
        """What is shown beside the messages of these places, in the order it was said."""
        inside = {self.messages[place].id for place in places}
        firsts: dict[int, WindowMessage] = {}
        for place in places:
            firsts.setdefault(self.messages[place].conversation, self.messages[place])
        own = [one for each in firsts.values() for one in self._before(each, self._said_in[each.conversation], limits)]
        around = self._before(self.messages[places[0]], self._said, limits, but=inside | {one.id for one in own})
        latest = [*sorted(own, key=_moment, reverse=True), *reversed(around)]
        latest = [one for one in latest if one.id not in inside]
        return tuple(sorted(latest[: limits.fit(map(_weight, latest))], key=_moment))

    @staticmethod
    def _before(
        message: WindowMessage, said: Sequence[WindowMessage], limits: _Limits, *, but: AbstractSet[int] = frozenset()
    ) -> list[WindowMessage]:
        """The last of what was said before a message, in order."""
        found: list[WindowMessage] = []
        place = bisect_left(said, _moment(message), key=_moment)
        while place and len(found) < limits.size:
            place -= 1
            if said[place].id not in but:
                found.append(said[place])
        return found[::-1]


def _weight(message: WindowMessage) -> int:
    return tokens_of_bytes(
        len(message.author.encode("utf-8", "replace")) + len(message.text.encode("utf-8", "replace"))
    )


def _moment(message: WindowMessage) -> tuple[datetime, int]:
    return message.sent_at, message.id


def _topics(
    messages: Sequence[WindowMessage], marks: Sequence[str | None], topic: str | None
) -> tuple[list[str | None], list[str | None]]:
    """What the channel was on about just before each message, and with it."""
    before, after = [], []
    last = None
    for message, mark in zip(messages, marks, strict=True):
        if last is not None and message.sent_at - last > TOPIC_LIFETIME:
            topic = None
        before.append(topic)
        topic = mark or topic
        after.append(topic)
        last = message.sent_at
    return before, after


def _packed(talk: _Talk, limits: _Limits) -> Iterator[list[int]]:
    """The places of each window: a piece of a conversation, or neighbouring short conversations while there is room."""
    shared: list[int] = []
    for conversation, places in talk.conversations.items():
        pieces = list(_pieces(talk, places, limits))
        if len(pieces) > 1 or not talk.is_short(conversation):
            yield from pieces
        elif shared and _may_join(talk, shared, places, limits):
            shared = [*shared, *places]
        else:
            if shared:
                yield shared
            shared = places
    if shared:
        yield shared


def _may_join(talk: _Talk, shared: Sequence[int], places: Sequence[int], limits: _Limits) -> bool:
    fitting = limits.fit(talk.weights[place] for place in (*shared, *places)) == len(shared) + len(places)
    latest = max(shared)
    return fitting and talk.pause(latest, places[0]) <= TOPIC_LIFETIME and talk.goes_on(shared[-1], places[0])


def _pieces(talk: _Talk, places: Sequence[int], limits: _Limits) -> Iterator[list[int]]:
    """One conversation, cut."""
    start = 0
    while start < len(places):
        end = _end(talk, places, start, limits)
        yield list(places[start:end])
        start = end


def _end(talk: _Talk, places: Sequence[int], start: int, limits: _Limits) -> int:
    """Where the window that begins at `start` ends (exclusive)."""
    most = places[start : start + limits.size]
    latest = start + max(1, limits.fit(talk.weights[place] for place in most))
    for cut in range(start + 1, min(latest, len(places) - 1) + 1):
        if not talk.goes_on(places[cut - 1], places[cut]):
            return cut
    if latest >= len(places):
        return len(places)
    earliest = min(latest, start + max(1, -(-(latest - start) // _LEAST_SHARE)))
    cuts = range(latest, earliest - 1, -1)  # the latest first: of equals, the fullest window
    pauses = {cut: talk.pause(places[cut - 1], places[cut]) for cut in cuts}
    for cut in cuts:
        if talk.marks[places[cut]] is not None:
            return cut
    if pauses[best := max(cuts, key=pauses.__getitem__)] > LONG_PAUSE:
        return best
    later = range(latest, start + max(1, (latest - start) * 2 // 3) - 1, -1)
    free = [cut for cut in later if not _splits_ballot(talk, places, cut)]
    return max(free or [latest], key=pauses.__getitem__)


def _splits_ballot(talk: _Talk, places: Sequence[int], cut: int) -> bool:
    """Whether a proposal stands shortly before the cut and its resolution shortly after."""
    before = {_mark(talk.messages[place]) for place in places[max(0, cut - 12) : cut]}
    after = {_mark(talk.messages[place]) for place in places[cut : cut + 12]}
    return Mark.PROPOSAL in before and Mark.RESOLVED in after


def _mark(message: WindowMessage) -> Mark | None:
    mark = parse_mark(message.text[:_HEAD])
    return mark[0] if mark else None
