"""The vocabulary of extracted knowledge, and the protocol every extractor speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from winnow.errors import Permanent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal


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


class AtomStatus(StrEnum):
    """Where an atom stands. Searches find the active ones alone.

    `candidate` is below the cut, `unproven` has no words that prove it; both wait for a person, who accepts or rejects.
    What is `merged` lives on in the atom that it says the same as.
    """

    ACTIVE = "active"
    CANDIDATE = "candidate"
    UNPROVEN = "unproven"
    REJECTED = "rejected"
    MERGED = "merged"


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
    """A stored message as an extractor sees it; `importance` is 0 to 1.

    `conversation` is the id of the first message of its conversation, `parent_id` that of the message it answers, and
    `votes` those for it less those against it.
    """

    id: int
    author: str
    text: str
    sent_at: datetime
    importance: float
    conversation: int = 0
    parent_id: int | None = None
    votes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAtom:
    """An atom that is stored already, offered to an extractor so that it can link to it instead of saying it again."""

    id: int
    type: AtomType
    title: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of one conversation, in the order it was said; or several short conversations of one channel.

    `context` holds the messages just before, for understanding only: nothing is extracted from them. `topic` names
    what the channel was on about when the window began, when that is known; `known` are atoms and `topics` names of
    topics that may be meant again.
    """

    channel: str
    messages: tuple[WindowMessage, ...]
    context: tuple[WindowMessage, ...] = ()
    topic: str | None = None
    known: tuple[KnownAtom, ...] = ()
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Exact words: `message.text[start:end] == quote` (offsets in Unicode code points)."""

    message_id: int
    start: int
    end: int
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Words that an extractor gave as a quote of this message, and that are not in it."""

    message_id: int
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedAtom:
    """One piece of knowledge. `confidence` is 0 to 1; `topic` is the name of one of the extraction's topics.

    Without evidence it is unproven; `claims` then say which messages it was read in, at least one.
    """

    type: AtomType
    title: str
    content: str
    confidence: float
    evidence: tuple[Evidence, ...]
    topic: str | None = None
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedLink:
    """`atoms[source] TYPE atoms[target]`, both by index into the extraction's atoms."""

    source: int
    target: int
    type: LinkType
    confidence: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkToKnown:
    """`atoms[source] TYPE atom_id`: by index into the extraction's atoms, to the id of an atom that was offered."""

    source: int
    atom_id: int
    type: LinkType
    confidence: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """What an extraction asked of a model. Tokens that its server did not tell count as none; no cost: not known."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """All that was found in one window. `message_topics` gives the topic's name for each message id that has one.

    `terms` are the salient terms of topics, by the topic's name, each with its weight: what a topic is known again by.
    `trouble` says what of the window was not read, or of an answer not used; empty: nothing.
    """

    atoms: tuple[ExtractedAtom, ...] = ()
    links: tuple[ExtractedLink, ...] = ()
    links_to_known: tuple[LinkToKnown, ...] = ()
    message_topics: Mapping[int, str] = field(default_factory=dict)
    terms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    use: ModelUse = field(default_factory=ModelUse)
    trouble: str = ""


class Extractor(Protocol):
    """Turns a window into knowledge.

    Raises:
        Transient: the window can be tried again later.
        ExtractionFailed: this window will fail again as it stands.
    """

    @property
    def name(self) -> str:
        """Which extractor made an atom, as stored with the run: `rules`, `ollama:qwen3:8b`."""
        ...

    @property
    def version(self) -> str:
        """Of its rules or its prompt: another one may find other things in the same words."""
        ...

    @property
    def wants_known(self) -> bool:
        """Whether it can make something of `Window.known` and `Window.topics`; else nobody looks for them."""
        ...

    async def extract(self, window: Window) -> Extraction:
        """Everything found in `window.messages`; each atom quotes at least one of them, or is unproven."""
        ...


class ExtractionFailed(Permanent):
    """The extractor found no way through this window.

    Attributes:
        answer: what the model said last, as it said it; empty without one.
        use: what was asked of the model for it.
    """

    def __init__(self, message: str, *, answer: str = "", use: ModelUse | None = None) -> None:
        super().__init__(message)
        self.answer = answer
        self.use = use or ModelUse()
