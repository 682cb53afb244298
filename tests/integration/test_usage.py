"""What models were asked for is noted to the last text: by whom, what for, how many tokens, at what price."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.jetstream import eventually
from plugins.pipeline import SteeredEmbedder, add_messages, come_due, serving, winnow_over
from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.usage import Pricing, Purpose, Tariff, Use, tokens_by_bytes
from winnow.errors import ProviderUnavailable, SomeInvalid, TextRefused
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.pipeline.metering import Meter
from winnow.pipeline.search import search
from winnow.pipeline.spaces import Spaces
from winnow.providers.prices import KnownPrices

if TYPE_CHECKING:
    import asyncpg

    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.nats import NatsServer
    from winnow.pipeline.embed import Embedding
    from winnow.storage.engine import Database

M = Kind.MESSAGES
NOWHERE = "nats://127.0.0.1:1"


class CentAToken(Pricing):
    """A price that is easy to check."""

    @override
    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        return Decimal("0.01") * tokens if own_service else None


DEAR = Tariff(pricing=CentAToken(), is_own_service=lambda _kind, _provider: True)


async def noted(sql: asyncpg.Connection) -> list[Any]:
    """Every row of use, in order."""
    return list(await sql.fetch("SELECT * FROM llm_usage ORDER BY id"))


async def test_a_batch_is_noted_with_what_it_took(embedding: Embedding, sql: asyncpg.Connection) -> None:
    texts = ["one", "two words", "one", "ещё одно"]
    ids = await add_messages(sql, texts)
    await embed_rows(replace(embedding, tariff=DEAR), M, ids, run="backfill:x")
    (row,) = await noted(sql)
    assert (row["kind"], row["purpose"], row["run"], row["worker"]) == ("messages", "embed", "backfill:x", "one")
    assert (row["provider"], row["model"], row["provider_id"]) == ("test", "steered", None)
    assert (row["embedded"], row["saved"], row["requests"], row["texts"]) == (4, 1, 1, 3)
    assert (row["tokens"], row["estimated"], row["output_tokens"]) == (1 + 3 + 4, True, None)
    assert row["price_usd"] == Decimal("0.08")


async def test_a_server_s_own_count_is_no_estimate(
    embedding: Embedding, database: Database, ollama_server: OllamaServer, database_url: str, sql: asyncpg.Connection
) -> None:
    del embedding, database
    settings = {"embedder": "ollama:nomic-embed-text", "ollama_url": ollama_server.url}
    async with winnow_over(database_url, NOWHERE, started=False, **settings) as winnow:
        ids = await add_messages(sql, ["one", "two words", "one"])
        assert await embed_rows(winnow.embedding(), M, ids) == Embedded(embedded=3, saved=1)
    (row,) = await noted(sql)
    real = [request for request in ollama_server.requests if "dimension" not in "".join(request.texts)]
    assert (row["requests"], row["texts"]) == (len(real), sum(len(request.texts) for request in real))
    assert row["estimated"] is False
    assert row["tokens"] > 0
    assert (row["provider"], row["model"], row["price_usd"]) == ("ollama", "nomic-embed-text", 0)


async def test_only_openai_s_own_service_has_a_known_price(
    openai_server: OpenAIServer, database_url: str, sql: asyncpg.Connection
) -> None:
    settings = {"embedder": "openai:text-embedding-3-small", "openai_url": openai_server.url, "openai_api_key": "k"}
    async with winnow_over(database_url, NOWHERE, started=False, **settings) as winnow:
        await embed_rows(winnow.embedding(), M, await add_messages(sql, ["one"]))
    (row,) = await noted(sql)
    assert (row["provider"], row["price_usd"]) == ("openai", None)
    settings["openai_url"] = "https://api.openai.com/v1"
    async with winnow_over(database_url, NOWHERE, started=False, **settings) as winnow:
        space = await winnow.spaces.current()
        assert space is not None
        assert winnow.tariff().price_usd(space.identity, None, 1_000_000) == Decimal("0.02")


@pytest.mark.parametrize(
    ("provider", "model", "own", "price"),
    [
        ("local", "any", False, Decimal(0)),
        ("ollama", "any", False, Decimal(0)),
        ("openai", "text-embedding-3-large", True, Decimal("0.26")),
        ("openai", "text-embedding-3-large", False, None),
        ("openai", "of tomorrow", True, None),
    ],
)
def test_prices_are_those_that_were_published(provider: str, model: str, own: bool, price: Decimal | None) -> None:
    assert KnownPrices().price_usd(provider, model, 2_000_000, 0, own_service=own) == price


async def test_a_batch_that_cost_requests_and_brought_nothing_is_noted(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["culprit"])
    embedder.refusals["culprit"] = TextRefused()
    assert await embed_rows(embedding, M, ids) == Embedded(waiting=1)
    (row,) = await noted(sql)
    assert (row["embedded"], row["requests"], row["texts"], row["tokens"]) == (0, len(embedder.calls), 2, 0)
    assert await sql.fetchval("SELECT count(*) FROM embedding_rate") == 0


async def test_a_row_that_was_deleted_meanwhile_was_paid_for_all_the_same(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])

    async def delete(_texts: object) -> None:
        await sql.execute("DELETE FROM messages")

    embedder.during = delete
    await embed_rows(embedding, M, ids)
    (row,) = await noted(sql)
    assert (row["embedded"], row["requests"], row["texts"]) == (0, 1, 2)


async def test_what_no_server_answered_and_what_was_copied_costs_nothing(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two"])
    embedder.errors = [ProviderUnavailable("away")]
    await embed_rows(embedding, M, ids)
    assert await noted(sql) == []
    await come_due(sql)
    await embed_rows(embedding, M, ids)
    await embed_rows(embedding, M, await add_messages(sql, ["one", "two"]))
    row = (await noted(sql))[-1]
    assert (row["embedded"], row["saved"], row["requests"], row["tokens"], row["price_usd"]) == (2, 2, 0, 0, 0)


async def test_an_answer_that_is_good_in_part_was_paid_for_whole(
    embedding: Embedding, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["good one", "bad one"])
    bad = SomeInvalid("NaN", good={0: embedder.vector("good one")}, bad={1: "NaN"})
    embedder.errors = [bad]
    await embed_rows(embedding, M, ids)
    (row,) = await noted(sql)
    assert (row["embedded"], row["requests"], row["texts"]) == (2, 2, 3)
    assert row["tokens"] == tokens_by_bytes(["good one", "bad one", "bad one"])


async def test_a_run_is_carried_by_the_task(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    jobs = [EmbedJob(M, tuple(ids[:2]), run="backfill:y"), EmbedJob(M, (ids[2],))]
    model = SteeredEmbedder()
    async with winnow_over(database_url, nats_server.url) as sender:
        await sender.dispatcher.dispatch(jobs, Lane.BULK)
    async with winnow_over(database_url, nats_server.url, model=model, started=False) as winnow, serving(winnow):
        await eventually(lambda: _all_embedded(sql))
    assert {row["run"]: row["embedded"] for row in await noted(sql)} == {"backfill:y": 2, None: 1}


async def _all_embedded(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetchval("SELECT sum(embedded) FROM llm_usage") == 3)


async def test_searches_are_noted_together_when_the_process_ends(
    database_url: str, database: Database, sql: asyncpg.Connection
) -> None:
    model = SteeredEmbedder()
    await Spaces(database, model).ours()
    async with winnow_over(database_url, NOWHERE, model=model, started=False) as winnow:
        for query in ("one", "two words"):
            await search(winnow.searching(), query)
        assert await noted(sql) == []
        worker = winnow.worker
    (row,) = await noted(sql)
    assert (row["purpose"], row["worker"], row["requests"], row["texts"], row["tokens"]) == ("search", worker, 2, 2, 4)
    assert (row["kind"], row["embedded"], row["estimated"]) == (None, 0, True)


def use(model: str = "m", **values: Any) -> Use:
    return Use(purpose=Purpose.SEARCH, worker="w", provider="test", model=model, requests=1, **values)


WRITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'llm_usage'::regclass AND NOT granted)"


async def test_a_meter_notes_one_row_of_each_sort_now_and_then(database: Database, sql: asyncpg.Connection) -> None:
    meter = Meter(database, flush_seconds=0.05)
    for _ in range(3):
        meter.add(use(tokens=2, price_usd=Decimal("0.5")))
    meter.add(use("other", price_usd=None))
    while await sql.fetchval("SELECT count(*) FROM llm_usage") < 2:  # noqa: ASYNC110 - the database tells by itself
        await asyncio.sleep(0.01)
    rows = {row["model"]: row for row in await noted(sql)}
    assert (rows["m"]["requests"], rows["m"]["tokens"], rows["m"]["price_usd"]) == (3, 6, Decimal("1.5"))
    assert rows["other"]["price_usd"] is None
    meter.add(use(tokens=1))
    await meter.close()
    assert await sql.fetchval("SELECT sum(requests) FROM llm_usage") == 5


async def test_a_meter_keeps_what_the_database_does_not_take(database: Database, sql: asyncpg.Connection) -> None:
    meter = Meter(database)
    meter.add(use(tokens=2))
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await meter.flush()
    assert await noted(sql) == []
    meter.add(use(tokens=3))
    await sql.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
    await database.close()  # its connections were opened under that setting
    await meter.close()
    assert [(row["requests"], row["tokens"]) for row in await noted(sql)] == [(2, 5)]


async def test_a_meter_that_is_closed_while_it_writes_loses_nothing(
    database: Database, sql: asyncpg.Connection
) -> None:
    meter = Meter(database, flush_seconds=0.01)
    async with sql.transaction():
        await sql.execute("LOCK TABLE llm_usage")
        meter.add(use(tokens=2))
        while not await sql.fetchval(WRITING):  # noqa: ASYNC110 - the database tells by itself
            await asyncio.sleep(0.01)
        meter.add(use(tokens=3))
        closing = asyncio.create_task(meter.close())
        await asyncio.sleep(0.05)
    await closing
    assert await sql.fetchval("SELECT sum(tokens) FROM llm_usage") == 5


def test_uses_are_summed_up_and_an_unknown_price_stays_unknown() -> None:
    assert use(tokens=1, price_usd=Decimal(1)) + use(tokens=2, price_usd=Decimal(2)) == replace(
        use(tokens=3, price_usd=Decimal(3)), requests=2
    )
    assert (use(price_usd=None) + use()).price_usd is None
    assert (use() + use(estimated=True)).estimated
    assert (use(output_tokens=3) + use()).output_tokens == 3
    assert use(tokens=5).sort == replace(use(), requests=0)
