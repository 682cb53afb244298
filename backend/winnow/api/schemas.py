"""What the API takes and gives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from winnow.api.words import sentence_of
from winnow.domain.jobs import Kind
from winnow.domain.messages import (
    MAX_NAME_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    IncomingMessage,
    MessageState,
    still_to_come,
)
from winnow.errors import InvalidInput

MOST_MESSAGES = 1000
MOST_MEMBERS = 20
MOST_KINDS = 10
MOST_IDS = 10_000
LAST_ID = 2**53 - 1  # what every reader of JSON can hold

Item = TypeVar("Item")


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("it is blank")
    return value


Name = Annotated[
    str,
    # As a pattern: something that `str.strip` leaves. \s of a regular expression knows fewer blanks than Python does.
    Field(min_length=1, max_length=MAX_NAME_CHARACTERS, json_schema_extra={"pattern": r"[^\s\x1c-\x1f\x85]"}),
    AfterValidator(_not_blank),
]


def _written_out(value: Any) -> Any:
    """Refuses 1711930000, which pydantic would take for seconds or for milliseconds as it sees fit."""
    if not isinstance(value, str) or not DATE.match(value):
        raise ValueError("write it like 2026-01-31T09:30:00Z")
    return value


def whole(value: Any) -> Any:
    """JSON has but one kind of number: 7.0 is 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


DATE = re.compile(r"\d{4}-\d\d-")
Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_written_out),
    # The years are those `IncomingMessage` takes, for whoever reads the description rather than the refusals.
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": "^(19[7-9][0-9]|2[0-9]{3})-"}),
]
Id = Annotated[int, Field(ge=1, le=LAST_ID, strict=True), BeforeValidator(whole)]
BatchSize = Annotated[int, Field(ge=1, le=2048, strict=True), BeforeValidator(whole)]


class GivenIn(BaseModel):
    """What callers send. An object with very many members is refused before each of them is told."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_members(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MOST_MEMBERS:
            raise ValueError(f"this has {len(value):,} members, and there are {len(cls.model_fields)}")
        return value


class MessageIn(GivenIn):
    """A message to store; `external_id` names it, so that sending it again changes nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "channel": "backend",
                "external_id": "1712",
                "author": "Ana",
                "text": "Let's go with HNSW, the index fits in memory.",
                "sent_at": "2026-01-31T09:30:00Z",
            }
        },
    )

    channel: Name
    text: str = Field(max_length=MAX_TEXT_CHARACTERS)
    author: str = Field("", max_length=MAX_NAME_CHARACTERS)
    author_id: Name | None = Field(None, description="The source's own id of the author.")
    sent_at: Moment | None = Field(None, description="With a zone, 1970 to a day from now; now, when not given.")
    edited_at: Moment | None = Field(
        None, description="When the text became this one; it replaces a stored one that is older."
    )
    channel_title: str | None = Field(
        None, max_length=MAX_NAME_CHARACTERS, description="How people name the channel, where `channel` is an id."
    )
    source: Name = "api"
    external_id: Name | None = Field(None, description="Your own id of the message; made up when not given.")
    reply_to: Name | None = None
    thread: Name | None = None

    def as_message(self, *, made_up: str | None = None) -> IncomingMessage:
        """The message as the pipeline takes it; `made_up` is its id when none is given. Raises InvalidInput."""
        now = datetime.now(UTC)
        for name in ("sent_at", "edited_at"):
            if ahead := still_to_come(now, **{name: getattr(self, name)}):
                raise InvalidInput(f"{name}: {ahead}")
        return IncomingMessage(
            source=self.source,
            channel=self.channel,
            external_id=self.external_id or made_up or uuid4().hex,
            author=self.author,
            text=self.text,
            sent_at=self.sent_at or now,
            reply_to=self.reply_to,
            thread=self.thread,
            author_id=self.author_id,
            channel_title=self.channel_title,
            edited_at=self.edited_at,
        )


class EditIn(GivenIn):
    """Another text for a stored message."""

    model_config = ConfigDict(json_schema_extra={"example": {"text": "Let's go with IVFFlat after all."}})

    text: str = Field(max_length=MAX_TEXT_CHARACTERS)
    edited_at: Moment | None = Field(None, description="When it became this one; now, when not given.")


class RefusedOut(BaseModel):
    """A message of a list that was not stored: its place in the list (from 0), and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in a list for a message that cannot be read, so that those beside it can be stored."""

    reason: str


def _alone(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        return Unreadable("; ".join(sentence_of(detail, detail["loc"]) for detail in error.errors()[:3]))


ONE, MANY = "message", "messages"
# Told apart before they are read, so that a mistake in one is not also reported as "is no list".
MessagesIn = Annotated[
    Annotated[MessageIn, Tag(ONE)]
    | Annotated[list[Annotated[MessageIn, WrapValidator(_alone)]], Field(max_length=MOST_MESSAGES), Tag(MANY)],
    Discriminator(lambda body: MANY if isinstance(body, list) else ONE),
]


class StoredOut(BaseModel):
    """What became of the messages: `stored` + `known` + `edited` + `refused` are all of them.

    `ids` has one for each, in the order given, of known ones too; null where a message was refused and has none.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"stored": 2, "known": 1, "edited": 0, "ids": [1712, 1713, 1688], "refused": []}}
    )

    stored: int
    known: int
    edited: int = 0
    ids: list[int | None]
    refused: list[RefusedOut] = Field(default_factory=list)


class BackfillIn(GivenIn):
    """Which kinds to go over; `dry_run` only counts and estimates.

    For the estimate the model is asked for about 20 of the texts where that is free, or `sample` is true.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"kinds": ["atoms"], "dry_run": True}})

    kinds: list[Kind] = Field(default_factory=lambda: list(Kind), min_length=1, max_length=MOST_KINDS)
    batch_size: BatchSize = 100
    dry_run: StrictBool = False
    sample: StrictBool = False


class EstimateOut(BaseModel):
    """What embedding all that has no vector would take; each `…_basis` says in words where the figure comes from."""

    rows: int = Field(description="That would get a vector.")
    texts: int = Field(description="Different ones that the model would be asked for.")
    tokens: int
    tokens_basis: str
    price_usd: float | None = Field(description="null: unknown.")
    price_basis: str
    seconds: float | None = Field(description="null: unknown.")
    seconds_basis: str
    remark: str | None = Field(description="Why no sample was taken that should have been.")


class BackfillOut(BaseModel):
    """Rows without a vector, by kind; `started` says that a backfill is on its way (see `/api/v1/status`).

    `estimate` is of a dry run.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"without_vector": {"atoms": 17}, "started": True}})

    without_vector: dict[Kind, int]
    started: bool
    estimate: EstimateOut | None = None


class QuoteOut(BaseModel):
    """Exact words: characters `start` to `end` of the message's text."""

    message_id: int
    start: int
    end: int
    quote: str
    author: str
    channel: str
    channel_title: str
    sent_at: datetime


class LinkOut(BaseModel):
    """A link as seen from its atom: `this TYPE other` when outgoing, else `other TYPE this`."""

    type: str
    outgoing: bool
    other_id: int
    other_title: str
    confidence: float


class AtomOut(BaseModel):
    """A piece of knowledge with the words it rests on."""

    id: int
    type: str
    title: str
    content: str
    confidence: float
    status: str
    topic: str | None
    created_at: datetime
    evidence: list[QuoteOut]
    links: list[LinkOut]


class TopicOut(BaseModel):
    """A topic and how many atoms it has."""

    id: int
    name: str
    description: str
    atoms: int


class MessageOut(BaseModel):
    """A message as it was said, where it stands, and how much it matters (0 to 1) and why."""

    id: int
    source: str
    channel: str
    channel_title: str
    external_id: str
    author: str
    author_id: str | None
    text: str
    sent_at: datetime
    edited_at: datetime | None
    topic: str | None
    state: MessageState
    importance: float | None
    signal: str | None = Field(description="signal, weak or noise; null: not scored yet.")
    factors: dict[str, Any] | None = Field(description="What the importance is made of.")


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


class PageOut(BaseModel, Generic[Item]):
    """Newest first; `next_before` asks for the page after."""

    items: list[Item]
    next_before: int | None
