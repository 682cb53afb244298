"""How fast each format is read and imported, and how much memory that takes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

from bench.made_chats import WRITERS
from bench.stage import stage
from bench.tables import Table, say

from winnow.pipeline.import_files import How, import_files

if TYPE_CHECKING:
    from pathlib import Path

    from bench.tables import Options

MESSAGES = 100_000
LARGE_MESSAGES = 480_000  # an export of Telegram Desktop of 200 MB
MEBIBYTE = 2**20


class Read(NamedTuple):
    """What reading a file took, in a process of its own."""

    messages: int
    seconds: float
    before: int
    peak: int


async def run(options: Options) -> list[Table]:
    """Every format: read alone in a process of its own, then imported into an empty database."""
    count = options.count(MESSAGES, 10_000)
    table = Table(
        title=f"formats: {count:,} messages of each",
        columns=(
            "format",
            "MB",
            "read: messages/s",
            "MB/s",
            "memory, MiB",
            "of it to begin with",
            "imported: messages/s",
        ),
        notes=[
            (
                "Read: by a process that does nothing else, its largest resident size beside what it had before. "
                "Imported: the whole of `winnow import`, one process: read, scored, stored, indexed, tasks sent."
            )
        ],
    )
    async with stage() as made:
        for name, write in WRITERS.items():
            path = made.folder / f"{name}.made"
            write(path, count)
            read = await _read(name, path)
            started = time.perf_counter()
            how = How(timezone=UTC, channel=f"made-{name}")
            report = await import_files(made.winnow.units, [path], how, tick=lambda _: None)
            await made.winnow.units.drain()
            seconds = time.perf_counter() - started
            if not read.messages == report.stored == count:
                raise SystemExit(f"{name}: {count} messages were written, {read.messages} read, {report.stored} stored")
            table.rows.append((*_row(name, path, read), report.stored / seconds))
            say(f"formats: {table.rows[-1]}")
            path.unlink()
        if not options.quick:
            path = made.folder / "large.made"
            WRITERS["telegram"](path, LARGE_MESSAGES)
            table.rows.append((*_row(f"telegram, {LARGE_MESSAGES:,}", path, await _read("telegram", path)), "–"))
            say(f"formats: {table.rows[-1]}")
            path.unlink()
    return [table]


def _row(name: str, path: Path, read: Read) -> tuple[str, float, float, float, float, float]:
    megabytes = path.stat().st_size / 1e6
    memory = (read.peak / MEBIBYTE, read.before / MEBIBYTE)
    return (name, megabytes, read.messages / read.seconds, megabytes / read.seconds, *memory)


async def _read(name: str, path: Path) -> Read:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.reading", name, str(path)), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return Read(**json.loads(told))
