"""One author of a hundred thousand messages: imported, scored and linked, weighed, and forgotten."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stage import stage
from bench.tables import Table, say

from winnow.domain.jobs import ScoreJob, in_batches
from winnow.pipeline.forget import by_author, forget, weigh_forgetting
from winnow.pipeline.import_files import How, import_files
from winnow.pipeline.score import score_messages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.tables import Options

MESSAGES = 100_000
OTHERS = 10
WORDS = (
    *("release", "build", "server", "disk", "proxy", "timer", "index", "query", "deploy", "rollback", "staging"),
    *("config", "cache", "token", "schema", "migration", "retry", "queue", "worker", "backup", "restore", "monitor"),
)


async def run(options: Options) -> list[Table]:
    """Each step with its time and the most memory that this process held during it."""
    count = options.count(MESSAGES, 10_000)
    table = Table(
        title=f"one author of {count:,} messages",
        columns=("step", "messages", "s", "messages/s", "peak memory of this process, MB"),
        notes=[f"Beside one message of somebody else for each {OTHERS}; PostgreSQL's own memory is not counted."],
    )

    async def step(name: str, work: Callable[[], Awaitable[int]]) -> None:
        _forget_peak()
        started = time.perf_counter()
        number = await work()
        took = time.perf_counter() - started
        table.rows.append((name, number, took, number / took, _peak_megabytes()))
        say(f"one author: {table.rows[-1]}")

    async with stage() as made:
        winnow = made.winnow
        path = _written(made.folder, count)

        async def imported() -> int:
            report = await import_files(winnow.units, [path], How(timezone=UTC), tick=lambda _: None)
            await winnow.units.drain()
            return report.stored

        async def judged() -> int:
            async with winnow.database.autocommit() as connection:
                rows = await connection.exec_driver_sql("SELECT id FROM messages ORDER BY id")
                ids = tuple(row.id for row in rows.all())
            return sum([await score_messages(winnow.scoring(), job.ids) for job in in_batches([ScoreJob(ids)], 500)])

        async def weighed() -> int:
            return (await weigh_forgetting(winnow.database, by_author("ann"))).removed.messages

        async def forgotten() -> int:
            return (await forget(winnow.units, winnow.database, by_author("ann"))).removed.messages

        async def refused() -> int:
            return (await import_files(winnow.units, [path], How(timezone=UTC), tick=lambda _: None)).forgotten

        await step("import", imported)
        await step("score and link", judged)
        await step("forget --dry-run", weighed)
        await step("forget", forgotten)
        await step("import again: nothing comes back", refused)
    return [table]


def _written(folder: Path, count: int) -> Path:
    """The chat as JSON Lines, the same each time."""
    chance = random.Random(1)
    path, at = folder / "one-author.jsonl", datetime(2025, 1, 1, tzinfo=UTC)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count + count // OTHERS):
            at += timedelta(seconds=chance.randrange(5, 600))
            author = "bob" if number % (OTHERS + 1) == OTHERS else "ann"
            text = " ".join(chance.choices(WORDS, k=chance.randrange(3, 20)))
            line = {"id": number, "channel": "#ops", "author": author, "text": text, "sent_at": at.isoformat()}
            file.write(json.dumps(line) + "\n")
    return path


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", "ascii")


def _peak_megabytes() -> int:
    told = next(line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM"))
    return int(told.split()[1]) // 1024
