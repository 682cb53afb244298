"""How fast embedding goes is told as it is: over the last minute, since when, and how long still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import add_messages, winnow_over
from winnow.domain.jobs import Kind
from winnow.errors import ProviderBusy
from winnow.pipeline.overview import overview
from winnow.storage.status import Pace, embedding_pace, truncated_rows

if TYPE_CHECKING:
    import asyncpg

    from winnow.pipeline.embed import Embedding
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

NOWHERE = "nats://127.0.0.1:1"


async def add_batch(  # noqa: PLR0917 - a line of a table
    sql: asyncpg.Connection, ago: float, rows: int = 100, saved: int = 0, tokens: int | None = 500, seconds: float = 1
) -> None:
    """A batch that ended so many seconds ago."""
    await sql.execute(
        "INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, tokens, seconds, finished_at) SELECT "
        "'messages', id, 'one', $2, $3, $4, $5, now() - make_interval(secs => $1) FROM embedding_spaces "
        "WHERE status = 'active'",
        ago, rows, saved, tokens, seconds,
    )  # fmt: skip


@pytest.fixture(autouse=True)
async def space(embedding: Embedding) -> None:
    await embedding.spaces.ours()


async def test_nothing_was_ever_done(database: Database, sql: asyncpg.Connection) -> None:
    assert await embedding_pace(database) == Pace()
    await sql.execute("DELETE FROM embedding_spaces")
    assert await embedding_pace(database) == Pace()


async def test_the_rate_is_of_the_last_minute(database: Database, sql: asyncpg.Connection) -> None:
    for ago in range(0, 600, 2):
        await add_batch(sql, ago, rows=100, saved=20, tokens=1000, seconds=2)
    pace = await embedding_pace(database)
    assert pace.rows_per_second == pytest.approx(50, rel=0.05)
    assert pace.saved_per_second == pytest.approx(10, rel=0.05)
    assert pace.tokens_per_second == pytest.approx(500, rel=0.05)
    assert pace.elapsed_seconds == pytest.approx(600, abs=5)


async def test_what_has_just_begun_is_not_divided_by_a_minute(database: Database, sql: asyncpg.Connection) -> None:
    for ago in (0, 2, 4, 8):
        await add_batch(sql, ago, seconds=2)
    pace = await embedding_pace(database)
    assert pace.rows_per_second == pytest.approx(40, rel=0.1)
    assert pace.elapsed_seconds == pytest.approx(10, abs=1)


async def test_slow_batches_are_watched_for_longer(database: Database, sql: asyncpg.Connection) -> None:
    for ago in (80, 170, 260):
        await add_batch(sql, ago, rows=90, seconds=90)
    pace = await embedding_pace(database)
    assert pace.rows_per_second == pytest.approx(270 / 350, rel=0.05)
    assert pace.elapsed_seconds == pytest.approx(350, abs=2)


async def test_what_is_over_has_no_rate_and_no_beginning(database: Database, sql: asyncpg.Connection) -> None:
    await add_batch(sql, 65)
    assert await embedding_pace(database) == Pace()


async def test_a_minutes_pause_ends_the_stretch_and_a_long_batch_does_not(
    database: Database, sql: asyncpg.Connection
) -> None:
    await add_batch(sql, 1)
    await add_batch(sql, 20, seconds=100)  # from 120 s ago on: no gap between the two beside it
    await add_batch(sql, 130)
    await add_batch(sql, 195)
    assert (await embedding_pace(database)).elapsed_seconds == pytest.approx(131, abs=2)


async def test_another_spaces_batches_are_none_of_ours_and_tokens_may_be_untold(
    database: Database, sql: asyncpg.Connection
) -> None:
    await add_batch(sql, 1, tokens=None)
    await sql.execute("UPDATE embedding_spaces SET status = 'retired'")
    await sql.execute("INSERT INTO embedding_spaces (provider, model, dimensions) VALUES ('a', 'b', 8)")
    assert await embedding_pace(database) == Pace()
    await add_batch(sql, 1, rows=7, tokens=None, seconds=1)
    pace = await embedding_pace(database)
    assert (pace.tokens_per_second, round(pace.rows_per_second, 1)) == (None, 3.5)


async def test_the_overview_says_how_long_it_will_take_unless_nobody_asks_the_model(
    database_url: str, sql: asyncpg.Connection, store: EmbeddingStore, embedding: Embedding
) -> None:
    waiting, later, *_ = await add_messages(sql, [f"words {number}" for number in range(102)])
    for row_id, due in ((waiting, "-1 second"), (later, "1 hour")):
        await sql.execute(
            "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, not_before) "
            "SELECT 'messages', $1, id, 'waiting', now() + $2::text::interval FROM embedding_spaces",
            row_id,
            due,
        )
    await add_batch(sql, 9, rows=100, seconds=1)
    async with winnow_over(database_url, NOWHERE, started=False) as winnow:
        state = await overview(winnow.overviewing())
        assert state.eta_seconds == pytest.approx(101 / 10, rel=0.1)
        assert (state.truncated, state.pause, state.pace.due) == (None, None, 1)
        assert state.embeddings[Kind.MESSAGES].oldest_pending is not None
        space = await embedding.spaces.ours()
        await store.begin_pause(
            space, seconds=30, error_kind=ProviderBusy.__name__, because="the server is busy", pauses=0
        )
        paused = await overview(winnow.overviewing())
        assert paused.eta_seconds is None
        assert paused.pause is not None
        assert (paused.pause.because, paused.pause.error_kind) == ("the server is busy", "ProviderBusy")
        assert 0 < paused.pause.seconds_left <= 30


async def test_texts_that_were_too_long_are_counted(database: Database, sql: asyncpg.Connection) -> None:
    assert await truncated_rows(database) == 0
    ids = await add_messages(sql, ["whole", "too long", "too long, too"])
    await sql.execute("UPDATE messages SET embedding = array_fill(1, ARRAY[8])::vector")
    await sql.execute("UPDATE messages SET embedded_characters = 4 WHERE id = ANY($1)", ids[1:])
    assert await truncated_rows(database) == 2
    await sql.execute("UPDATE messages SET text = 'short' WHERE id = $1", ids[1])
    assert await truncated_rows(database) == 1
