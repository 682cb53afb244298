"""A backfill as tests run it: who would work for it, and what it reported and said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.jobs import Lane
from winnow.pipeline.backfill import Backfilling, backfill
from winnow.pipeline.backfill_plan import Plan

if TYPE_CHECKING:
    from winnow.pipeline.backfill_progress import Progress


@dataclass
class Workforce:
    """Whether somebody serves the bulk lane."""

    there: bool = True
    error: Exception | None = None

    async def present(self, lane: Lane) -> bool:
        assert lane == Lane.BULK
        if self.error:
            raise self.error
        return self.there


@dataclass
class Heard:
    """What a backfill reported and said."""

    reports: list[Progress] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    async def run(self, tools: Backfilling, plan: Plan | None = None) -> Progress:
        self.reports.clear()
        done = await backfill(tools, plan or Plan(), report=self.reports.append, say=self.words.append)
        assert self.reports[-1].done == done.done
        assert [report.done for report in self.reports] == sorted(report.done for report in self.reports)
        return done
