"""A model scores where somebody chose one, in few requests; where it cannot, may not or talks rubbish, the rules do."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import orjson
import pytest

from plugins.pipeline import RecordingDispatcher, incoming, winnow_over
from winnow.domain.jobs import Lane
from winnow.domain.providers import ProviderKind
from winnow.domain.scoring import model_score, score
from winnow.errors import InvalidSettings
from winnow.pipeline.ingest import ingest
from winnow.pipeline.score import Scoring, score_messages
from winnow.pipeline.score_by_model import RULES_INSTEAD, ModelScorer
from winnow.providers.factory import build_language_model, check_embedder, provider_of_settings
from winnow.settings import Settings
from winnow.storage.extraction import ExtractionStore
from winnow.storage.messages import StoredScore, unscored_messages, write_scores
from winnow.storage.threads import unjudged_messages
from winnow.storage.unit_of_work import UnitsOfWork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers_chat import OllamaChatServer
    from winnow.storage.engine import Database

TEXTS = ("lunch?", "RESOLVED: we keep the old format", "ok")
BY_RULES = [score(text, "ann").importance for text in TEXTS]


def answer(prompt: str) -> str:
    """0.9 for the first message, 0.1 for each other one."""
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", prompt, re.MULTILINE)]
    return orjson.dumps(
        {"scores": [{"number": number, "importance": 0.9 if number == 1 else 0.1} for number in numbers]}
    ).decode()


@pytest.fixture
async def scoring(database: Database, ollama_chat_server: OllamaChatServer) -> AsyncIterator[Scoring]:
    settings = Settings(_env_file=None, ollama_url=ollama_chat_server.url)
    provider = provider_of_settings(settings, ProviderKind.OLLAMA)
    model = build_language_model(provider, "qwen3:4b", first_timeout_seconds=5, timeout_seconds=5)
    units = UnitsOfWork(database, RecordingDispatcher(), batch_size=100, rules=None)
    scorer = ModelScorer(model=model, is_remote=False, database=database)
    ollama_chat_server.chat_answers = answer
    yield Scoring(database=database, units=units, model=scorer)
    await model.close()


async def store(scoring: Scoring, *texts: str, channel: str = "#team") -> list[int]:
    messages = [incoming(number, text, channel=channel) for number, text in enumerate(texts)]
    return list((await ingest(scoring.units, messages, lane=Lane.LIVE)).ids)


async def importances(sql: asyncpg.Connection) -> list[float | None]:
    return [row["importance"] for row in await sql.fetch("SELECT importance FROM messages ORDER BY id")]


async def instead(sql: asyncpg.Connection) -> int:
    return int(await sql.fetchval("SELECT coalesce(max(value), 0) FROM counters WHERE name = $1", RULES_INSTEAD))


async def test_messages_are_stored_unscored_and_the_model_scores_them_in_one_request(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    ids = await store(scoring, *TEXTS)
    assert await importances(sql) == [None] * 3
    assert {row["state"] for row in await sql.fetch("SELECT state FROM message_states")} == {"received"}
    await score_messages(scoring, ids)
    assert await importances(sql) == pytest.approx([0.9, 0.1, 0.1])
    assert await sql.fetchval("SELECT factors::text FROM messages ORDER BY id LIMIT 1") == '{"model": 0.9}'
    assert len(ollama_chat_server.read) == 1
    assert [row[0] for row in await sql.fetch("SELECT message_id FROM extraction_queue")] == ids[:1]


async def test_many_messages_are_scored_in_requests_of_25(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    await score_messages(scoring, await store(scoring, *(f"words number {number}" for number in range(60))))
    assert len(ollama_chat_server.read) == 3
    assert sum(one is not None and one > 0.5 for one in await importances(sql)) == 3


@pytest.mark.parametrize(
    "rubbish",
    [
        "no JSON at all",
        "{}",
        '{"scores": []}',
        '{"scores": [{"number": 1, "importance": 0.5}]}',
        '{"scores": [{"number": 1, "importance": 7}, {"number": 2, "importance": 0}, {"number": 3, "importance": 0}]}',
    ],
)
async def test_rubbish_is_counted_and_the_rules_score_instead(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection, rubbish: str
) -> None:
    ollama_chat_server.chat_answers = lambda _prompt: rubbish
    await score_messages(scoring, await store(scoring, *TEXTS))
    assert await importances(sql) == pytest.approx(BY_RULES)
    assert await instead(sql) == 3


@pytest.mark.parametrize("trouble", ["broken", "dropped"])
async def test_a_server_in_trouble_keeps_nobody_waiting(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection, trouble: Misbehaviour
) -> None:
    ollama_chat_server.behave(trouble)
    await score_messages(scoring, await store(scoring, *TEXTS))
    assert await importances(sql) == pytest.approx(BY_RULES)
    assert await instead(sql) == 3


@pytest.mark.parametrize(("is_remote", "asked"), [(True, 0), (False, 1)])
async def test_what_is_to_stay_local_is_shown_to_no_other_machine(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection, *, is_remote: bool, asked: int
) -> None:
    assert scoring.model is not None
    object.__setattr__(scoring.model, "is_remote", is_remote)
    await sql.execute("INSERT INTO channels (source, channel, local_only) VALUES ('test', '#secret', true)")
    await score_messages(scoring, await store(scoring, *TEXTS, channel="#secret"))
    assert len(ollama_chat_server.read) == asked
    assert None not in await importances(sql)
    assert await instead(sql) == 0


async def test_what_becomes_local_between_two_requests_is_shown_to_no_other_machine(
    scoring: Scoring, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    assert scoring.model is not None
    object.__setattr__(scoring.model, "is_remote", True)
    ids = await store(scoring, *(f"words number {number}" for number in range(60)), channel="#secret")
    loop = asyncio.get_running_loop()

    async def mark() -> None:
        await sql.execute(
            "INSERT INTO channels (source, channel, local_only) VALUES ('test', '#secret', true) ON CONFLICT DO NOTHING"
        )

    def marking(prompt: str) -> str:
        asyncio.run_coroutine_threadsafe(mark(), loop).result(10)
        return answer(prompt)

    ollama_chat_server.chat_answers = marking
    await score_messages(scoring, ids)
    assert len(ollama_chat_server.read) == 1
    assert None not in await importances(sql)


async def test_noise_whose_linking_was_lost_is_found_again(
    scoring: Scoring, database: Database, sql: asyncpg.Connection
) -> None:
    ids = await store(scoring, *TEXTS)
    read = await unscored_messages(database, ids)
    await write_scores(database, [StoredScore(id=one.id, text=one.text, score=model_score(0.0)) for one in read])
    await sql.execute("UPDATE messages SET received_at = now() - interval '1 hour'")
    assert await unjudged_messages(database, age_seconds=30, limit=10) == ids
    assert await ExtractionStore(database).unclaimed(ids, by_hand=True) == []
    await score_messages(scoring, ids)
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue") == 0


async def test_a_model_can_be_chosen_in_the_settings(
    database_url: str, nats_url: str, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    ollama_chat_server.chat_answers = answer
    chosen = {"scorer": "ollama:qwen3:4b", "ollama_url": ollama_chat_server.url}
    async with winnow_over(database_url, nats_url, started=False, **chosen) as winnow:
        done = await ingest(winnow.units, [incoming(1)], lane=Lane.LIVE)
        await score_messages(winnow.scoring(), done.ids)
        assert winnow.scorer is not None
        assert not winnow.scorer.is_remote
    assert await importances(sql) == pytest.approx([0.9])
    assert await sql.fetchval("SELECT requests FROM llm_usage WHERE purpose = 'score'") == 1


async def test_a_server_elsewhere_is_remote(database_url: str, nats_url: str) -> None:
    chosen = {"scorer": "ollama:qwen3:4b", "ollama_url": "http://gpu.example.org:11434"}
    async with winnow_over(database_url, nats_url, started=False, **chosen) as winnow:
        assert winnow.scorer is not None
        assert winnow.scorer.is_remote


@pytest.mark.parametrize("scorer", ["", "model", "local", "ollama:", "ollama:a b"])
def test_an_unknown_scorer_is_refused_before_anything_starts(scorer: str) -> None:
    with pytest.raises(InvalidSettings, match="WINNOW_SCORER"):
        check_embedder(Settings(_env_file=None, scorer=scorer))
