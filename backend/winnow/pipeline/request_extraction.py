"""Asking the workers for an extraction: by the sweeper, by hand, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Asked, ExtractJob, Lane, in_batches
from winnow.errors import InvalidInput
from winnow.storage.runs import Wanted, queue_again, waiting_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from winnow.domain.jobs import Dispatcher
    from winnow.storage.engine import Database
    from winnow.storage.extraction import WaitingConversation
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

MESSAGES_IN_A_TASK = 200
# More than this was not just typed: an import, whose extraction must not stand before what people write.
LIVE_AT_MOST = 100
MOST_ASKED_FOR = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Requesting:
    """What asking by hand needs."""

    database: Database
    units: UnitsOfWork
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True)
class Requested:
    """So many messages in so many tasks; `again` of them were extracted before. `left_out` were named in vain."""

    messages: int = 0
    tasks: int = 0
    again: int = 0
    left_out: int = 0


async def request_extraction(
    dispatcher: Dispatcher, conversations: Sequence[WaitingConversation], *, asked: Asked
) -> int:
    """Sends the messages to the workers, in the order given, and returns in how many tasks.

    A conversation is in one task as long as it fits, so that it is not cut where a task ends.

    Raises:
        QueueUnavailable: some tasks may not have left.
    """
    number = sum(len(one.ids) for one in conversations)
    lane = Lane.LIVE if number <= LIVE_AT_MOST else Lane.BULK
    jobs = [ExtractJob(tuple(ids), asked) for ids in _packed(conversations)]
    if jobs:
        await dispatcher.dispatch(jobs, lane)
    return len(jobs)


def _packed(conversations: Sequence[WaitingConversation]) -> Iterator[list[int]]:
    """The ids of each task."""
    task: list[int] = []
    for conversation in conversations:
        for part in in_batches([ExtractJob(conversation.ids)], MESSAGES_IN_A_TASK):
            if task and len(task) + len(part.ids) > MESSAGES_IN_A_TASK:
                yield task
                task = []
            task = [*task, *part.ids]
    if task:
        yield task


async def request_by_hand(tools: Requesting, wanted: Wanted, *, again: bool, limit: int = MOST_ASKED_FOR) -> Requested:
    """Sends what waits, however often runs failed with it; with `again` also what was extracted already.

    Noise is never extracted, nor what is in a channel that nothing is extracted from; both are left out, also when
    they are named.

    Raises:
        InvalidInput: the period ends before it begins.
        QueueUnavailable: some tasks may not have left.
    """
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidInput(
            f"the period ends ({wanted.until.isoformat()}) before it begins ({wanted.since.isoformat()})"
        )
    queued = 0
    if again:
        async with tools.units.begin() as work:
            queued = await queue_again(work, wanted, limit=limit)
    found = await waiting_messages(tools.database, wanted, limit=limit)
    tasks = await request_extraction(tools.dispatcher, found, asked=Asked.HAND)
    number = sum(len(one.ids) for one in found)
    log.info("extract.requested", messages=number, again=queued, tasks=tasks)
    left_out = len(set(wanted.ids)) - number if wanted.ids is not None else 0
    return Requested(messages=number, tasks=tasks, again=queued, left_out=left_out)
