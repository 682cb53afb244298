"""Totals of the use of models are those of the rows, by whatever they are summed up, and the API tells the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, winnow_over
from winnow.api.app import create_app
from winnow.domain.keys import Scope
from winnow.domain.usage import By, Totals
from winnow.errors import InvalidInput
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.usage import read_day, usage
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from winnow.storage.engine import Database

USAGE = "/api/v1/usage"
NOWHERE = "nats://127.0.0.1:1"
PROVIDER = uuid4()


async def add_use(sql: asyncpg.Connection, **values: Any) -> None:
    """A row of use."""
    given = {"worker": "w", "embedded": 0, "saved": 0, "seconds": 1.5, "tokens": 10, "provider": "openai"} | values
    names, places = ", ".join(given), ", ".join(f"${number}" for number in range(1, len(given) + 1))
    await sql.execute(f"INSERT INTO llm_usage ({names}) VALUES ({places})", *given.values())


@pytest.fixture
async def used(sql: asyncpg.Connection, database: Database) -> datetime:
    """Uses of several sorts; returns the moment of the latest."""
    await Spaces(database, SteeredEmbedder()).ours()
    await sql.execute("INSERT INTO llm_providers (id, name, kind) VALUES ($1, 'gpu', 'ollama')", PROVIDER)
    now = datetime.now(UTC)
    yesterday, long_ago = now - timedelta(days=1), now - timedelta(days=40)
    priced = {"model": "small", "price_usd": Decimal("0.000001"), "requests": 2, "texts": 5}
    await add_use(sql, **priced, embedded=5, saved=1, run="backfill:a", finished_at=now)
    await add_use(sql, **priced, embedded=4, run="backfill:a", finished_at=yesterday)
    await add_use(sql, model="of tomorrow", purpose="search", estimated=True, requests=7, texts=7, finished_at=now)
    await add_use(sql, provider="ollama", provider_id=PROVIDER, model="nomic", price_usd=0, finished_at=now)
    await add_use(sql, **priced, purpose="check", output_tokens=3, finished_at=long_ago)
    space = await sql.fetchval("SELECT id FROM embedding_spaces")  # as migration 0004 leaves older rows
    await add_use(sql, provider="", space_id=space, tokens=None, finished_at=now)
    return now


def by_name(lines: tuple[Totals, ...]) -> dict[str | None, Totals]:
    return {line.name: line for line in lines}


async def test_the_totals_are_the_rows_own_by_whatever_they_are_summed_up(
    used: datetime, database: Database, sql: asyncpg.Connection
) -> None:
    row = await sql.fetchrow(
        "SELECT sum(requests) AS requests, sum(texts) AS texts, sum(embedded) AS embedded, sum(tokens) AS tokens, "
        "sum(price_usd) AS price FROM llm_usage WHERE finished_at > now() - interval '30 days'"
    )
    for by in By:
        report = await usage(database, by=by)
        total = report.total
        assert (total.requests, total.texts, total.embedded) == (row["requests"], row["texts"], row["embedded"]), by
        assert (total.tokens, total.price_usd) == (row["tokens"], row["price"])
        assert (total.estimated, total.price_complete) == (True, False)
        assert len({line.name for line in report.lines}) == len(report.lines) > 1
    assert (await usage(database, by=By.DAY)).lines[-1].name == f"{used:%Y-%m-%d}"


async def test_what_has_no_name_of_its_own_is_told_apart(used: datetime, database: Database) -> None:
    del used
    providers = by_name((await usage(database, by=By.PROVIDER)).lines)
    assert set(providers) == {"gpu", "openai", "test"}
    assert (providers["gpu"].price_usd, providers["gpu"].price_complete) == (Decimal(0), True)
    assert (providers["openai"].price_usd, providers["openai"].price_complete) == (Decimal("0.000002"), False)
    assert (providers["test"].price_usd, providers["test"].estimated) == (None, True)
    models = {"openai:small", "openai:of tomorrow", "gpu:nomic", "test:steered"}
    assert set(by_name((await usage(database, by=By.MODEL)).lines)) == models
    runs = (await usage(database, by=By.RUN)).lines
    assert [line.name for line in runs] == ["backfill:a", None]
    assert (runs[0].embedded, runs[0].saved, runs[0].seconds) == (9, 1, 3.0)
    assert [line.name for line in (await usage(database, by=By.PURPOSE)).lines] == ["embed", "search"]


async def test_a_period_begins_with_a_day_of_utc(used: datetime, database: Database) -> None:
    today = await usage(database, by=By.DAY, days=1)
    assert today.since == datetime(used.year, used.month, used.day, tzinfo=UTC)
    assert today.total.embedded == 5
    assert (await usage(database, by=By.DAY, days=2)).total.embedded == 9
    everything = await usage(database, by=By.PURPOSE, since=read_day("2020-01-01"))
    assert by_name(everything.lines)["check"].output_tokens == 3
    nothing = await usage(database, by=By.DAY, since=(used + timedelta(days=1)).date())
    assert (nothing.lines, nothing.total) == ((), Totals())
    with pytest.raises(InvalidInput, match="not both"):
        await usage(database, by=By.DAY, days=1, since=used.date())
    with pytest.raises(InvalidInput, match="choose 1 to 3660"):
        await usage(database, by=By.DAY, days=0)
    for wrong in ("yesterday", "2026-02-31", "1711930000"):
        with pytest.raises(InvalidInput, match="write it like"):
            read_day(wrong)


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The application over the test's database, asking for keys."""
    model = SteeredEmbedder()
    async with winnow_over(database_url, NOWHERE, model=model, started=False, api_keys="always") as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def test_the_api_tells_readers_the_same(used: datetime, http: httpx.AsyncClient, database: Database) -> None:
    keys = {scope: await KeyStore(database).create(scope.value, [scope]) for scope in Scope}
    assert (await http.get(USAGE)).status_code == 401
    http.headers["Authorization"] = f"Bearer {keys[Scope.WRITE]}"
    assert (await http.get(USAGE)).status_code == 403
    http.headers["Authorization"] = f"Bearer {keys[Scope.READ]}"
    told = (await http.get(USAGE)).json()
    assert (told["by"], told["time_zone"], len(told["items"])) == ("day", "UTC", 2)
    assert (told["total"]["embedded"], told["total"]["price_usd"], told["total"]["price_complete"]) == (9, 2e-6, False)
    runs = (await http.get(USAGE, params={"by": "run", "days": 1})).json()
    assert [(item["name"], item["embedded"]) for item in runs["items"]] == [("backfill:a", 5), (None, 0)]
    since = (await http.get(USAGE, params={"since": f"{used:%Y-%m-%d}"})).json()
    assert since["total"]["embedded"] == 5
    for wrong in ({"by": "songs"}, {"days": 0}, {"days": 9999}, {"since": "now"}, {"since": "20260101"}):
        assert (await http.get(USAGE, params=wrong)).status_code == 422, wrong


async def test_a_dry_run_over_http_estimates_and_starts_nothing(database_url: str, sql: asyncpg.Connection) -> None:
    await add_messages(sql, ["one", "one", "two words"])
    model = SteeredEmbedder()
    async with winnow_over(database_url, NOWHERE, model=model, started=False) as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            dry = {"kinds": ["messages"], "dry_run": True}
            plain = await client.post("/api/v1/embeddings/backfill", json=dry)
            assert (plain.status_code, model.calls) == (200, [])
            expected = plain.json()["estimate"]
            assert (expected["rows"], expected["texts"], expected["tokens"]) == (3, 2, 4)
            assert (expected["price_usd"], expected["seconds"]) == (None, None)
            asked = (await client.post("/api/v1/embeddings/backfill", json=dry | {"sample": True})).json()
            assert asked["estimate"]["seconds_basis"].startswith("a sample of 2 texts")
            assert len(model.calls) == 2
    assert await sql.fetchval("SELECT count(embedding) FROM messages") == 0
