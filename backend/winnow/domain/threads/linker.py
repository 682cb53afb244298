"""Gives each message what it answers and the conversation it is in, as it comes; docs/scoring.md tells the rules.

What a source says itself is believed: a reply, a thread that hangs on a message, an album. For all else each message
that may be meant is weighed against the others and against this being the start of something new.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from winnow.domain.threads.heard import hear
from winnow.domain.threads.memory import Memory
from winnow.domain.threads.weighing import weigh, weigh_start
from winnow.domain.threads.weights import WEIGHTS, Weights
from winnow.domain.votes import vote_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from winnow.domain.threads.heard import Heard

LOOK_BACK = 100
"""How many messages are remembered; of those that people answer, 98 in 100 are among them."""
HORIZON_SECONDS = 24 * 3600
"""What is older is answered only where the source says so."""
_A_VOTE_REACHES_SECONDS = 3600
_A_VOTE_LOOKS_BACK = 12
_SAID_WORDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message as it is to be linked.

    Attributes:
        id: of the message.
        author: who said it, by an identity; empty when the source does not tell.
        name: what its author is called.
        text: what was said.
        at: when, in seconds.
        reply_to: id of the message that it answers, as its source says.
        thread: its source's own thread or topic, where it is in one.
        root: id of the message that the thread hangs on; None for a topic, in which conversations are to be told apart.
        album: what the messages of one sending have in common.
        service: nobody said it.
    """

    id: int
    author: str
    name: str
    text: str
    at: float
    reply_to: int | None = None
    thread: str | None = None
    root: int | None = None
    album: str | None = None
    service: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a message answers (None: it starts something new), why, and its conversation, named by its first message.

    `vote` is 1 for, -1 against what `parent_id` says; 0: it is no vote.
    """

    message_id: int
    conversation_id: int
    parent_id: int | None = None
    reason: str | None = None
    vote: int = 0


class Linker:
    """Links one stretch of a channel, in the order it was said; keeps a number or two of every message of it.

    Args:
        look_back: how many messages are remembered, in the channel and in each of its threads.
        weights: of the signs.
    """

    def __init__(self, *, look_back: int = LOOK_BACK, weights: Weights = WEIGHTS) -> None:
        self._weights = weights
        self._memories: defaultdict[str | None, Memory] = defaultdict(partial(Memory, look_back))
        self._conversations: dict[int, int] = {}
        self._authors: dict[int, str] = {}
        self._albums: dict[tuple[str, str], int] = {}

    def introduce(self, said: Iterable[Said]) -> None:
        """Names that will be known from the beginning: of those who are about to be remembered."""
        for one in said:
            if one.name:
                self._memories[one.thread].introduce(_who(one), one.name)

    def place(self, message_id: int, conversation_id: int, author: str) -> None:
        """The conversation of a message that will not be remembered, but may be replied to."""
        self._conversations[message_id] = conversation_id
        self._authors[message_id] = author

    def remember(self, said: Said, conversation_id: int) -> None:
        """The next message, which was linked before."""
        memory = self._memories[said.thread]
        if not said.service:
            memory.add(_heard(said, memory, vote_in(said.text)), said.name)
        self._note(said, conversation_id)

    def link(self, said: Said) -> Link:
        """The next message."""
        vote, parent, reason = 0, None, None
        if not said.service:
            memory = self._memories[said.thread]
            vote = vote_in(said.text)
            heard = _heard(said, memory, vote)
            parent, reason = self._told(said, memory) or self._guessed(heard, memory)
            memory.add(heard, said.name)
        conversation = said.id if parent is None else self._conversations.get(parent, parent)
        if parent is None or self._authors.get(parent) == _who(said):
            vote = 0  # nobody votes for himself
        self._note(said, conversation)
        return Link(message_id=said.id, conversation_id=conversation, parent_id=parent, reason=reason, vote=vote)

    def _note(self, said: Said, conversation_id: int) -> None:
        self.place(said.id, conversation_id, _who(said))
        if said.album:
            self._albums.setdefault((_who(said), said.album), said.id)

    def _told(self, said: Said, memory: Memory) -> tuple[int, str] | None:
        """What the source itself says."""
        if said.reply_to is not None and said.reply_to != said.id:
            return said.reply_to, "reply"
        if said.album and (first := self._albums.get((_who(said), said.album))) is not None:
            return first, "same album"
        if said.root is not None and said.root != said.id:
            return (memory.messages[-1].id if memory.messages else said.root), "same thread"
        return None

    def _guessed(self, heard: Heard, memory: Memory) -> tuple[int | None, str | None]:
        """The heaviest of all that it may answer, or nothing."""
        if heard.votes:
            heard.on = _voted_on(memory, heard)
            return (None, None) if heard.on is None else (heard.on.id, "vote")
        best, most = None, weigh_start(memory, heard, self._weights)
        for other in memory.candidates(heard):
            if heard.at - other.at > HORIZON_SECONDS:
                continue
            weight = weigh(memory, heard, other, self._weights)
            if weight > most:
                best, most = other, weight
        return (None, None) if best is None else (best.id, _reason(heard, best))


def _voted_on(memory: Memory, heard: Heard) -> Heard | None:
    """What a vote is on: what the votes just before it are on, else the last that was said at some length."""
    latest = [one for one in islice(reversed(memory.messages), _A_VOTE_LOOKS_BACK) if _in_reach(heard, one)]
    for other in latest:
        if other.votes:
            if other.on is not None:
                return other.on
        elif other.length >= _SAID_WORDS:
            return other
    return next((other for other in latest if not other.votes), None)


def _in_reach(heard: Heard, other: Heard) -> bool:
    return heard.at - other.at <= _A_VOTE_REACHES_SECONDS


def _who(said: Said) -> str:
    return said.author or said.name.casefold()


def _heard(said: Said, memory: Memory, vote: int) -> Heard:
    return hear(said.id, _who(said), said.at, said.text, memory.names, votes=vote != 0)


def _reason(heard: Heard, other: Heard) -> str:
    """The plainest sign of those that spoke for it."""
    if other.author == heard.author:
        return "same author"
    if heard.to == other.author:
        return "addressed"
    if heard.mentions == other.author:
        return "mentioned"
    if other.to == heard.author:
        return "was addressed"
    if other.asks and not heard.asks:
        return "after a question"
    return "shared words" if not heard.words.isdisjoint(other.words) else "just before"
