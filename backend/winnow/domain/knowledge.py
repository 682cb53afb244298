"""The vocabulary of extracted knowledge, and the protocol every extractor speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class AtomType(StrEnum):
    """What kind of knowledge an atom is."""

    PROBLEM = "problem"
    SOLUTION = "solution"
    DECISION = "decision"
    QUESTION = "question"
    ANSWER = "answer"
    ACTION = "action"
    INSIGHT = "insight"
    IDEA = "idea"
    BLOCKER = "blocker"
    RISK = "risk"
    REQUIREMENT = "requirement"
    PATTERN = "pattern"


class LinkType(StrEnum):
    """How one atom relates to another; read `from TYPE to`: an answer `answers` its question."""

    SOLVES = "solves"
    ANSWERS = "answers"
    SUPERSEDES = "supersedes"
    CONTRADICTS = "contradicts"
    SUPPORTS = "supports"
    REFINES = "refines"
    DEPENDS_ON = "depends_on"
    CONTINUES = "continues"
    RELATES_TO = "relates_to"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMessage:
    """A stored message as an extractor sees it; `importance` is 0 to 1."""

    id: int
    author: str
    text: str
    sent_at: datetime
    importance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of one channel, in the order it was said.

    `context` holds the messages just before, for understanding only: nothing is extracted from them. `topic` names
    what the channel was on about when the window began, when that is known.
    """

    channel: str
    messages: tuple[WindowMessage, ...]
    context: tuple[WindowMessage, ...] = ()
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Exact words: `message.text[start:end] == quote` (offsets in Unicode code points)."""

    message_id: int
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedAtom:
    """One piece of knowledge. `confidence` is 0 to 1; `topic` is the name of one of the extraction's topics."""

    type: AtomType
    title: str
    content: str
    confidence: float
    evidence: tuple[Evidence, ...]
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedLink:
    """`atoms[source] TYPE atoms[target]`, both by index into the extraction's atoms."""

    source: int
    target: int
    type: LinkType
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """All that was found in one window. `message_topics` gives the topic's name for each message id that has one."""

    atoms: tuple[ExtractedAtom, ...] = ()
    links: tuple[ExtractedLink, ...] = ()
    message_topics: Mapping[int, str] = field(default_factory=dict)


class Extractor(Protocol):
    """Turns a window into knowledge.

    Raises:
        Transient: the window can be tried again later.
        Permanent: this window will fail again as it stands.
    """

    @property
    def name(self) -> str:
        """Which extractor made an atom, as stored with the run, for example `rules`."""
        ...

    async def extract(self, window: Window) -> Extraction:
        """Everything found in `window.messages`; each atom quotes at least one of them."""
        ...
