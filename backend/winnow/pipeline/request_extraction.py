"""Asking the workers for an extraction: by the sweeper, by hand, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.jobs import ExtractJob, Lane, in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.jobs import Dispatcher

MESSAGES_IN_A_TASK = 200
# More than this was not just typed: an import, whose extraction must not stand before what people write.
LIVE_AT_MOST = 100


async def request_extraction(dispatcher: Dispatcher, message_ids: Sequence[int]) -> int:
    """Sends the messages to the workers, in the order given, and returns in how many tasks.

    Raises:
        QueueUnavailable: some tasks may not have left.
    """
    lane = Lane.LIVE if len(message_ids) <= LIVE_AT_MOST else Lane.BULK
    jobs = list(in_batches([ExtractJob(tuple(message_ids))], MESSAGES_IN_A_TASK))
    await dispatcher.dispatch(jobs, lane)
    return len(jobs)
