"""What every task is given: the pipeline's tools, built once a worker process, and the lane it came over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskiq import Context, TaskiqDepends

from winnow.domain.jobs import Lane
from winnow.pipeline.turns import Turns

if TYPE_CHECKING:
    from winnow.pipeline.embed import Embedding
    from winnow.pipeline.extract import Extracting
    from winnow.pipeline.score import Scoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The use cases' tools, and how many extractions go on at once."""

    scoring: Scoring
    embedding: Embedding
    extracting: Extracting
    extraction_turns: Turns = field(default_factory=lambda: Turns({}))


def tools_of(context: Context = TaskiqDepends()) -> Tools:
    """The tools that `bootstrap` put into the broker's state."""
    tools: Tools = context.broker.state.tools
    return tools


def lane_of(context: Context = TaskiqDepends()) -> Lane:
    """The lane of the broker that delivered the task: what follows from it goes the same way."""
    lane: Lane = context.broker.state.lane
    return lane
