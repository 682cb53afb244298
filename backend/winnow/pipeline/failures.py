"""What a person does about rows that got no vector: look, try again, or leave them without one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from winnow.domain.jobs import EmbedJob, Kind, Lane, in_batches
from winnow.errors import QueueUnavailable
from winnow.storage.messages import messages_by_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.jobs import Dispatcher
    from winnow.storage.engine import Database
    from winnow.storage.failures import FailureStore, Trouble
    from winnow.storage.messages import MessageRecord

# More than this was not looked at one by one: it must not stand before what people write.
LIVE_AT_MOST = 100
TASKS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Rows a person chose: these ids of a kind, or all that failed (of a kind, or of every kind)."""

    kind: Kind | None = None
    ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.ids is not None and self.kind is None:
            raise ValueError("ids are those of a kind")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are meant."""
        return (self.kind,) if self.kind else tuple(Kind)

    def left_out(self, done: Mapping[Kind, Sequence[int]]) -> tuple[int, ...]:
        """Those of the ids that nothing could be done about: no such row, it has a vector, or it is in hand."""
        touched = {row for ids in done.values() for row in ids}
        return tuple(row for row in dict.fromkeys(self.ids or ()) if row not in touched)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was done: rows by kind, and the chosen ids that it was not done to."""

    ids: Mapping[Kind, Sequence[int]]
    left_out: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many it was done to."""
        return sum(map(len, self.ids.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Decided):
    """Rows that are plainly pending again, and the tasks that were sent for them.

    `queue_error` says why some could not be sent; the sweeper finds those rows.
    """

    tasks: int
    queue_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleInFull:
    """A row that got no vector, with its whole text, and where a message was said."""

    trouble: Trouble
    message: MessageRecord | None


async def look_at(database: Database, store: FailureStore, kind: Kind, row_id: int) -> TroubleInFull | None:
    """Why a row has no vector; None when nothing is noted of it."""
    trouble = await store.read(kind, row_id)
    if trouble is None:
        return None
    message = (await messages_by_id(database, [row_id])).get(row_id) if kind is Kind.MESSAGES else None
    return TroubleInFull(trouble=trouble, message=message)


async def retry(store: FailureStore, dispatcher: Dispatcher, chosen: Chosen, *, batch_size: int) -> Retried:
    """Makes the rows plainly pending again and sends them to the workers.

    Their attempts are forgotten. Without NATS, and when this is interrupted, nothing is lost: NULL is the queue.
    """
    done = {kind: await store.retry(kind, chosen.ids) for kind in chosen.kinds}
    await store.look_now()
    sent, queue_error = 0, None
    try:
        sent = await _send(dispatcher, done, batch_size)
    except QueueUnavailable as error:
        queue_error = str(error)
    return Retried(ids=done, left_out=chosen.left_out(done), tasks=sent, queue_error=queue_error)


async def _send(dispatcher: Dispatcher, rows: Mapping[Kind, Sequence[int]], batch_size: int) -> int:
    lane = Lane.LIVE if sum(map(len, rows.values())) <= LIVE_AT_MOST else Lane.BULK
    jobs = in_batches((EmbedJob(kind, tuple(ids)) for kind, ids in rows.items()), batch_size)
    sent = 0
    while some := list(islice(jobs, TASKS_AT_ONCE)):
        await dispatcher.dispatch(some, lane)
        sent += len(some)
    return sent


async def forget(store: FailureStore, chosen: Chosen) -> Decided:
    """Sets the rows aside: none of them is work again until its text changes, and words still find it."""
    done = {kind: await store.forget(kind, chosen.ids) for kind in chosen.kinds}
    return Decided(ids=done, left_out=chosen.left_out(done))
