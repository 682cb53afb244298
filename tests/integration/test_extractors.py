"""The chosen model reads a channel, from the run to its rows and account; what must stay here it does not read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from plugins.pipeline import add_atom, add_messages, add_topic, winnow_over
from plugins.readers import an_atom_of_each, answer, atom, message, new_numbers
from winnow.domain.jobs import Lane
from winnow.domain.knowledge import AtomType, KnownAtom, Window
from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidSettings, SetupFault, Transient
from winnow.pipeline.examine_extractor import SAID, examine_extractor
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.providers import create_provider, edit_provider
from winnow.providers.chosen import parse_extractor
from winnow.providers.factory import check_embedder
from winnow.settings import Settings

if TYPE_CHECKING:
    import asyncpg

    from plugins.model_servers_chat import OllamaChatServer, OpenAIChatServer
    from winnow.bootstrap import Winnow
    from winnow.pipeline.extractors import Extractors

KEY = "sk-proj-AbCdEfGhIjKlMnOpQrStUv"
SAYS = ["We decided to keep the old format.", "Ana will write the guide by Friday."]


def chosen(server: OllamaChatServer | OpenAIChatServer, **values: Any) -> dict[str, Any]:
    return {"extractor": "ollama:qwen3:4b", "ollama_url": server.url} | values


async def run_of(sql: asyncpg.Connection) -> dict[str, Any]:
    return dict(await sql.fetchrow("SELECT * FROM extraction_runs ORDER BY id DESC LIMIT 1"))


async def evidence(sql: asyncpg.Connection) -> list[tuple[int, str]]:
    rows = await sql.fetch("SELECT message_id, quote FROM atom_evidence ORDER BY message_id")
    return [tuple(row) for row in rows]


async def test_a_run_with_a_model_ends_in_rows_with_its_account(
    database_url: str, nats_url: str, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    ollama_chat_server.chat_answers = an_atom_of_each
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        ids = await add_messages(sql, SAYS)
        done = await extract_knowledge(winnow.extracting(), ids, lane=Lane.LIVE)
        assert (done.done, done.failed, done.atoms) == (1, 0, 2)
    assert await evidence(sql) == list(zip(ids, SAYS, strict=True))
    run = await run_of(sql)
    assert (run["state"], run["extractor"], run["requests"], run["cost_usd"]) == ("done", "ollama:qwen3:4b", 1, 0)
    assert run["extractor_version"].startswith("v1-")
    assert run["input_tokens"] > 100
    use = await sql.fetchrow("SELECT requests, tokens, output_tokens FROM llm_usage WHERE purpose = 'extract'")
    assert tuple(use) == (1, run["input_tokens"], run["output_tokens"])


async def test_a_failed_run_keeps_the_answer_and_stops_no_other(
    database_url: str, nats_url: str, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    ollama_chat_server.chat_answers = lambda prompt: (
        "I would rather not." if "old format" in prompt else an_atom_of_each(prompt)
    )
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        bad = await add_messages(sql, SAYS[:1], channel="#bad")
        good = await add_messages(sql, SAYS[1:], channel="#good")
        done = await extract_knowledge(winnow.extracting(), [*bad, *good], lane=Lane.LIVE)
        assert (done.done, done.failed) == (1, 1)
    failed = dict(await sql.fetchrow("SELECT * FROM extraction_runs WHERE state = 'failed'"))
    assert failed["answer"] == "I would rather not."
    assert "no answer that can be used, asked 2 times" in failed["error"]
    assert failed["requests"] == 2
    assert await evidence(sql) == [(good[0], SAYS[1])]
    assert await sql.fetchval("SELECT failures FROM extraction_queue WHERE message_id = $1", bad[0]) == 1


async def test_what_cannot_be_quoted_is_kept_apart(
    database_url: str, nats_url: str, ollama_chat_server: OllamaChatServer, sql: asyncpg.Connection
) -> None:
    ollama_chat_server.chat_answers = lambda prompt: answer(
        atom("n1", "They never said this.", (new_numbers(prompt)[0], "never said"))
    )
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        await extract_knowledge(winnow.extracting(), await add_messages(sql, SAYS), lane=Lane.LIVE)
    assert await evidence(sql) == []
    run = await run_of(sql)
    assert (run["state"], run["unproven"]) == ("done", 1)
    assert run["error"] == "1 × a quote that is in no new message"


@pytest.mark.parametrize("is_marked", [True, False])
async def test_a_local_only_channel_is_read_by_no_model_elsewhere(
    database_url: str,
    nats_url: str,
    ollama_chat_server: OllamaChatServer,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_marked: bool,
) -> None:
    monkeypatch.setattr("winnow.pipeline.extractors.is_remote_provider", lambda _provider: True)
    ollama_chat_server.chat_answers = an_atom_of_each
    await sql.execute("INSERT INTO channels (source, channel, local_only) VALUES ('test', '#team', $1)", is_marked)
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        ids = await add_messages(sql, ["RESOLVED: we keep the old format", f"the key is {KEY}"])
        await extract_knowledge(winnow.extracting(), ids, lane=Lane.LIVE)
    assert (await run_of(sql))["extractor"] == ("rules" if is_marked else "ollama:qwen3:4b")
    assert len(ollama_chat_server.read) == (0 if is_marked else 1)
    assert KEY not in "".join(ollama_chat_server.read)
    assert ids[0] in {row for row, _ in await evidence(sql)}


async def test_what_a_local_only_channel_has_a_part_in_is_offered_to_no_model_elsewhere(
    database_url: str,
    nats_url: str,
    ollama_chat_server: OllamaChatServer,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("winnow.pipeline.extractors.is_remote_provider", lambda _provider: True)
    ollama_chat_server.chat_answers = lambda _prompt: answer()
    await sql.execute("INSERT INTO channels (source, channel, local_only) VALUES ('test', '#secret', true)")
    window = await window_with_offers(sql)
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        extractor = await winnow.extractors.of("test", "#team")
        await extractor.extract(window)
        (prompt,) = ollama_chat_server.read
        assert "public atom" in prompt
        assert "public topic" in prompt
        assert "hidden" not in prompt
        await sql.execute("INSERT INTO channels (source, channel, local_only) VALUES ('test', '#team', true)")
        with pytest.raises(Transient, match="local-only"):
            await extractor.extract(window)
        assert len(ollama_chat_server.read) == 1


async def window_with_offers(sql: asyncpg.Connection) -> Window:
    """A public message, with atoms and topics of a public and of a local-only channel offered beside it."""
    known, topics = [], []
    for channel, name in (("#team", "public"), ("#secret", "hidden")):
        (row,) = await add_messages(sql, [f"{name} words"], channel=channel)
        topic = await add_topic(sql, f"{name} topic")
        found = await add_atom(sql, f"{name} atom", f"{name} atom", topic_id=topic)
        await sql.execute("INSERT INTO atom_evidence VALUES ($1, $2, 0, 6, $3)", found, row, name)
        known.append(KnownAtom(id=found, type=AtomType.PROBLEM, title=f"{name} atom", content=f"{name} atom"))
        topics.append(f"{name} topic")
    ids = await add_messages(sql, SAYS)
    said = tuple(message(row, text) for row, text in zip(ids, SAYS, strict=True))
    return Window(channel="#team", messages=said, known=tuple(known), topics=tuple(topics))


async def test_a_server_elsewhere_is_remote_and_one_of_ones_own_is_not(database_url: str, nats_url: str) -> None:
    for url, remote in (
        ("http://gpu.example.org:11434", True),
        ("http://127.0.0.1:1", False),
        ("http://gpu:11434", False),
    ):
        given = {"extractor": "ollama:qwen3:4b", "ollama_url": url}
        async with winnow_over(database_url, nats_url, started=False, **given) as winnow:
            extractor = await winnow.extractors.model()
            assert extractor is not None
            assert extractor.is_remote == remote
            assert (extractor.may_leave is not None) == remote


async def test_a_provider_that_is_written_down_is_named_by_name_or_id(
    database_url: str, nats_url: str, openai_chat_server: OpenAIChatServer
) -> None:
    async with winnow_over(database_url, nats_url, started=False) as winnow:
        tools = winnow.registry()
        given: Any = {"urls": (openai_chat_server.url,)}
        row = await create_provider(tools, name="gpu", kind=ProviderKind.OPENAI, given=given)
        for name in ("gpu", str(row.id)):
            extractors = choosing(winnow, f"{name}:mistral:7b")
            extractor = await extractors.of("test", "#team")
            assert extractor.name == "openai:mistral:7b"
            assert await extractors.of("test", "#team") is extractor, "made once"
            await extractors.close()
        await edit_provider(tools, row.id, {"active": False})
        for name, why in (("gpu", "switched off"), ("nowhere", "there is no provider nowhere")):
            extractors = choosing(winnow, f"{name}:m")
            with pytest.raises(SetupFault, match=why):
                await extractors.model()


async def test_a_provider_that_cannot_be_used_fails_the_run_and_counts_against_no_message(
    database_url: str, nats_url: str, sql: asyncpg.Connection
) -> None:
    async with winnow_over(database_url, nats_url, started=False, extractor="gone:qwen3:4b") as winnow:
        ids = await add_messages(sql, SAYS)
        done = await extract_knowledge(winnow.extracting(), ids, lane=Lane.LIVE)
        assert done.failed == 1
    run = await run_of(sql)
    assert (run["state"], run["extractor"]) == ("failed", "gone:qwen3:4b")
    assert "there is no provider gone" in run["error"]
    assert set(await sql.fetch("SELECT failures FROM extraction_queue")) == {(0,)}


async def test_the_doctor_asks_it_about_one_message(
    database_url: str, nats_url: str, ollama_chat_server: OllamaChatServer
) -> None:
    answers: list[tuple[Any, str, str]] = [
        (answer(atom("n1", "Postgres 16 it is.", (1, "We decided to use Postgres 16"))), "ok", "quotes what it read"),
        (answer(), "warning", "found nothing"),
        ("no", "wrong", "no answer that can be used"),
    ]
    async with winnow_over(database_url, nats_url, started=False, **chosen(ollama_chat_server)) as winnow:
        for said, level, words in answers:
            ollama_chat_server.chat_answers = lambda _prompt, said=said: said
            (finding,) = [one async for one in examine_extractor(winnow.extractors)]
            assert (finding.level, words in finding.says) == (level, True)
        assert SAID in ollama_chat_server.read[0]
        ollama_chat_server.behave("model_missing")
        (finding,) = [one async for one in examine_extractor(winnow.extractors)]
        assert finding.level == "wrong"
        assert re.search("ollama pull", finding.says)
    async with winnow_over(database_url, nats_url, started=False) as winnow:
        assert [one.name async for one in examine_extractor(winnow.extractors)] == ["rules"]


def choosing(winnow: Winnow, name: str) -> Extractors:
    settings = winnow.settings.model_copy(update={"extractor": name})
    return replace(winnow.extractors, settings=settings)


@pytest.mark.parametrize("name", ["", "model", "local", "local:x", "ollama:", ":m", "ollama:a b", "a b:c"])
def test_an_unknown_extractor_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(InvalidSettings, match="WINNOW_EXTRACTOR"):
        check_embedder(Settings(_env_file=None, extractor=name))


def test_a_model_may_have_a_tag() -> None:
    assert parse_extractor(" ollama:qwen3:8b ") == ("ollama", "qwen3:8b")
    assert parse_extractor("rules") is None
