"""What the API takes and gives when messages are forgotten, or something is chosen for a channel."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from winnow.api.schemas import MOST_IDS, GivenIn, Id, Name, whole
from winnow.domain.messages import ChannelMode
from winnow.pipeline.channels import MOST_KEEP_DAYS

if TYPE_CHECKING:
    from pydantic.config import JsonDict

Days = Annotated[int, Field(ge=1, le=MOST_KEEP_DAYS, strict=True), BeforeValidator(whole)]
_NONE: JsonDict = {"type": "null"}
_GIVEN: JsonDict = {"type": "string"}
_IDS_ALONE: JsonDict = {"message_ids": {"type": "array"}, "author": _NONE, "channel": _NONE, "source": _NONE}
_WHOLE_CHANNEL: JsonDict = {"source": _GIVEN, "channel": _GIVEN, "message_ids": _NONE, "author": _NONE}


class ForgetMessagesIn(GivenIn):
    """Which messages to remove: these ids; all of an author (of a channel, of a source); or all of a channel."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"author": "Ana", "channel": "backend", "dry_run": True},
            "oneOf": [
                {"required": ["message_ids"], "properties": _IDS_ALONE},
                {"required": ["author"], "properties": {"author": _GIVEN, "message_ids": _NONE}},
                {"required": ["source", "channel"], "properties": _WHOLE_CHANNEL},
            ],
        },
    )

    message_ids: list[Id] | None = Field(None, min_length=1, max_length=MOST_IDS)
    author: Name | None = Field(None, description="A name as it is shown, or the source's own id of the author.")
    channel: Name | None = None
    source: Name | None = None
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.message_ids is not None:
            if self.author or self.channel or self.source:
                raise ValueError("give message_ids alone; or an author; or source and channel")
        elif self.author is None and not (self.source and self.channel):
            raise ValueError("give message_ids, or an author, or source and channel")
        return self


class ReceiptOut(BaseModel):
    """What was removed; of a dry run, what would be. While `complete` is false, more is left: ask again."""

    messages: int
    evidence: int = Field(description="Quotes from these messages, and others of the knowledge that went.")
    atoms: int = Field(description="Knowledge that rested on nothing else, or had words that only these messages said.")
    atoms_kept: int = Field(description="Knowledge that rests on other messages, too, and has no such words.")
    links: int
    topics: int = Field(description="Topics that nothing is filed under any more.")
    vectors: int
    ledger_rows: int = Field(description="In embedding_jobs, extraction_queue and message_threads.")
    run_errors: int = Field(description="Errors of extraction runs that had read one of them, overwritten.")
    dry_run: bool
    complete: bool


class ChannelOut(BaseModel):
    """A channel, and what is done with its messages."""

    source: str
    channel: str
    title: str
    mode: ChannelMode
    local_only: bool = Field(description="Its text is never sent to a model that is elsewhere.")
    keep_days: int | None = Field(description="How long its messages are kept; null: for ever.")
    messages: int
    queued: int = Field(description="Messages that no extraction has read.")
    last_at: datetime | None


class ChannelsOut(BaseModel):
    """The channel with the latest message first; `next_offset` asks for the page after."""

    items: list[ChannelOut]
    next_offset: int | None


class ChangedChannelOut(ChannelOut):
    """The same after a change. `in_hand` texts may have been on their way to a model elsewhere in that moment."""

    in_hand: int


class ChannelIn(GivenIn):
    """What to change of a channel; what is not given stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"source": "telegram", "channel": "-1001712", "local_only": True, "keep_days": 365},
            "anyOf": [{"required": ["mode"]}, {"required": ["local_only"]}, {"required": ["keep_days"]}],
        },
    )

    source: Name
    channel: Name = Field(description="Its identity, or its title.")
    mode: ChannelMode = ChannelMode.ON
    local_only: StrictBool = False
    keep_days: Days | None = Field(None, description="null: for ever.")

    @model_validator(mode="after")
    def _some_change(self) -> Self:
        if not {"mode", "local_only", "keep_days"} & self.model_fields_set:
            raise ValueError("say what to change: mode, local_only or keep_days")
        return self
