"""What can be asked of the workers: jobs carry ids only, so they may be lost, repeated or read by anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Kind(StrEnum):
    """What has an embedding; each is the name of its table."""

    MESSAGES = "messages"
    TOPICS = "topics"
    ATOMS = "atoms"


class Lane(StrEnum):
    """Live: what a person just wrote, what an extraction just made. Bulk: imports, sweeps, backfills."""

    LIVE = "live"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class EmbedJob:
    """Embed the rows of these ids that have no vector yet in a space (None: the active one).

    `run` is what the use of the model is noted under.
    """

    kind: Kind
    ids: tuple[int, ...]
    space_id: int | None = None
    run: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """Give these messages their importance."""

    ids: tuple[int, ...]


class Asked(StrEnum):
    """Who wanted an extraction: `quiet` and `threshold` are the sweeper's reasons, `hand` and `retry` a person's."""

    QUIET = "quiet"
    THRESHOLD = "threshold"
    HAND = "hand"
    RETRY = "retry"

    @property
    def by_hand(self) -> bool:
        """Whether a person did, who gets also what was left aside."""
        return self in {Asked.HAND, Asked.RETRY}


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """Extract knowledge from those of these messages that no run has taken yet."""

    ids: tuple[int, ...]
    asked: Asked = Asked.HAND


Job = EmbedJob | ScoreJob | ExtractJob


class Dispatcher(Protocol):
    """Sends jobs to the workers.

    Raises:
        QueueUnavailable: some jobs may not have left; whether they have is unknown.
    """

    async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
        """Returns once every job is stored by the queue."""
        ...


def merged(jobs: Iterable[Job]) -> list[Job]:
    """The same work in one job of each sort, ids in the order they came."""
    together: dict[Job, list[int]] = {}
    for job in jobs:
        together.setdefault(replace(job, ids=()), []).extend(job.ids)
    return [replace(sort, ids=tuple(ids)) for sort, ids in together.items()]


def in_batches(jobs: Iterable[Job], size: int) -> Iterator[Job]:
    """The same work in jobs of at most `size` ids, in order; jobs without ids vanish."""
    for job in jobs:
        for start in range(0, len(job.ids), size):
            yield replace(job, ids=job.ids[start : start + size])
