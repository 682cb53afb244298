"""How far a backfill is: counted batch by batch, and told to whoever asked for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from winnow.pipeline.indexing import IndexBuild
    from winnow.pipeline.sent import SentBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. Rows deleted meanwhile count as done; `waiting` ones wait for a server, or for a lock to go.

    `index` is a build that goes on just now, `index_seconds` what those that are done took. `spent`: the budget is.
    """

    total: int = 0
    success: int = 0
    failed: int = 0
    skipped: int = 0
    waiting: int = 0
    inline: bool = False
    seconds: float = 0.0
    index_seconds: float = 0.0
    index: IndexBuild | None = None
    spent: bool = False

    @property
    def done(self) -> int:
        """Rows that nothing more will happen to in this backfill."""
        return self.success + self.failed + self.skipped + self.waiting


@dataclass(slots=True)
class Tally:
    """Counts what is over, and tells of each step.

    Attributes:
        report: is told how far it is.
        say: is told what a person should know.
        progress: at the last step.
        started: when, by the monotonic clock.
        moved_at: when something was over at last.
    """

    report: Callable[[Progress], None]
    say: Callable[[str], None]
    progress: Progress
    started: float = field(default_factory=time.monotonic)
    moved_at: float = field(default_factory=time.monotonic)

    @property
    def inline(self) -> bool:
        """Whether the work is done in this process."""
        return self.progress.inline

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.started

    @property
    def quiet_seconds(self) -> float:
        """Since something was over."""
        return time.monotonic() - self.moved_at

    def tell(self) -> None:
        """Reports how far it is."""
        self.report(self.progress)

    def go_inline(self, why: str) -> None:
        """From here on the work is done in this process."""
        self.say(why)
        self.progress = replace(self.progress, inline=True)

    def tell_build(self, build: IndexBuild) -> None:
        """Reports a build of an index."""
        now = replace(self.progress, index=build)
        if build.finished:
            self.say(f"the index of {build.kind.value} was built in {build.seconds:,.1f} s")
            now = replace(now, index=None, index_seconds=now.index_seconds + build.seconds)
        self.progress = replace(now, seconds=self.seconds)
        self.tell()

    def count(self, batch: SentBatch) -> int:
        """Counts a batch that is over; returns how many of its rows have a vector."""
        now, standing = self.progress, batch.standing
        self.moved_at = time.monotonic()
        success = len(batch.ids) - standing.failed - standing.skipped - batch.waiting
        self.progress = replace(
            now,
            success=now.success + success,
            failed=now.failed + standing.failed,
            skipped=now.skipped + standing.skipped,
            waiting=now.waiting + batch.waiting,
            seconds=self.seconds,
        )
        self.tell()
        return success

    def count_the_rest(self, left: int) -> None:
        """What is left when the server was waited for too long; some of it may have been done by others meanwhile."""
        most = self.progress.total - self.progress.success - self.progress.failed - self.progress.skipped
        self.progress = replace(self.progress, waiting=max(0, min(left, most)), seconds=self.seconds)

    def budget_spent(self) -> None:
        """No row more can be paid for."""
        self.progress = replace(self.progress, spent=True)

    def finish(self) -> None:
        """Nothing more will be counted: rows done by others before their turn came are none of its own."""
        self.progress = replace(self.progress, total=self.progress.done)
        self.tell()
