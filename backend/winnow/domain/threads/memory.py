"""The last messages of one place, and ways to find those that a new one may answer; bounded, whatever comes."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING

from winnow.domain.threads.heard import names_of

if TYPE_CHECKING:
    from winnow.domain.threads.heard import Heard

_LATEST = 4
_OF_A_PERSON = 3
_OPEN_QUESTIONS = 2
_BY_WORDS = 1
_OF_A_WORD = 3
_RARE_WORDS = 6


class Memory:
    """At most `size` messages in the order they were said. What leaves is forgotten altogether.

    Attributes:
        names: who is called what, casefolded.
        messages: oldest first.
        by: each one's messages; `to`: those that speak to him; both oldest first.
        addressing: each one's latest message that speaks to somebody.
        with_word: the messages that hold a word.
        heard: how many there have been; the next one's place.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.names: dict[str, str] = {}
        self.messages: deque[Heard] = deque()
        self.by: defaultdict[str, deque[Heard]] = defaultdict(deque)
        self.to: defaultdict[str, deque[Heard]] = defaultdict(deque)
        self.addressing: dict[str, Heard] = {}
        self.with_word: defaultdict[str, deque[Heard]] = defaultdict(deque)
        self._open: deque[Heard] = deque(maxlen=_OPEN_QUESTIONS)
        self.heard = 0

    def introduce(self, author: str, name: str) -> None:
        """What somebody is called; who came first keeps a name."""
        for one in names_of(name):
            self.names.setdefault(one, author)

    def add(self, heard: Heard, name: str) -> None:
        """The next message, and what its author is called; the oldest one leaves when there are too many."""
        if len(self.messages) >= self._size:
            self._forget(self.messages.popleft())
        if heard.author not in self.by:
            self.introduce(heard.author, name)
        heard.place = self.heard
        self.heard += 1
        self.messages.append(heard)
        self.by[heard.author].append(heard)
        if heard.to is not None:
            self.to[heard.to].append(heard)
            self.addressing[heard.author] = heard
        elif heard.asks:
            self._open.append(heard)
        for word in heard.words:
            self.with_word[word].append(heard)

    def _forget(self, heard: Heard) -> None:
        _drop_first(self.by, heard.author)
        if heard.author not in self.by:
            for name in [name for name, author in self.names.items() if author == heard.author]:
                del self.names[name]
        if heard.to is not None:
            _drop_first(self.to, heard.to)
        if self.addressing.get(heard.author) is heard:
            del self.addressing[heard.author]
        if self._open and self._open[0] is heard:
            self._open.popleft()
        for word in heard.words:
            _drop_first(self.with_word, word)

    def candidates(self, heard: Heard) -> list[Heard]:
        """Those that a new message may answer: some 15, each once, by nearness, person, question and word."""
        author, to = heard.author, heard.to
        found = list(islice(reversed(self.messages), _LATEST))
        found += self._latest(self.by, author)
        if to is not None:
            found += self._latest(self.by, to)
            found += self._latest(self.to, to)
        if heard.mentions is not None:
            found += self._latest(self.by, heard.mentions)
        if (partner := self.addressing.get(author)) is not None and partner.to != to:
            found += self._latest(self.by, partner.to or "")
        found += self._latest(self.to, author)
        found += self._open
        found += self._by_words(heard)
        return list(dict.fromkeys(found))

    def _latest(self, of: dict[str, deque[Heard]], who: str) -> list[Heard]:
        messages = of.get(who)
        if messages is None:
            return []
        return list(messages) if len(messages) <= _OF_A_PERSON else list(islice(reversed(messages), _OF_A_PERSON))

    def _by_words(self, heard: Heard) -> list[Heard]:
        """The two that share its rarest words."""
        shared: dict[Heard, float] = {}
        known = [(len(self.with_word[word]), word) for word in heard.words if word in self.with_word]
        if len(known) > _RARE_WORDS:
            known = sorted(known)[:_RARE_WORDS]
        for count, word in known:
            for other in islice(reversed(self.with_word[word]), _OF_A_WORD):
                shared[other] = shared.get(other, 0.0) + 1 / count
        if len(shared) <= _BY_WORDS:
            return list(shared)
        return sorted(shared, key=lambda other: (-shared[other], -other.place))[:_BY_WORDS]


def _drop_first(of: dict[str, deque[Heard]], key: str) -> None:
    messages = of[key]
    messages.popleft()
    if not messages:
        del of[key]
