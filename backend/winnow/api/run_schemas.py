"""What the API and `--json` take and tell of runs of extraction; needs no web framework."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from winnow.api.schemas import MOST_IDS, GivenIn, Id, Moment, Name

if TYPE_CHECKING:
    from winnow.storage.runs import RunInFull, RunRecord

MOST_CHANNELS = 100


class ExtractIn(GivenIn):
    """Which messages to extract from: these ids; or all that wait, of a channel, of a period, or all there are.

    `again`: also those that were extracted already. Noise is never extracted.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"channel": "backend", "since": "2026-01-01T00:00:00Z", "again": True},
            "not": {
                "properties": {"message_ids": {"type": "array"}, "channel": {"type": "string"}},
                "required": ["message_ids", "channel"],
            },
        },
    )

    message_ids: list[Id] | None = Field(None, max_length=MOST_IDS)
    channel: Name | None = Field(None, description="By its identity or its title.")
    channels: list[Name] | None = Field(None, min_length=1, max_length=MOST_CHANNELS)
    since: Moment | None = Field(None, description="Said then or later.")
    until: Moment | None = Field(None, description="Said before then.")
    again: StrictBool = False

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.message_ids is not None and (self.channel is not None or self.channels is not None):
            raise ValueError("give message_ids or channel, not both")
        return self


class AcceptedOut(BaseModel):
    """Messages that were sent to the workers, in so many tasks."""

    model_config = ConfigDict(json_schema_extra={"example": {"rows": 312, "tasks": 2, "again": 0, "left_out": 0}})

    rows: int = Field(description="Messages that wait, and were sent.")
    tasks: int
    again: int = Field(0, description="Of them those that were extracted before.")
    left_out: int = Field(
        0, description="Of the ids: noise, of channels that nothing is extracted from, in a run's hand, or not waiting."
    )


class RunOut(BaseModel):
    """One window given to one extractor: committed whole (done), or not at all."""

    id: int
    source: str
    channel: str
    channel_title: str
    extractor: str
    extractor_version: str
    asked: str = Field(description="quiet or threshold: by the sweeper; hand or retry: by a person.")
    state: str = Field(description="running, done, failed, cancelled or abandoned (a message of it was changed).")
    messages: int
    atoms: int
    topics: int
    links: int
    unproven: int = Field(description="Of the atoms those without words that prove them.")
    requests: int = Field(description="To a language model.")
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = Field(description="null: no model was asked, or its price is not known.")
    error: str | None
    started_at: datetime
    finished_at: datetime | None
    seconds: float


class FoundAtomOut(BaseModel):
    """An atom that the run was the first to find."""

    id: int
    type: str
    title: str
    status: str
    confidence: float


class RunInFullOut(RunOut):
    """The same with its messages, its atoms, and what the model said where nothing could be made of it."""

    message_ids: list[int]
    found: list[FoundAtomOut]
    answer: str | None


class CancelledOut(BaseModel):
    """The runs that were ended; their messages wait, aside, until somebody asks for them."""

    runs: list[int]
    messages: int


class RetriedRunsOut(BaseModel):
    """Messages that still waited, and were sent in so many tasks."""

    messages: int
    tasks: int


def run_out(run: RunRecord) -> RunOut:
    """A run of the list."""
    return RunOut(**_told(run))


def run_in_full_out(run: RunInFull) -> RunInFullOut:
    """A run by itself."""
    found = [
        FoundAtomOut(id=one.id, type=one.type, title=one.title, status=one.status, confidence=one.confidence)
        for one in run.found
    ]
    return RunInFullOut(**_told(run), message_ids=list(run.message_ids), found=found, answer=run.answer)


def _told(run: RunRecord) -> dict[str, object]:
    told = {name: getattr(run, name) for name in RunOut.model_fields}
    cost = told["cost_usd"]
    return told | {"cost_usd": None if cost is None else float(cost), "seconds": round(run.seconds, 3)}
