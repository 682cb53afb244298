"""An estimate says what it is based on and comes true; a budget is kept to, and what is left is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.backfilling import Heard, Workforce
from plugins.jetstream import eventually
from plugins.pipeline import RecordingDispatcher, SteeredEmbedder, add_atom, add_messages, serving, winnow_over
from winnow.domain.budget import Budget
from winnow.domain.jobs import Kind, Lane
from winnow.domain.usage import NOTHING, Pricing, Tariff, tokens_by_bytes
from winnow.errors import InvalidInput, ProviderUnavailable
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.budget import account
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.estimate import Asked, estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from plugins.model_servers import OllamaServer
    from plugins.nats import NatsServer
    from winnow.pipeline.embed import Embedding
    from winnow.providers.base import EmbeddingResult, InputType
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES


@dataclass
class Counting(SteeredEmbedder):
    """Counts tokens as a server does: so many for each letter, and none for the probe."""

    tokens_a_letter: float = 0.25
    counted: list[int] = field(default_factory=list)

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        result = await super().embed(texts, input_type=input_type)
        tokens = round(sum(map(len, texts)) * self.tokens_a_letter)
        if tuple(texts) != ("dimension",):
            self.counted.append(tokens)
        return replace(result, tokens=tokens, requests=1, texts=len(texts))


@dataclass
class Price(Pricing):
    """The same for every model."""

    usd_a_token: Decimal | None

    @override
    def price_usd(
        self, provider_kind: str, model: str, tokens: int, output_tokens: int, *, own_service: bool
    ) -> Decimal | None:
        return None if self.usd_a_token is None else self.usd_a_token * tokens


FREE, UNKNOWN, DEAR = (Tariff(pricing=Price(price)) for price in (NOTHING, None, Decimal("0.001")))


@pytest.fixture
def embedder() -> SteeredEmbedder:
    """One that counts tokens."""
    return Counting()


@pytest.fixture
def asked(embedder: SteeredEmbedder) -> Asked:
    """A model that costs nothing."""
    return Asked(embedder=embedder, tariff=FREE, worker="one")


@pytest.fixture
def tools(
    database: Database, store: EmbeddingStore, embedding: Embedding, dispatcher: RecordingDispatcher
) -> Backfilling:
    """A backfill that finds no worker, of a model that costs a tenth of a cent a token."""
    return Backfilling(
        database=database,
        store=store,
        dispatcher=dispatcher,
        workforce=Workforce(there=False),
        embedding=replace(embedding, tariff=DEAR),
    )


async def used_tokens(sql: asyncpg.Connection, run: str | None = None) -> int:
    return int(
        await sql.fetchval("SELECT coalesce(sum(tokens), 0) FROM llm_usage WHERE $1::text IS NULL OR run = $1", run)
    )


# -- estimates


async def test_only_what_will_be_asked_for_is_counted(
    asked: Asked, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    await embed_rows(embedding, M, await add_messages(sql, ["known text"]))
    texts = ["one", "one", "two words", "known text", " ", "forgotten"]
    ids = await add_messages(sql, texts)
    await add_atom(sql, "title", "content")
    await sql.execute(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state) SELECT 'messages', $1, id, 'skipped' "
        "FROM embedding_spaces",
        ids[-1],
    )
    found = await estimate(database, asked, sample=False)
    assert (found.rows, found.texts) == (5, 3)
    assert found.tokens == tokens_by_bytes(["one", "two words", "title\ncontent"])
    assert found.tokens_basis == "one token for 4 bytes"
    only = await estimate(database, asked, kinds=[Kind.ATOMS], sample=False)
    assert (only.rows, only.texts) == (1, 1)
    assert (await estimate(database, asked, limit=2, sample=False)).texts == 1
    assert (await estimate(database, asked, limit=0, sample=False)).rows == 0


async def test_a_prefix_is_a_part_of_each_text(database: Database, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one", "two"])
    long = Asked(embedder=SteeredEmbedder(document_prefix="x" * 41), tariff=FREE, worker="one")
    assert (await estimate(database, long, sample=False)).tokens == 2 * 11


async def test_a_sample_measures_the_model_and_is_noted_and_nothing_else_changes(
    database: Database, store: EmbeddingStore, sql: asyncpg.Connection
) -> None:
    model = Counting(tokens_a_letter=1.0)
    asked = Asked(embedder=model, tariff=FREE, worker="one")
    texts = [f"text of row {number:03}" for number in range(100)]
    await add_messages(sql, texts)
    found = await estimate(database, asked)
    assert sum(map(len, model.calls)) == 20
    assert len(model.calls) == 2
    assert found.tokens == sum(map(len, texts)), "15 letters, and 4 tokens by their bytes: the server's count holds"
    assert found.tokens_basis == "as the server counts them in a sample of 20 texts"
    assert found.seconds is not None
    assert found.seconds > 0.1, "writing takes a millisecond a row"
    assert found.seconds_basis.startswith("a sample of 20 texts")
    (row,) = await sql.fetch("SELECT * FROM llm_usage")
    assert (row["purpose"], row["requests"], row["texts"], row["tokens"]) == ("check", 2, 20, sum(model.counted))
    assert (row["embedded"], row["estimated"], row["space_id"]) == (0, False, None)
    assert (await store.counts())[M].pending == 100


async def test_a_model_that_costs_money_is_asked_only_when_told_to(
    asked: Asked, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["a text of some words"] * 2)
    dear, unknown = [await estimate(database, replace(asked, tariff=tariff)) for tariff in (DEAR, UNKNOWN)]
    assert not embedder.calls
    for found in (dear, unknown):
        assert (found.seconds, found.remark) == (None, None)
        assert "nothing was measured" in found.seconds_basis
    assert (unknown.price_usd, unknown.price_basis) == (None, "the price of test:steered is not known here")
    told = await estimate(database, replace(asked, tariff=DEAR), sample=True)
    assert (len(embedder.calls), told.tokens) == (2, 5)
    assert (told.price_usd, told.price_basis) == (Decimal("0.005"), "the published price of test:steered")
    assert await sql.fetchval("SELECT price_usd FROM llm_usage") == Decimal("0.010"), "asked for twice, as noted"


async def test_a_model_that_does_not_answer_leaves_an_estimate_and_the_reason(
    asked: Asked, embedder: SteeredEmbedder, database: Database, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one"])
    embedder.errors = [ProviderUnavailable("the server is away")]
    found = await estimate(database, asked)
    assert (found.texts, found.tokens_basis, found.remark) == (1, "one token for 4 bytes", "the server is away")
    assert await used_tokens(sql) == 0


async def test_the_pace_of_the_past_is_told_as_such_and_batches_side_by_side_count_once(
    asked: Asked, embedding: Embedding, database: Database, sql: asyncpg.Connection
) -> None:
    await embedding.spaces.ours()
    for ago, seconds in ((0, 10), (5, 10), (100, 5)):  # 15 s and 5 s, of which nobody has twice
        await sql.execute(
            "INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, tokens, seconds, provider, model, texts, "
            "finished_at) SELECT 'messages', id, 'w', 100, 0, 1000, $2, 'test', 'steered', 100, "
            "now() - make_interval(secs => $1) FROM embedding_spaces",
            ago,
            seconds,
        )
    await add_messages(sql, [f"text of row {number:04}" for number in range(1500)])
    found = await estimate(database, replace(asked, tariff=DEAR))
    assert found.seconds_basis == "the pace of the last 300 texts with this model"
    assert found.seconds == pytest.approx(found.tokens * 20 / 3000, rel=0.001)


async def test_the_estimate_comes_true(
    tools: Backfilling, heard: Heard, database: Database, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text number {number % 30} " + "x" * (number % 30) for number in range(90)])
    asked = await tools.asked()
    before = await estimate(database, asked, sample=True)
    await heard.run(tools, plan := Plan(inline=True, batch_size=20))
    used = await used_tokens(sql, plan.run)
    assert before.texts == 30
    assert used == pytest.approx(before.tokens, rel=0.1)
    assert await sql.fetchval("SELECT sum(price_usd) FROM llm_usage WHERE run = $1", plan.run) == used * Decimal(
        "0.001"
    )
    assert isinstance(embedder, Counting)
    assert await used_tokens(sql) == sum(embedder.counted)
    after = await estimate(database, asked)
    assert (after.rows, after.texts, after.tokens) == (0, 0, 0)
    assert (after.price_usd, after.seconds) == (Decimal(0), 0.0)


# -- budgets


@pytest.fixture
def heard() -> Heard:
    """An ear."""
    return Heard()


@pytest.mark.parametrize("tokens_a_letter", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("given", ["250", "0.25usd"])
async def test_a_budget_is_not_exceeded_and_most_of_it_is_used(  # noqa: PLR0917 - pytest calls by keyword
    given: str,
    tokens_a_letter: float,
    tools: Backfilling,
    heard: Heard,
    embedder: SteeredEmbedder,
    sql: asyncpg.Connection,
) -> None:
    """The model counts fewer or more tokens than were expected, and tells so with the first batch."""
    assert isinstance(embedder, Counting)
    embedder.tokens_a_letter = tokens_a_letter
    await add_messages(sql, [f"text of row {number:04}" for number in range(500)])
    plan = Plan(budget=Budget.read(given), batch_size=10)
    done = await heard.run(tools, plan)
    used = await used_tokens(sql, plan.run)
    assert done.spent
    assert 230 <= used <= 250
    assert (done.failed, done.waiting, done.total) == (0, 0, done.success)
    assert done.success == await sql.fetchval("SELECT count(embedding) FROM messages")
    told = await account(
        tools.database,
        await tools.asked(),
        run=plan.run,
        kinds=plan.kinds,
        rows=done.success,
        budget=plan.budget,
        stopped=done.spent,
    )
    assert (told.used.tokens, told.used.embedded) == (used, done.success)
    assert told.left.rows == 500 - done.success
    assert told.left.price_usd == told.left.tokens * Decimal("0.001")


async def test_a_first_batch_that_takes_far_more_than_expected_does_not_exceed_it(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    """A letter is a token here, and not a quarter of one; a batch could hold many times the budget."""
    assert isinstance(embedder, Counting)
    embedder.tokens_a_letter = 1.0
    await add_messages(sql, [f"text of row {number:04}" for number in range(300)])
    plan = Plan(budget=Budget.read("400"), batch_size=100)
    done = await heard.run(tools, plan)
    assert done.spent
    assert 350 <= await used_tokens(sql, plan.run) <= 400


async def test_a_budget_too_small_for_one_text_sends_none(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["a text of some words"])
    done = await heard.run(tools, Plan(budget=Budget.read("4")))
    assert (done.spent, done.done, embedder.calls) == (True, 0, [])


async def test_a_budget_that_is_enough_stops_nothing(tools: Backfilling, heard: Heard, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one", "two", " ", *["the same words over and over"] * 50])
    done = await heard.run(tools, Plan(budget=Budget.read("9"), batch_size=5))
    assert (done.spent, done.success, done.skipped) == (False, 52, 1)


async def test_a_limit_and_a_budget_hold_together(tools: Backfilling, heard: Heard, sql: asyncpg.Connection) -> None:
    await add_messages(sql, [f"text {number}" for number in range(20)])
    done = await heard.run(tools, Plan(budget=Budget.read("1k"), limit=7, batch_size=3))
    assert (done.spent, done.success) == (False, 7)


async def test_money_for_a_model_of_unknown_price_is_refused_and_for_a_free_one_never_spent(
    tools: Backfilling, heard: Heard, embedder: SteeredEmbedder, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one"])
    unknown = replace(tools, embedding=replace(tools.embedding, tariff=UNKNOWN))
    with pytest.raises(InvalidInput, match="test:steered is not known here"):
        await heard.run(unknown, Plan(budget=Budget.read("5usd")))
    assert not embedder.calls
    free = replace(tools, embedding=replace(tools.embedding, tariff=FREE))
    done = await heard.run(free, Plan(budget=Budget.read("0.000000001usd")))
    assert (done.spent, done.success) == (False, 1)


async def test_workers_keep_to_it_too_and_what_they_used_is_what_the_server_saw(
    database_url: str, nats_server: NatsServer, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text of row {number:04}" for number in range(300)])
    given: dict[str, Any] = {"embedder": "ollama:all-minilm", "ollama_url": ollama_server.url}
    heard, plan = Heard(), Plan(budget=Budget.read("300"), batch_size=10)
    async with (
        winnow_over(database_url, nats_server.url, started=False, **given) as working,
        winnow_over(database_url, nats_server.url, **given) as winnow,
        serving(working),
    ):
        await eventually(lambda: winnow.backfilling().workforce.present(Lane.BULK))
        done = await heard.run(winnow.backfilling(), plan)
    assert (done.spent, done.inline) == (True, False)
    rows = await sql.fetch("SELECT * FROM llm_usage WHERE run = $1", plan.run)
    assert 270 <= sum(row["tokens"] for row in rows) <= 300
    real = [request for request in ollama_server.requests if request.texts != ("dimension",)]
    assert sum(row["requests"] for row in rows) == len(real)
    assert sum(row["texts"] for row in rows) == sum(len(request.texts) for request in real) == done.success
