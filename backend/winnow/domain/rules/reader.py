"""Reads messages as lines of talk: who speaks, what mark a line carries, and where exactly its words stand.

Meeting chats are written by a scribe: `speaker: words`, continued on lines that begin with `...`. Elsewhere
`name: words` addresses somebody. Which of the two holds is told by the window itself (`is_minuted`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from winnow.domain.rules.signs import CONTINUATION, LABEL, Mark, is_bot_line, opening_mark, parse_mark, vote_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from winnow.domain.knowledge import Window, WindowMessage

EXAMINED_CHARACTERS = 20_000
_MAX_LINES = 400
_MAX_SENTENCES = 60
_MAX_SENTENCE = 800
_SAME_NAME_LETTERS = 3
_SIGN_CHARACTERS = 200


_CALLED = re.compile(r"@?([^\W\d_][\w`.|\-]{1,24}),\s{1,9}(?=\S)")
_INVISIBLE = "\ufeff\u200b\u200e\u200f"
_NOT_NAMES_TEXT = """
agenda also aside attendees basically btw chair clarification con cons consensus date details e.g eg edit errata
example examples fact false fwiw fyi http https i.e ie imo imho info issue issues link links log logs meaning
minutes namely next note notes now ok option options otherwise ps pro pros q re reason regrets remember reminder
response result scribe see so source spoiler status summary thus tldr tl;dr todo translation true update updated url
use voip warning well yes zakim rrsagent trackbot present
"""
_NOT_NAMES = frozenset(_NOT_NAMES_TEXT.split())
_QUEUE_SPEECH = re.compile(
    r"q\+\s{1,3}(?:to\s{1,3}\w{1,12}\b(?:\s{1,3}(?:that|about|if|whether)\b)?|that\b|re:?)?\s{0,3}", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?\u2026]{1,9}[\"')\]\u201d\u00bb]?\s{1,9}(?=[^\W_]|[\"'(\[@`*\u201c\u00ab])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.?g|i\.?e|etc|vs|cf|approx|resp|no|mr|mrs|dr|fig|eq|al|т\.?[дпек]|др|см)|\W\w)\.$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one message's text; `position` is the message's place in the window."""

    message: WindowMessage
    position: int
    start: int
    end: int

    @property
    def text(self) -> str:
        """The exact words."""
        return self.message.text[self.start : self.end]


@dataclass(frozen=True)
class Line:
    """One line of a message, without its prefix; `index` counts the lines of the window.

    `speaker` is who says it as far as the window tells, `sure` whether that may be said aloud; `addressee` is whom a
    `name: words` line outside of minutes turns to; `continues` says it goes on with the line before.
    """

    index: int
    span: Span
    speaker: str
    sure: bool
    addressee: str | None
    mark: Mark | None
    continues: bool
    noise: bool
    vote: float | None

    @cached_property
    def text(self) -> str:
        """The statement's exact words."""
        return self.span.text

    @cached_property
    def sentences(self) -> tuple[Span, ...]:
        """The statement cut into sentences; an overlong one is cut off, its rest left out."""
        return tuple(_sentences(self.span))


def same_person(one: str, other: str) -> bool:
    """Whether two names may mean one person: one begins with the other, signs and digits aside."""
    first, second = _name_key(one), _name_key(other)
    if not first or not second:
        return False
    if min(len(first), len(second)) < _SAME_NAME_LETTERS:
        return first == second
    return first.startswith(second) or second.startswith(first)


def is_minuted(window: Window) -> bool:
    """Whether a scribe writes here: somebody steers a queue, names a scribe, marks topics or continues with dots."""
    if window.topic:
        return True
    continued = 0
    for message in (*window.context, *window.messages):
        text = message.text[:600].lstrip()
        head = text[:12].casefold()
        if head.startswith(
            ("scribe:", "scribenick:", "present+", "q+", "proposal:", "resolved:", "resolution:", "topic:")
        ):
            return True
        continued += CONTINUATION.match(text) is not None and len(text) > _SAME_NAME_LETTERS
    return continued > 1


def read_lines(window: Window) -> list[Line]:
    """All lines of the window's messages, in order."""
    reader = _Reader(window)
    for position, message in enumerate(window.messages):
        for start, end in _line_bounds(message.text):
            reader.read(Span(message, position, start, end))
    return reader.lines


@dataclass(frozen=True, slots=True)
class _Opening:
    """What stands before a line's statement: where that starts, and who it says is speaking or spoken to."""

    start: int
    speaker: str
    sure: bool
    addressee: str | None = None
    continues: bool = False


class _Reader:
    """Reads line after line, remembering whom each scribe is writing down."""

    def __init__(self, window: Window) -> None:
        self.lines: list[Line] = []
        self._minuted = is_minuted(window)
        self._names = {_name_key(message.author) for message in (*window.context, *window.messages)} - {""}
        self._speaking: dict[str, str] = {}

    def read(self, span: Span) -> None:
        """Adds the line at `span`, unless nothing is left of it beside its signs."""
        text = span.message.text
        noise = is_bot_line(text, span.message.author)
        opening = _Opening(span.start, span.message.author, sure=False) if noise else self._opening(span)
        start = opening.start
        mark = parse_mark(text[start : min(span.end, start + _SIGN_CHARACTERS)])
        if mark is not None:
            start += mark[1]
        elif match := _QUEUE_SPEECH.match(text, start, span.end):
            start = match.end()
        statement = _trimmed(text, start, span.end)
        if statement is None:
            return
        self.lines.append(
            Line(
                index=len(self.lines),
                span=Span(span.message, span.position, *statement),
                speaker=opening.speaker,
                sure=opening.sure,
                addressee=opening.addressee,
                mark=mark[0] if mark else None,
                continues=opening.continues,
                noise=noise,
                vote=vote_of(text[statement[0] : min(statement[1], statement[0] + _SIGN_CHARACTERS)]),
            )
        )

    def _opening(self, span: Span) -> _Opening:
        text, author, start = span.message.text, span.message.author, span.start
        dots = CONTINUATION.match(text, start, span.end)
        if dots is not None:
            start = dots.end()
        label = _label(text, start, span.end)
        if label is not None and _is_name(label[0], self._names, known_only=bool(dots) or not self._minuted):
            if not self._minuted:
                return _Opening(label[1], author, sure=bool(author), addressee=label[0])
            self._speaking[author] = label[0]
            return _Opening(label[1], label[0], sure=True)
        if dots is not None:
            sure = not self._minuted or author in self._speaking
            return _Opening(start, self._speaking.get(author, author), sure=sure, continues=True)
        self._speaking.pop(author, None)
        called = _CALLED.match(text, start, span.end)
        if called is not None and _is_name(called.group(1), self._names, known_only=True):
            return _Opening(called.end(), author, sure=bool(author), addressee=called.group(1))
        return _Opening(start, author, sure=bool(author))


def _label(text: str, start: int, end: int) -> tuple[str, int] | None:
    match = LABEL.match(text, start, end)
    if match is None or match.group(1).casefold() in _NOT_NAMES:
        return None
    if opening_mark(text, start, end) is not None:
        return None
    return match.group(1), match.end()


def _is_name(label: str, names: Iterable[str], *, known_only: bool) -> bool:
    """A label that is a participant's name; with `known_only` off, any single word or two capitalised ones will do."""
    key = _name_key(label)
    if any(key and same_person(key, name) for name in names):
        return True
    words = label.split()
    return not known_only and (len(words) == 1 or all(word[0].isupper() for word in words))


@lru_cache(maxsize=1024)
def _name_key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalpha())


def _line_bounds(text: str) -> list[tuple[int, int]]:
    """Where each line that has words stands, within the part of the text that is examined."""
    bounds: list[tuple[int, int]] = []
    start, limit = 0, min(len(text), EXAMINED_CHARACTERS)
    while start < limit and len(bounds) < _MAX_LINES:
        newline = text.find("\n", start, limit)
        end = limit if newline < 0 else newline
        if (trimmed := _trimmed(text, start, end)) is not None:
            bounds.append(trimmed)
        start = end + 1
    return bounds


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and (text[start].isspace() or text[start] in _INVISIBLE):
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _sentences(span: Span) -> list[Span]:
    text, found, start = span.message.text, [], span.start
    for match in _SENTENCE_END.finditer(text, span.start, span.end):
        if _ABBREVIATION.search(text, max(start, match.start() - 8), match.start() + 1):
            continue
        if not _opens_sentence(text, match.end()):
            continue
        found.append((start, match.end()))
        start = match.end()
        if len(found) >= _MAX_SENTENCES:
            break
    found.append((start, span.end))
    trimmed = [_trimmed(text, begin, min(end, begin + _MAX_SENTENCE)) for begin, end in found]
    return [Span(span.message, span.position, *bounds) for bounds in trimmed if bounds is not None]


def _opens_sentence(text: str, at: int) -> bool:
    return not text[at].islower() or text[at - 2 : at - 1] in "?!"
