"""A person sees what models were used for and what it cost, what a backfill would, and how far a budget has led."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import SteeredEmbedder, add_messages
from plugins.program import Call, Program
from winnow.pipeline.spaces import Spaces
from winnow.providers.local import LocalEmbedder

if TYPE_CHECKING:
    import asyncpg

    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.nats import NatsServer
    from winnow.storage.engine import Database


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    """The program over servers of the test's own, which need no starting."""
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url}
    return another


async def test_usage_is_shown_to_people_and_programs(own: Program, database: Database, sql: asyncpg.Connection) -> None:
    await Spaces(database, SteeredEmbedder()).ours()
    empty, *wrong = own.run_in_turn(
        Call("usage"), Call("usage", "--since", "now"), Call("usage", "--days", "1", "--since", "2026-01-01")
    )
    assert "no model was used" in empty.out
    assert [refused.code for refused in wrong] == [2, 2]
    assert "write it like 2026-01-31" in wrong[0].sentence
    insert = (
        "INSERT INTO llm_usage (worker, embedded, saved, seconds, tokens, provider, model, requests, texts, estimated, "
        "price_usd) VALUES ('w', $1, 1, 2, $2, 'openai', $3, 3, 4, $4, $5)"
    )
    await sql.execute(insert, 5, 1200, "small", False, 12.5)
    await sql.execute(insert, 6, 34, "of \x1b[31m tomorrow", True, None)
    shown, alone, as_json = own.run_in_turn(
        Call("usage", "--by", "model", COLUMNS="120"),
        Call("usage", COLUMNS="120"),
        Call("usage", "--by", "model", "--days", "1", "--json"),
    )
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["openai:small", "3", "4", "5", "1", "1,200", "2.0", "$12.50"] in lines
    assert ["total", "6", "8", "11", "2", "≈", "1,234", "4.0", "at", "least", "$12.50"] in lines
    assert next(line for line in lines if "≈" in line)[-1] == "–"
    assert "\x1b[31m" not in shown.out
    assert "total" not in alone.out, "one day is its own total"
    told = as_json.json
    assert [item["name"] for item in told["items"]] == ["openai:of \x1b[31m tomorrow", "openai:small"]
    assert (told["total"]["price_usd"], told["total"]["price_complete"], told["total"]["tokens"]) == (12.5, False, 1234)


async def test_a_backfill_says_what_it_would_take_keeps_to_its_budget_and_tells_what_it_used(
    own: Program, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    chosen = {"WINNOW_EMBEDDER": "ollama:all-minilm", "WINNOW_OLLAMA_URL": ollama_server.url}
    await add_messages(sql, [f"text of row {number:04}" for number in range(200)])
    *refused, dry, dry_json = own.run_in_turn(
        Call("backfill", "--budget", "5eur", **chosen),
        Call("backfill", "--budget", "0", **chosen),
        Call("backfill", "--dry-run", "--budget", "1k", **chosen),
        Call("backfill", "--sample", **chosen),
        Call("backfill", "--dry-run", COLUMNS="120", **chosen),
        Call("backfill", "--dry-run", "--no-sample", "--json", **chosen),
    )
    assert [done.code for done in refused] == [2, 2, 2, 2]
    assert "write money as 5usd" in refused[0].sentence
    assert (dry.code, dry_json.code) == (0, 0), dry.err + dry_json.err
    assert "to ask the model for, equal ones once, for 200 rows" in dry.out
    assert "as the server counts them in a sample of 20 texts" in dry.out
    assert "nobody is paid for ollama:all-minilm" in dry.out
    assert "dry run: nothing was changed" in dry.out
    assert dry_json.json["estimate"]["tokens_basis"] == "one token for 4 bytes"
    assert await sql.fetchval("SELECT count(embedding) FROM messages") == 0

    part, rest = own.run_in_turn(
        Call("backfill", "--budget", "300", "--batch-size", "10", "--json", **chosen),
        Call("backfill", "--batch-size", "50", COLUMNS="120", **chosen),
    )
    assert part.code == 0, part.err
    told = part.json
    assert (told["spent"], told["budget"]) == (True, "300 tokens")
    assert 270 <= told["used"]["tokens"] <= 300
    assert (told["used"]["price_usd"], told["used"]["estimated"]) == (0, False)
    assert told["left"]["rows"] == 200 - told["success"] > 0
    assert await sql.fetchval("SELECT sum(tokens) FROM llm_usage WHERE run = $1", told["run"]) == told["used"]["tokens"]
    assert rest.code == 0
    assert "used " in rest.out
    assert "stopped" not in rest.out
    assert await sql.fetchval("SELECT count(*) FROM messages WHERE embedding IS NULL") == 0
    (runs,) = own.run_in_turn(Call("usage", "--by", "run", COLUMNS="120"))
    assert told["run"] in runs.out


async def test_a_budget_in_money_wants_a_price_and_says_what_is_left(
    own: Program, openai_server: OpenAIServer, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, [f"text of row {number:04}" for number in range(30)])
    unknown = {"WINNOW_EMBEDDER": "openai:gpu-model", "WINNOW_OPENAI_URL": openai_server.url}
    known = {"WINNOW_EMBEDDER": "ollama:all-minilm", "WINNOW_OLLAMA_URL": ollama_server.url}
    refused, stopped = own.run_in_turn(
        Call("backfill", "--budget", "5usd", **unknown),
        Call("backfill", "--budget", "0.1k", "--batch-size", "5", COLUMNS="200", **known),
    )
    assert refused.code == 2
    assert "the price of openai:gpu-model is not known here" in refused.sentence
    assert openai_server.requests == []
    assert stopped.code == 0, stopped.err
    assert "stopped at the budget of 100 tokens; left are " in stopped.out


async def test_a_search_is_noted_when_its_process_ends(
    own: Program, database: Database, sql: asyncpg.Connection
) -> None:
    await Spaces(database, LocalEmbedder(document_prefix="", query_prefix="")).ours()
    (done,) = own.run_in_turn(Call("search", "some words"))
    assert done.code == 0
    row = await sql.fetchrow("SELECT * FROM llm_usage")
    assert (row["purpose"], row["provider"], row["requests"], row["texts"]) == ("search", "local", 1, 1)
    assert row["price_usd"] == 0
