"""What keeping NULL as the queue costs an import: with triggers and partial indexes beside without them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING

from bench.stage import chat_files, messages_of, stage
from bench.tables import Table, percentile, say
from bench.throughput import copies_of

from winnow.bootstrap import opened
from winnow.embedded.postgres import DATABASE
from winnow.pipeline.import_files import How, import_files
from winnow.servers import Servers
from winnow.storage.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.stage import Stage
    from bench.tables import Options

    from winnow.bootstrap import Winnow

TARGET = 0.1
MESSAGES = 100_000
# Everything on `messages` that the queue needs: see _make_embeddable of revision 0001, and 0003.
TRIGGERS = ("text_changed", "rows_deleted", "table_truncated", "rows_inserted")
INDEXES = ("messages_without_vector", "messages_same_text")


async def run(options: Options) -> list[Table]:
    """The same files into two databases of one server in turns, each of which is first as often as second."""
    paths = chat_files(options.data)
    copies = -(-options.count(MESSAGES, 10_000) // len(messages_of(paths)))
    copies += copies % 2
    took: dict[str, list[float]] = {"with": [], "without": []}
    stored = 0
    async with stage() as made, _without(made) as without:
        files = copies_of(made.folder, paths, copies)
        for number, copy in enumerate(files):
            sides = [("with", made.winnow), ("without", without)]
            for name, winnow in sides if number % 2 else reversed(sides):
                started = time.perf_counter()
                how = How(timezone=UTC, channel=f"copy-{number}")
                stored += (await import_files(winnow.units, copy, how, tick=lambda _: None)).stored
                await winnow.units.drain()
                took[name].append(time.perf_counter() - started)
    cost = sum(took["with"]) / sum(took["without"]) - 1
    pairs = [one / other - 1 for one, other in zip(took["with"], took["without"], strict=True)]
    table = Table(
        title="imports: triggers and partial indexes of the queue",
        columns=("messages each", "without: s", "with: s", "cost", "of each copy, p10 to p90", "target"),
        notes=[
            (
                "The whole of `winnow import`: files read, messages stored (with all other indexes), tasks sent. "
                f"{copies} copies of the sample, each into both databases, which of them first in turns. Without: "
                f"{', '.join((*TRIGGERS, *INDEXES))} dropped."
            )
        ],
    )
    spread = f"{percentile(pairs, 0.1):+.1%} to {percentile(pairs, 0.9):+.1%}"
    met = "met" if cost <= TARGET else "MISSED"
    table.rows.append(
        (stored // 2, sum(took["without"]), sum(took["with"]), f"{cost:+.1%}", spread, f"{TARGET:.0%}: {met}")
    )
    say(f"imports: {table.rows[-1]}")
    return [table]


@asynccontextmanager
async def _without(made: Stage) -> AsyncIterator[Winnow]:
    """A second database on the same server, without the queue's share of the schema."""
    async with made.winnow.database.autocommit() as connection:
        await connection.exec_driver_sql("CREATE DATABASE without_queue")
    url = made.servers.database_url.replace(f"/{DATABASE}?", "/without_queue?")
    await migrate(url)
    async with opened(made.settings, Servers(database_url=url, nats_url=made.servers.nats_url)) as winnow:
        await winnow.spaces.ours()
        async with winnow.database.transaction() as connection:
            for trigger in TRIGGERS:
                await connection.exec_driver_sql(f"DROP TRIGGER {trigger} ON messages")
            for index in INDEXES:
                await connection.exec_driver_sql(f"DROP INDEX {index}")
        yield winnow
