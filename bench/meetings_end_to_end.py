"""All meetings from their files to extracted and embedded: real servers, `winnow worker` and `winnow sweeper`.

`python -m bench meetings_end_to_end [--data FOLDER]`: every chat of every year, with labels, each once. Nothing is
looked at but counts and the clock.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC
from typing import TYPE_CHECKING

from bench.extraction import chats, meetings_folder
from bench.stage import stage
from bench.tables import Table, say

from winnow.pipeline.import_files import How, import_files

if TYPE_CHECKING:
    from bench.stage import Stage
    from bench.tables import Options

LIMIT_SECONDS = 1_800
LOOK_SECONDS = 0.5
COUNTS = """
SELECT (SELECT count(*) FROM messages),
       (SELECT count(*) FROM extraction_queue q JOIN messages m ON m.id = q.message_id),
       (SELECT count(*) FROM atoms WHERE status = 'active'), (SELECT count(*) FROM atoms),
       (SELECT count(*) FROM topics), (SELECT count(*) FROM extraction_runs WHERE state <> 'done'),
       (SELECT count(*) FROM messages WHERE embedding IS NULL AND text ~ '\\S')
           + (SELECT count(*) FROM atoms WHERE embedding IS NULL AND status = 'active')
"""


async def run(options: Options) -> list[Table]:
    """Seconds until all are stored, until the queue is empty, and until everything has its vector."""
    paths = chats(meetings_folder(options), "all")
    paths = paths[: options.count(len(paths), 10)]
    async with stage(("worker",), ("sweeper",), extraction_quiet_seconds=1) as made:
        started = time.perf_counter()
        for path in paths:
            await import_files(made.winnow.units, [path], How(timezone=UTC, channel=path.stem), tick=lambda _: None)
        await made.winnow.units.drain()
        stored = time.perf_counter() - started
        say(f"meetings_end_to_end: stored after {stored:.1f} s")
        extracted = await _until(made, started, column=1)
        embedded = await _until(made, started, column=6)
        counts = await _counts(made)
    table = Table(
        title=f"{len(paths)} meetings end to end: from files to knowledge, real servers, one worker",
        columns=(
            "messages",
            "stored after, s",
            "extracted after, s",
            "embedded after, s",
            "messages/s to extracted",
            "atoms",
            "hidden atoms",
            "topics",
            "runs not done",
        ),
        notes=["Extracted: no message waits for a run. The worker scores, links, extracts and embeds all the while."],
    )
    messages, _, active, atoms, topics, not_done, _ = counts
    table.rows.append(
        (messages, stored, extracted, embedded, messages / extracted, active, atoms - active, topics, not_done)
    )
    return [table]


async def _counts(made: Stage) -> tuple[int, ...]:
    async with made.winnow.database.autocommit() as connection:
        row = (await connection.exec_driver_sql(COUNTS)).one()
    return tuple(int(count) for count in row)


async def _until(made: Stage, started: float, *, column: int) -> float:
    """Seconds from the start until a count is 0, after it was looked at twice."""
    done = None
    while True:
        made.children.raise_if_fallen()
        seconds = time.perf_counter() - started
        if seconds > LIMIT_SECONDS:
            raise TimeoutError(f"not done after {LIMIT_SECONDS} s: {await _counts(made)}")
        if (await _counts(made))[column]:
            done = None
        elif done is not None:
            return done
        else:
            done = seconds
        await asyncio.sleep(LOOK_SECONDS)
