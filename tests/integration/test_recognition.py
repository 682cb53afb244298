"""A model server of the settings writes into a stored space only while it has the space's model, whatever its name."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from plugins.model_servers import vector_of
from plugins.pipeline import SteeredEmbedder, add_messages, come_due, job_of, vector_in
from winnow.bootstrap import build
from winnow.domain.jobs import Kind
from winnow.errors import ProviderTimeout, ProviderUnavailable, SpaceMismatch
from winnow.pipeline.embed import Embedded, embed_rows
from winnow.pipeline.recognition import PATIENCE_SECONDS, Recognised
from winnow.pipeline.search import search
from winnow.pipeline.spaces import Spaces
from winnow.providers.base import RECOGNISED_SECONDS
from winnow.servers import Servers
from winnow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    import asyncpg

    from plugins.model_servers import OllamaServer
    from winnow.bootstrap import Winnow
    from winnow.providers.base import EmbeddingResult, InputType
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

M = Kind.MESSAGES
WORD = "search_document: dimension"


class Process:
    """Winnow over the settings' server; each call is a process of its own."""

    def __init__(self, database_url: str, server: OllamaServer) -> None:
        self._database_url = database_url
        self._server = server

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Winnow]:
        settings = Settings(_env_file=None, embedder="ollama:nomic-embed-text", ollama_url=self._server.url)
        winnow = build(settings, Servers(database_url=self._database_url, nats_url="nats://127.0.0.1:1"))
        yield winnow
        await winnow.close()


@pytest.fixture
def process(database_url: str, ollama_server: OllamaServer) -> Process:
    return Process(database_url, ollama_server)


async def embed(winnow: Winnow, ids: Sequence[int]) -> Embedded:
    """Bad weather is not waited out in hand."""
    return await embed_rows(replace(winnow.embedding(), patience_seconds=0), M, ids)


async def stored_by(process: AbstractAsyncContextManager[Winnow], ids: Sequence[int]) -> None:
    async with process as winnow:
        assert await embed(winnow, ids) == Embedded(embedded=len(ids))


def serve_another(server: OllamaServer, patch: pytest.MonkeyPatch) -> None:
    """Under the same name, and of the same dimension."""
    patch.setattr(server, "vector", lambda text: vector_of(text, server.dimensions)[::-1].copy())


async def test_another_model_of_the_same_name_and_dimension_writes_nothing_and_says_what_to_do(
    *,
    process: Process,
    ollama_server: OllamaServer,
    store: EmbeddingStore,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = await add_messages(sql, ["one", "two"])
    await stored_by(process(), [one])
    ollama_server.requests.clear()
    serve_another(ollama_server, monkeypatch)
    async with process() as winnow:
        assert await embed(winnow, [two]) == Embedded(waiting=1)
        assert ollama_server.texts == [WORD], "no text is shown to it"
        job = await job_of(sql, two)
        assert (job["error_kind"], job["attempts"]) == ("SpaceMismatch", 0)
        pause = await store.pause()
        assert pause is not None
        for says in (job["error"], pause.because):
            assert "another model by the name of ollama:nomic-embed-text" in says
            assert "pull the old one again under that name, or change over to this one under another" in says
        found = await search(winnow.searching(), "one")
        assert "another model" in (found.degraded or "")
        assert "search_query: one" not in ollama_server.texts
        await come_due(sql)
        assert await embed(winnow, [two]) == Embedded(), "a look does not end the pause while it has that model"
        assert await vector_in(sql, M, two) is None
        monkeypatch.undo()
        await come_due(sql)
        assert await embed(winnow, [two]) == Embedded(embedded=1)


async def test_a_space_without_a_fingerprint_gets_that_of_the_first_good_answer(
    process: Process, ollama_server: OllamaServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = await add_messages(sql, ["one", "two", "three"])
    await stored_by(process(), [one])
    await sql.execute("UPDATE embedding_spaces SET fingerprint = NULL")  # as revision 0004 finds it
    ollama_server.fail_next("nan")
    async with process() as winnow:
        assert await embed(winnow, [two]) == Embedded(waiting=1)
        assert await sql.fetchval("SELECT fingerprint FROM embedding_spaces") is None
        await come_due(sql)
        assert await embed(winnow, [two]) == Embedded(embedded=1)
    kept = await sql.fetchval("SELECT fingerprint FROM embedding_spaces")
    assert kept == pytest.approx(ollama_server.vector(WORD).tolist())
    serve_another(ollama_server, monkeypatch)
    async with process() as winnow:
        assert await embed(winnow, [three]) == Embedded(waiting=1)
    assert await sql.fetchval("SELECT fingerprint FROM embedding_spaces") == kept


async def test_of_two_that_find_no_fingerprint_the_second_is_held_to_the_first_ones(
    database: Database, sql: asyncpg.Connection
) -> None:
    embedder = SteeredEmbedder()
    space = replace(await Spaces(database, embedder).ours(), fingerprint=None)
    await sql.execute("UPDATE embedding_spaces SET fingerprint = NULL")
    first = Recognised(embedder, space, database=database)
    second = Recognised(Changing(changed=True), space, database=database)
    await first.embed(["one"], input_type="document")
    with pytest.raises(SpaceMismatch):
        await second.embed(["one"], input_type="document")
    assert await sql.fetchval("SELECT fingerprint FROM embedding_spaces") == pytest.approx(embedder.vector("dimension"))


async def test_a_server_that_is_away_before_it_is_recognised_is_weather(
    process: Process, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    one, two = await add_messages(sql, ["one", "two"])
    await stored_by(process(), [one])
    ollama_server.behave("busy")
    async with process() as winnow:
        assert await embed(winnow, [two]) == Embedded(waiting=1)
        assert (await job_of(sql, two))["attempts"] == 0
        ollama_server.stop()
        await come_due(sql)
        assert await embed(winnow, [two]) == Embedded()
        ollama_server.behave(None)
        ollama_server.start()
        await come_due(sql)
        assert await embed(winnow, [two]) == Embedded(embedded=1)


async def test_it_is_asked_once_in_a_process_and_nobody_is_charged(
    process: Process, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    ids = await add_messages(sql, [f"text {number}" for number in range(6)])
    await stored_by(process(), ids[:1])
    assert ollama_server.texts.count(WORD) == 1, "whoever has made the space with the model knows it"
    await sql.execute("DELETE FROM llm_usage")
    ollama_server.delay_seconds = 0.1
    async with process() as winnow:
        done = await asyncio.gather(*(embed(winnow, [row]) for row in ids[1:5]))
        assert await embed(winnow, ids[5:]) == Embedded(embedded=1)
    assert sum(one.embedded for one in done) == 4
    assert ollama_server.texts.count(WORD) == 2
    used = await sql.fetchrow("SELECT sum(requests) AS requests, sum(texts) AS texts FROM llm_usage")
    assert dict(used) == {"requests": 5, "texts": 5}


class Changing(SteeredEmbedder):
    """Has another model from the moment it is `changed`."""

    def __init__(self, *, changed: bool = False) -> None:
        super().__init__()
        self.changed = changed
        self.words = 0

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        self.words += list(texts) == ["dimension"]
        return await super().embed(texts, input_type=input_type)

    @override
    def vector(self, text: str) -> Any:
        return -super().vector(text) if self.changed else super().vector(text)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_model_that_is_replaced_while_its_server_runs_is_found_out_within_the_hour(database: Database) -> None:
    embedder, clock = Changing(), Clock()
    space = await Spaces(database, embedder).ours()
    recognised = Recognised(embedder, space, database=database, is_known=True, clock=clock)
    clock.now += RECOGNISED_SECONDS - 1
    await recognised.embed(["one"], input_type="document")
    assert embedder.words == 1, "the one the space was made with"
    clock.now += 1
    await recognised.embed(["two"], input_type="document")
    assert embedder.words == 2
    embedder.changed = True
    clock.now += RECOGNISED_SECONDS
    with pytest.raises(SpaceMismatch):
        await recognised.embed(["three"], input_type="query")
    assert embedder.calls == [("one",), ("two",)]


async def test_after_its_server_was_away_a_model_must_show_itself_again_to_a_look_or_else(
    database: Database,
) -> None:
    embedder = Changing()
    space = await Spaces(database, embedder).ours()
    recognised = Recognised(embedder, space, database=database, is_known=True)
    embedder.errors = [ProviderUnavailable("away"), ProviderUnavailable("away")]
    with pytest.raises(ProviderUnavailable):
        await recognised.embed(["one"], input_type="document")
    await recognised.embed(["dimension"], input_type="document")
    with pytest.raises(ProviderUnavailable):
        await recognised.embed(["one"], input_type="document")
    assert embedder.words == 2
    embedder.changed = True
    with pytest.raises(SpaceMismatch):
        await recognised.embed(["one"], input_type="document")
    assert embedder.words == 3
    assert len(embedder.calls) == 2


async def test_a_server_that_hangs_keeps_the_first_search_waiting_and_no_other(database: Database) -> None:
    begun, go_on, clock = asyncio.Event(), asyncio.Event(), Clock()

    class Hanging(Changing):
        @override
        async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
            begun.set()
            await go_on.wait()
            return await Changing.embed(self, texts, input_type=input_type)

    space = await Spaces(database, SteeredEmbedder()).ours()
    embedder = Hanging()
    recognised = Recognised(embedder, space, database=database, clock=clock)
    batch = asyncio.create_task(recognised.embed(["a"], input_type="document"))
    await begun.wait()
    clock.now += PATIENCE_SECONDS
    with pytest.raises(ProviderTimeout, match="has not answered for 5 s"):
        await recognised.embed(["b"], input_type="query")
    go_on.set()
    await batch
    await recognised.embed(["c"], input_type="query")
    assert (embedder.words, embedder.calls) == (1, [("a",), ("c",)])


async def test_who_stops_waiting_for_the_recognition_keeps_nobody_else_from_it(database: Database) -> None:
    """A search gives up after a moment; the batch beside it wants the answer, and a closing process none."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Thinking(Changing):
        @override
        async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
            begun.set()
            await go_on.wait()
            return await Changing.embed(self, texts, input_type=input_type)

    space = await Spaces(database, SteeredEmbedder()).ours()
    embedder = Thinking()
    recognised = Recognised(embedder, space, database=database)
    searching, embedding = (asyncio.create_task(recognised.embed([text], input_type="query")) for text in ("a", "b"))
    await begun.wait()
    searching.cancel()
    go_on.set()
    await embedding
    assert (embedder.words, embedder.calls) == (1, [("b",)])

    begun.clear()
    go_on.clear()
    closing = Recognised(embedder, space, database=database)
    waiting = asyncio.create_task(closing.embed(["c"], input_type="query"))
    await begun.wait()
    await closing.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
