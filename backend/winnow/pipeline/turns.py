"""Turns: what takes minutes leaves a part of each lane to what takes moments."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from winnow.errors import WorkerBusy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from winnow.domain.jobs import Lane

AGAIN_SECONDS = 5.0


class Turns:
    """At most so many at once in each lane of this process; a lane that is not named has no limit."""

    def __init__(self, most: Mapping[Lane, int]) -> None:
        self._most = dict(most)
        self._taken: Counter[Lane] = Counter()

    @contextmanager
    def taken(self, lane: Lane) -> Iterator[None]:
        """A turn for the time of the block.

        Raises:
            WorkerBusy: all are taken; who asks is not to wait in the lane, where others could go on.
        """
        if self._taken[lane] >= self._most.get(lane, self._taken[lane] + 1):
            raise WorkerBusy(retry_after_seconds=AGAIN_SECONDS)
        self._taken[lane] += 1
        try:
            yield
        finally:
            self._taken[lane] -= 1


def half_of(concurrency: Mapping[Lane, int]) -> Turns:
    """Turns for half of each lane, and at least one."""
    return Turns({lane: max(1, number // 2) for lane, number in concurrency.items()})
