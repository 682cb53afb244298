"""A person sees what models were used for and what it cost, what a backfill would, and how far a budget has led."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import SteeredEmbedder
from plugins.program import Call, Program
from winnow.pipeline.spaces import Spaces

if TYPE_CHECKING:
    import asyncpg

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
    assert ["small", "3", "4", "5", "1", "1,200", "2.0", "$12.50"] in lines
    assert ["total", "6", "8", "11", "2", "≈", "1,234", "4.0", "at", "least", "$12.50"] in lines
    assert next(line for line in lines if "≈" in line)[-1] == "–"
    assert "\x1b[31m" not in shown.out
    assert "total" not in alone.out, "one day is its own total"
    told = as_json.json
    assert [item["name"] for item in told["items"]] == ["of \x1b[31m tomorrow", "small"]
    assert (told["total"]["price_usd"], told["total"]["price_complete"], told["total"]["tokens"]) == (12.5, False, 1234)
