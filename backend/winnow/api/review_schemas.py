"""What the API takes and gives when people judge what was found."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from winnow.api.schemas import GivenIn, Id, Name
from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.pipeline.review import MOST_AT_ONCE, MOST_CONTENT_CHARACTERS, MOST_REASON_CHARACTERS, MOST_TITLE_CHARACTERS

if TYPE_CHECKING:
    from winnow.pipeline.review import Reviewed
    from winnow.pipeline.teach import Taught

# As a pattern: something that `str.strip` leaves.
_SOMETHING: dict[str, Any] = {"pattern": r"[^\s\x1c-\x1f\x85]"}
Title = Annotated[str, Field(min_length=1, max_length=MOST_TITLE_CHARACTERS, json_schema_extra=_SOMETHING)]
Content = Annotated[str, Field(min_length=1, max_length=MOST_CONTENT_CHARACTERS, json_schema_extra=_SOMETHING)]
Reason = Annotated[str, Field(max_length=MOST_REASON_CHARACTERS)]
Reviewer = Annotated[Name | None, Field(description="Who judges; without it the name of the API key, or `api`.")]


class ReviewIn(GivenIn):
    """Who judges."""

    reviewer: Reviewer = None


class ReasonIn(ReviewIn):
    """Why, for those who read it later."""

    reason: Reason = ""


class WordingIn(ReasonIn):
    """What to change of an atom; what is not given stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"title": "Postgres for storage", "reason": "it was too long"},
            "anyOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("title", "content", "type", "topic")
            ],
        },
    )

    title: Title | None = None
    content: Content | None = None
    type: AtomType | None = None
    topic: Title | None = None

    @model_validator(mode="after")
    def _some_change(self) -> Self:
        if (self.title, self.content, self.type, self.topic) == (None, None, None, None):
            raise ValueError("say what to change: title, content, type or topic")
        return self


class MergeIn(ReviewIn):
    """The atom that it lives on in."""

    into: Id


class SupersedeIn(ReasonIn):
    """The atom that took its place."""

    by: Id


class VerdictsIn(ReviewIn):
    """One verdict on several atoms: on all of them or on none."""

    atom_ids: list[Id] = Field(min_length=1, max_length=MOST_AT_ONCE)
    verdict: Literal["accept", "reject"]


class JudgedOut(BaseModel):
    """An atom as it is after a verdict."""

    id: int
    type: AtomType
    title: str
    content: str
    status: AtomStatus
    confidence: float
    topic: str | None
    version: int = Field(description="The number of its wording.")
    merged_into: int | None
    superseded_by: int | None
    valid_until: datetime | None
    closed_at: datetime | None
    reviewed_by: str | None


class ReviewedOut(BaseModel):
    """The atoms as they are now, and which of them this changed; none where all was so already."""

    items: list[JudgedOut]
    changed: list[int]


class VerdictsOut(BaseModel):
    """What people accepted and rejected of a type, as an extractor found it."""

    type: AtomType
    extractor: str
    accepted: int
    rejected: int
    precision: float = Field(description="The share of the accepted ones.")


class FiguresOut(BaseModel):
    """How well confidences tell right from wrong; null where there is nothing to divide by."""

    precision: float | None
    recall: float | None
    auc: float | None
    brier: float


class ReviewStatusOut(BaseModel):
    """Where reviewing stands, and what the judge is worth in this workspace."""

    candidates: int = Field(description="Atoms below the cut that wait for a person.")
    unproven: int = Field(description="Atoms without words that prove them, which wait, too.")
    versions: int = Field(description="New wordings that wait.")
    reviews: int = Field(description="Atoms that people judged.")
    taught_by: int = Field(description="Judged atoms that the judge has learned from.")
    taught_at: datetime | None
    use: str | None = Field(description="Whether the judge is used, and why not; null: nobody was taught.")
    before: FiguresOut | None = Field(description="Of the confidences as found; null while there are few reviews.")
    after: FiguresOut | None = Field(description="Of the judge's, on reviews that it was not taught by.")
    accepted: list[VerdictsOut]


class TaughtOut(BaseModel):
    """What the judge has learned from."""

    reviews: int


def reviewed_out(reviewed: Reviewed) -> ReviewedOut:
    """What was done, as the API and `--json` show it."""
    items = [JudgedOut.model_validate(asdict(atom)) for atom in reviewed.atoms.values()]
    return ReviewedOut(items=items, changed=sorted(set(reviewed.changed)))


def review_status_out(state: Taught) -> ReviewStatusOut:
    """Where reviewing stands, as the API and `--json` show it."""
    report = state.judge.judge.report if state.judge else None
    return ReviewStatusOut(
        **asdict(state.waiting),
        reviews=state.reviews,
        taught_by=state.taught,
        taught_at=state.judge.trained_at if state.judge else None,
        use=state.judge.judge.use if state.judge else None,
        before=FiguresOut(**asdict(report.before)) if report and report.before else None,
        after=FiguresOut(**asdict(report.after)) if report and report.after else None,
        accepted=[
            VerdictsOut(
                type=AtomType(one.type),
                extractor=one.extractor,
                accepted=one.accepted,
                rejected=one.rejected,
                precision=one.accepted / (one.accepted + one.rejected),
            )
            for one in state.accepted
        ],
    )
