"""What the API tells of embedding: how far it is, what failed, and what became of a person's decision about that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from winnow.api.schemas import MOST_IDS, GivenIn, Id, MessageOut
from winnow.domain.jobs import Kind


class CountsOut(BaseModel):
    """Rows of a kind: embedded + pending + processing + waiting + failed + skipped = total."""

    total: int
    embedded: int
    pending: int = Field(description="No vector yet, and in nobody's hand.")
    processing: int = Field(description="In a worker's hand just now.")
    waiting: int = Field(description="For another try, or for somebody to let the row go.")
    failed: int = Field(description="For good; see `/api/v1/embeddings/failed`.")
    skipped: int = Field(description="Blank, or forgotten by a person.")
    oldest_pending: datetime | None = Field(description="Since when the first row without a vector has its text.")


class PausedOut(BaseModel):
    """Nobody asks the model server just now: since when, why, and when one worker looks whether it is well again."""

    since: datetime
    error_kind: str
    reason: str
    next_look_seconds: float


class PaceOut(BaseModel):
    """How fast it goes: over the last minute, or over the last three batches where these take longer.

    `saved_per_second` of the rows took the vector of an identical text, and so did `saved` rows so far. It has gone on
    for `elapsed_seconds` without a minute's pause (a day at most), and will for `eta_seconds` more; both are null when
    nobody can say.
    """

    rate_per_second: float
    saved_per_second: float
    tokens_per_second: float | None
    elapsed_seconds: float | None
    eta_seconds: float | None
    saved: int
    truncated: int | None = Field(description="Vectors of the beginning of their text only; null: not counted.")
    paused: PausedOut | None


class EmbeddingStatusOut(PaceOut):
    """Where embedding stands. `lanes` are tasks not settled, null when NATS does not answer."""

    space: str | None
    kinds: dict[Kind, CountsOut]
    lanes: Mapping[str, int] | None
    last_error: str | None


class KindOut(BaseModel):
    """The same as `winnow status` has always told it: `in_hand` is what is processing."""

    total: int
    embedded: int
    pending: int
    in_hand: int
    waiting: int
    failed: int
    skipped: int
    oldest_pending: datetime | None


class BuildingOut(BaseModel):
    """A change of the model that is under way: the space that is filled, and its rows by kind."""

    space: str
    embeddings: dict[Kind, KindOut]


class StatusOut(PaceOut):
    """Where everything stands; for each kind the counts add up to `total`, and so do those of messages by state."""

    idle: bool
    embedder: str
    extractor: str
    space: str | None
    dimensions: int | None
    embeddings: dict[Kind, KindOut]
    building: BuildingOut | None
    messages: dict[str, int]
    knowledge: dict[str, Any]
    queue: dict[str, Any] | None
    queue_error: str | None
    hook_failures: int
    last_error: str | None


class FailedOut(BaseModel):
    """A row that got no vector, and why. `text` is its beginning; all of it has `characters`."""

    kind: Kind
    id: int
    state: str = Field(description="failed, waiting or skipped")
    at: datetime = Field(description="When it failed or was set aside; when it is tried next, while it waits.")
    attempts: int = Field(description="How often the text was at fault.")
    waits: int
    deaths: int = Field(description="How many workers ended with it in hand.")
    error_kind: str | None
    error: str | None
    text: str
    characters: int


class FailedInFullOut(FailedOut):
    """The same with the whole text, and where a message was said."""

    message: MessageOut | None


class FailedPageOut(BaseModel):
    """The latest first; `next_before` asks for the page after."""

    items: list[FailedOut]
    next_before: str | None


class DecideIn(GivenIn):
    """Which rows: these ids of a kind, or all that failed, of a kind or of every kind."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"kind": "messages", "ids": [1712, 1713]},
            "oneOf": [
                {
                    "required": ["kind", "ids"],
                    "properties": {"kind": {"type": "string"}, "ids": {"type": "array"}, "all": {"const": False}},
                },
                {"required": ["all"], "properties": {"all": {"const": True}, "ids": {"type": "null"}}},
            ],
        },
    )

    kind: Kind | None = None
    ids: list[Id] | None = Field(None, min_length=1, max_length=MOST_IDS)
    all: StrictBool = False

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.all == (self.ids is not None):
            raise ValueError("give kind and ids, or all: true")
        if self.ids is not None and self.kind is None:
            raise ValueError("kind: say of which kind the ids are")
        return self


class ForgetIn(GivenIn):
    """Which rows: these ids of a kind, or all of the kind that failed. They do not come back by themselves."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"kind": "messages", "ids": [1712, 1713]},
            "oneOf": [
                {"required": ["ids"], "properties": {"ids": {"type": "array"}, "all": {"const": False}}},
                {"required": ["all"], "properties": {"all": {"const": True}, "ids": {"type": "null"}}},
            ],
        },
    )

    kind: Kind
    ids: list[Id] | None = Field(None, min_length=1, max_length=MOST_IDS)
    all: StrictBool = False

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.all == (self.ids is not None):
            raise ValueError("give ids, or all: true")
        return self


class RetriedOut(BaseModel):
    """Rows that are pending again, in so many tasks; `left_out` are ids of which nothing of the kind is known.

    `queue_error` says why tasks could not be sent: then the sweeper finds the rows.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"rows": 2, "tasks": 1, "left_out": [], "queue_error": None}}
    )

    rows: int
    tasks: int
    left_out: list[int]
    queue_error: str | None


class ForgottenOut(BaseModel):
    """Rows set aside until their text changes; `left_out` are ids that have not failed and do not wait."""

    model_config = ConfigDict(json_schema_extra={"example": {"rows": 1, "left_out": [1713]}})

    rows: int
    left_out: list[int]
