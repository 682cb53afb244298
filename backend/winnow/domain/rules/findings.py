"""Findings: atoms in the making, which may still gain evidence, confidence or another type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.rules.titles import one_line, shortened
from winnow.domain.rules.words import content_words

if TYPE_CHECKING:
    from winnow.domain.knowledge import AtomType, LinkType
    from winnow.domain.rules.reader import Line, Span

MAX_CONTENT = 600
_MAX_JOINED_LINES = 3
_WHOLE_LINE = 320


@dataclass(eq=False, slots=True, kw_only=True)
class Finding:
    """An atom in the making, found in the line of index `line`.

    `spans` are its own words in order and make its content; `support` is further evidence (an accepted proposal, an
    agreement). `question` is what an answer answers.
    """

    type: AtomType
    confidence: float
    title: str
    spans: list[Span]
    line: int
    speaker: str
    support: list[Span] = field(default_factory=list)
    words: frozenset[str] = field(default_factory=frozenset)
    question: Finding | None = None

    def __post_init__(self) -> None:
        self.words = frozenset(content_words(self.content))

    @property
    def content(self) -> str:
        """The statement, its lines joined."""
        return shortened(" ".join(one_line(span.text) for span in self.spans), MAX_CONTENT)

    @property
    def position(self) -> int:
        """Where in the window its own words begin: the place of their message."""
        return self.spans[0].position


@dataclass(eq=False, slots=True, frozen=True)
class FoundLink:
    """`source TYPE target`."""

    source: Finding
    target: Finding
    type: LinkType
    confidence: float


def lines_after(lines: list[Line], line: Line, reach: int) -> list[Line]:
    """What is said in the same conversation within so many lines after one."""
    conversation = line.span.message.conversation
    after = lines[line.index + 1 : line.index + 1 + reach]
    return [other for other in after if other.span.message.conversation == conversation]


def statement(lines: list[Line], line: Line, sentence: Span | None = None) -> list[Span]:
    """The words that make a statement whole: its line (or sentence, of a long line) and lines that go on with it."""
    if sentence is not None and len(line.text) > _WHOLE_LINE:
        return [sentence]
    spans, size = [line.span], len(line.text)
    for following in lines[line.index + 1 : line.index + 1 + _MAX_JOINED_LINES]:
        goes_on = (
            following.continues and following.mark is None and following.span.message.author == line.span.message.author
        )
        if not goes_on or spans[-1].text[-1] in ".!?" or not _is_remainder(following.text):
            break
        size += len(following.text) + 1
        if size > MAX_CONTENT:
            break
        spans.append(following.span)
    return spans


_JOINING = (
    "and ",
    "but ",
    "so ",
    "because ",
    "which ",
    "that ",
    "since ",
    "as ",
    "or ",
    "to ",
    "by ",
    "with ",
    "in ",
    "for ",
    "if ",
    "e.g",
)


def _is_remainder(text: str) -> bool:
    return text[0].islower() and text.casefold().startswith(_JOINING)
