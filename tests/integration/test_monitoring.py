"""Every query of docs/monitoring.md works as written, and has the columns that are shown with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import add_messages

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = re.findall(r"^```sql\n([^`]*)^```\n\n```text\n([^`]*)^```$", PAGE, re.MULTILINE)
VIEWS = ("embedding_progress", "embedding_troubles", "embedding_rate")


@pytest.fixture(autouse=True)
async def something(embedding: Embedding, sql: asyncpg.Connection) -> None:
    """A space, whose dimension the vectors have, and rows in several states."""
    space = await embedding.spaces.ours()
    ids = await add_messages(sql, ["one", "two", "three", "four"])
    await sql.execute("UPDATE messages SET embedding = array_fill(1, ARRAY[8])::vector WHERE id = $1", ids[0])
    for row_id, state in zip(ids[1:], ("failed", "waiting", "leased"), strict=True):
        await sql.execute(
            "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, error_kind, error, not_before, lease_until) "
            "VALUES ('messages', $1, $2, $3, 'x', 'y', now(), now())",
            row_id,
            space.id,
            state,
        )
    await sql.execute(
        "INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, seconds) "
        "VALUES ('messages', $1, 'one', 1, 0, 0.5)",
        space.id,
    )


def test_all_there_is_to_watch_is_told() -> None:
    assert len(BLOCKS) > 15
    everything = "\n".join(BLOCKS)
    for name in (*VIEWS, "embedded_characters", "paused_because", "embed.saved", "deaths", "lease_until < now()"):
        assert name in everything, name
    assert [view for block, _ in SHOWN for view in VIEWS if view in block] == list(VIEWS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:60])
async def test_a_query_works_as_written(block: str, sql: asyncpg.Connection) -> None:
    await sql.execute(block)


@pytest.mark.parametrize(("block", "output"), SHOWN)
async def test_the_output_shown_is_of_the_query(block: str, output: str, sql: asyncpg.Connection) -> None:
    prepared = await sql.prepare(block)
    header, _, *rows = output.splitlines()
    assert [name.strip() for name in header.split("|")] == [column.name for column in prepared.get_attributes()]
    assert len({len(row.split("|")) for row in [header, *rows]}) == 1
    assert await prepared.fetch(), "there is something to see"


async def test_the_numbers_add_up_and_each_trouble_is_told_once(sql: asyncpg.Connection) -> None:
    row = await sql.fetchrow("SELECT * FROM embedding_progress WHERE kind = 'messages'")
    parts = ("embedded", "pending", "in_hand", "waiting", "failed", "skipped")
    assert [row[name] for name in parts] == [1, 0, 1, 1, 1, 0]
    assert sum(row[name] for name in parts) == row["total"]
    assert await sql.fetchval("SELECT count(*) FROM embedding_troubles") == 3
