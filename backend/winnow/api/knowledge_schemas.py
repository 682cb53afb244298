"""What the API gives of knowledge: atoms, topics, hits of a search, and one atom in full."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from winnow.api.schemas import GivenIn, MessageOut
from winnow.domain.jobs import Kind
from winnow.domain.word_diff import Change
from winnow.pipeline.topics import MOST_NAME_CHARACTERS


class QuoteOut(BaseModel):
    """Exact words: characters `start` to `end` of the message's text."""

    message_id: int
    start: int
    end: int
    quote: str
    author: str
    source: str
    channel: str
    channel_title: str
    sent_at: datetime


class ClaimOut(BaseModel):
    """Words that an extractor said a message holds, and that are not in it."""

    message_id: int
    quote: str
    author: str
    source: str
    channel: str
    channel_title: str
    sent_at: datetime


class LinkOut(BaseModel):
    """A link as seen from its atom: `this TYPE other` when outgoing, else `other TYPE this`."""

    type: str
    outgoing: bool
    other_id: int
    other_title: str
    other_type: str
    other_said_at: datetime | None
    other_valid_until: datetime | None = Field(description="Not null: the other one holds no more.")
    confidence: float


class AtomOut(BaseModel):
    """A piece of knowledge with the words it rests on, and what became of it."""

    id: int
    type: str
    title: str
    content: str
    confidence: float = Field(description="0 to 1: how sure that it is what it says.")
    raw_confidence: float | None = Field(description="The extractor's own, before calibration and reviews.")
    status: str = Field(description="active, candidate (below the cut), unproven, rejected or merged.")
    extractor: str = Field(description="What made it: rules, or the model, as in ollama:qwen3:8b.")
    topic: str | None
    topic_id: int | None
    said_at: datetime | None = Field(description="When its first words were said.")
    created_at: datetime
    version: int
    proposals: int = Field(description="Other wordings that wait for a person.")
    superseded: bool = Field(description="It holds no more.")
    valid_until: datetime | None = Field(description="Until when it held; null: it still does.")
    superseded_by: int | None
    superseded_by_title: str | None
    superseded_because: str | None
    closed_at: datetime | None = Field(description="When a person closed it.")
    closed_because: str | None
    merged_into: int | None = Field(description="The atom that says the same, and has its evidence now.")
    merged_into_title: str | None
    reviewed_at: datetime | None
    reviewed_by: str | None
    evidence: list[QuoteOut]
    claims: list[ClaimOut]
    links: list[LinkOut] = Field(description="To active atoms only.")


class OpenOut(AtomOut):
    """A question, problem or action that is still open."""

    asked_by: str | None = Field(description="Who said it first; null: nobody is known.")
    days_open: int | None = Field(description="Whole days since it was said.")


class AtomsOut(BaseModel):
    """Atoms in the order asked for; `next_cursor` asks for the page after, with the same filters."""

    items: list[AtomOut]
    next_cursor: str | None


class OpenPageOut(BaseModel):
    """The same of what is open; `total` is how many there are in all."""

    items: list[OpenOut]
    next_cursor: str | None
    total: int


class AtomCountsOut(BaseModel):
    """How many atoms of a filter there are."""

    total: int
    types: dict[str, int]
    statuses: dict[str, int]


class SpokenOut(BaseModel):
    """A message of a conversation; the atom rests on one that is `quoted`, `parent_id` is what it answers."""

    id: int
    author: str
    text: str
    sent_at: datetime
    quoted: bool
    parent_id: int | None


class ConversationOut(BaseModel):
    """What was said around an atom's words; `id` is that of the conversation's first message."""

    id: int
    source: str
    channel: str
    channel_title: str
    messages: list[SpokenOut]


class PieceOut(BaseModel):
    """Words that were kept, removed or added."""

    change: Change
    text: str


class VersionOut(BaseModel):
    """A wording: `current`, `past`, `proposed` or `rejected`.

    `changes` are word by word: of a past or current one against the one before, of the others against the current one.
    """

    version: int
    state: str
    type: str
    title: str
    content: str
    confidence: float
    made_by: str
    run_id: int | None
    reason: str
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    title_changes: list[PieceOut]
    content_changes: list[PieceOut]


class FoundByOut(BaseModel):
    """The run that found it."""

    id: int
    extractor: str
    version: str
    state: str
    source: str
    channel: str
    started_at: datetime
    finished_at: datetime | None


class ReviewOut(BaseModel):
    """What a person judged of it, and the title and confidence it had then."""

    verdict: str
    reviewer: str
    created_at: datetime
    title: str
    confidence: float


class AtomInFullOut(AtomOut):
    """An atom with all that is known of it."""

    conversations: list[ConversationOut] = Field(description="Around its first ten messages.")
    versions: list[VersionOut] = Field(description="Empty as long as it has had but one wording.")
    run: FoundByOut | None
    reviews: list[ReviewOut]


class TopicOut(BaseModel):
    """A topic and how many atoms it has."""

    id: int
    name: str
    description: str
    atoms: int


class TopicInFullOut(BaseModel):
    """A topic with what is filed under it."""

    id: int
    name: str
    description: str
    atoms: dict[str, int] = Field(description="Active ones, by type.")
    messages: int
    terms: dict[str, float] = Field(description="Salient words, by which it is known again.")
    first_said_at: datetime | None
    last_said_at: datetime | None
    created_at: datetime


class TopicIn(GivenIn):
    """Another name for a topic, which stays the same one."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Case sensitivity"}})

    name: str = Field(min_length=1, max_length=MOST_NAME_CHARACTERS, pattern=r"[^\s\x00\x1c-\x1f\x85]")


class NamedAtomOut(BaseModel):
    """An atom by its name."""

    id: int
    type: str
    title: str


class MessageInFullOut(MessageOut):
    """A message with the active atoms that quote it."""

    atoms: list[NamedAtomOut]


class HitOut(BaseModel):
    """One hit: exactly one of `atom`, `topic` and `message` is there. `score` compares within one answer only."""

    kind: Kind
    score: float
    atom: AtomOut | None = None
    topic: TopicOut | None = None
    message: MessageOut | None = None


class SearchOut(BaseModel):
    """Best hits first. `degraded` says why vectors took no part, when they did not."""

    query: str
    hits: list[HitOut]
    degraded: str | None
