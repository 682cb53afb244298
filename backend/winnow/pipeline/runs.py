"""What people do about runs: look at them, end them, ask for them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Asked
from winnow.errors import InvalidInput, RunNotFound
from winnow.pipeline.request_extraction import request_extraction
from winnow.storage.runs import cancel_runs, read_run, waiting_of_runs

if TYPE_CHECKING:
    from winnow.pipeline.request_extraction import Requesting
    from winnow.storage.engine import Database
    from winnow.storage.runs import RunInFull

log = structlog.get_logger(__name__)

CANCELLED = "somebody cancelled it"


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The runs that were ended, and how many messages are left aside with them, until somebody asks for these."""

    runs: tuple[int, ...]
    messages: int


@dataclass(frozen=True, slots=True)
class RetriedRuns:
    """So many messages of these runs still waited, and were sent in so many tasks."""

    messages: int
    tasks: int


async def run_of(database: Database, run_id: int) -> RunInFull:
    """One run in full. Raises RunNotFound."""
    found = await read_run(database, run_id)
    if found is None:
        raise RunNotFound(f"there is no run {run_id}")
    return found


async def cancel(tools: Requesting, run_id: int | None) -> Cancelled:
    """Ends a run, or all that are running. Nothing of it is committed: who works on it is told by its heartbeat.

    Its messages are left aside, as those are that runs failed with too often, until somebody asks for them.

    Raises:
        RunNotFound: there is none of this id.
        InvalidInput: it is not running.
    """
    async with tools.units.begin() as work:
        ids, messages = await cancel_runs(work, None if run_id is None else [run_id], reason=CANCELLED)
    if run_id is not None and not ids:
        run = await run_of(tools.database, run_id)
        raise InvalidInput(f"run {run_id} is not running; it is {run.state}")
    log.info("runs.cancelled", runs=len(ids), messages=messages)
    return Cancelled(tuple(ids), messages)


async def retry(tools: Requesting, run_id: int | None) -> RetriedRuns:
    """Asks again for those messages of a run, or of all that failed, that still wait.

    Raises:
        RunNotFound: there is none of this id.
        InvalidInput: it is still running, or done.
        QueueUnavailable: some tasks may not have left.
    """
    if run_id is not None:
        run = await run_of(tools.database, run_id)
        if run.state == "running":
            raise InvalidInput(f"run {run_id} is still running; to end it: winnow runs cancel {run_id}")
        if run.state == "done":
            raise InvalidInput(f"run {run_id} is done; winnow extract --again reads messages once more")
    found = await waiting_of_runs(tools.database, None if run_id is None else [run_id])
    tasks = await request_extraction(tools.dispatcher, found, asked=Asked.RETRY)
    number = sum(len(one.ids) for one in found)
    log.info("runs.retried", messages=number, tasks=tasks)
    return RetriedRuns(number, tasks)
