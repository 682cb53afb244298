"""Reads chats written as text, where a message is a line with a time and all lines below it that have none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from winnow.domain.messages import MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS, YEARS, IncomingMessage
from winnow.errors import InvalidInput
from winnow.sources.base import Item, Line, Tally, decode, lines_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from winnow.sources.base import Readable

BLANK = "blank line"


@dataclass(slots=True, kw_only=True)
class Opening:
    """The first line of a message: who, when, and the words beside it.

    Attributes:
        written: the time as the file has it, in one spelling for all files; part of the message's identity.
    """

    author: str
    text: str
    sent_at: dt.datetime
    written: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A line with a time that nobody said, and why it is none; so are the lines below it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line with a time that may begin a message and cannot be read."""

    reason: str


class Grammar(Protocol):
    """How one kind of transcript reads."""

    def begin(self, text: str) -> Opening | Notice | Unreadable | None:
        """What a line begins; None if it has no time and so continues what is above it."""

    def message(self, opening: Opening, text: str) -> IncomingMessage:
        """The whole message, once all its lines are known; called in the order of the file."""


def transcript_items(path: Readable, grammar: Grammar, tally: Tally) -> Iterator[Item]:
    """The messages of a transcript and the lines that are none; memory holds one message.

    Raises:
        InvalidInput: the file cannot be read.
    """
    reader = _Reader(grammar, tally)
    for line in lines_of(path, tally=tally):
        yield from reader.take(line)
    yield from reader.release()


@dataclass(slots=True)
class _Held:
    line: Line
    opening: Opening
    tail: list[str] = field(default_factory=list)
    characters: int = 0


class _Reader:
    """The message that lines may still continue, or what became of the line above."""

    def __init__(self, grammar: Grammar, tally: Tally) -> None:
        self._grammar = grammar
        self._tally = tally
        self._held: _Held | None = None
        self._above: Notice | Unreadable = Unreadable("it has no time, and no message stands above it")

    def take(self, line: Line) -> Iterator[Item]:
        if line.too_long:
            yield from self._fail(line, "it is longer than 8 MiB")
            return
        text, guessed = decode(line.raw)
        self._tally.recoded += guessed
        try:
            begun = self._grammar.begin(text)
        except OverflowError:
            begun = Unreadable("its date lies beyond the calendar")
        if begun is None:
            yield from self._continue(line, text)
        elif isinstance(begun, Opening):
            yield from self._open(line, begun)
        elif isinstance(begun, Notice):
            yield from self.release()
            self._above = begun
            yield line.skipped(begun.reason, "noise")
        else:
            yield from self._fail(line, begun.reason)

    def release(self) -> Iterator[Item]:
        """The message held back because the next line may continue it."""
        held, self._held = self._held, None
        if held is None:
            return
        self._tally.message_line = held.line.number
        text = "\n".join([held.opening.text, *held.tail]).rstrip("\n") if held.tail else held.opening.text
        try:
            yield self._grammar.message(held.opening, text)
        except InvalidInput as error:
            yield held.line.skipped(str(error), "broken")

    def _open(self, line: Line, opening: Opening) -> Iterator[Item]:
        if opening.sent_at.year not in YEARS:
            yield from self._fail(
                line, f"its date is in {opening.sent_at.year}; Winnow takes {YEARS[0]} to {YEARS[-1]}"
            )
        elif len(opening.text) > MAX_TEXT_CHARACTERS:
            told = f"its text has {len(opening.text):,} characters; {MAX_TEXT_CHARACTERS:,} at most"
            yield from self._fail(line, told)
        elif len(opening.author) > MAX_NAME_CHARACTERS:
            yield from self._fail(line, f"its author's name has more than {MAX_NAME_CHARACTERS} characters")
        else:
            yield from self.release()
            self._held = _Held(line, opening, characters=len(opening.text))

    def _continue(self, line: Line, text: str) -> Iterator[Item]:
        held = self._held
        if held is not None and held.characters + len(text) < MAX_TEXT_CHARACTERS:
            held.tail.append(text)
            held.characters += len(text) + 1
            self._tally.continued += 1
        elif held is not None:
            yield from self.release()
            self._above = Unreadable("it has no time, and the message above it is full")
            yield line.skipped(self._above.reason, "broken")
        elif not text.strip():
            yield line.skipped(BLANK, "noise")
        else:
            yield line.skipped(self._above.reason, "noise" if isinstance(self._above, Notice) else "broken")

    def _fail(self, line: Line, reason: str) -> Iterator[Item]:
        yield from self.release()
        self._above = Unreadable("it has no time, and the message above it could not be read")
        yield line.skipped(reason, "broken")
