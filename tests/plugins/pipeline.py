"""The pipeline over the test's own PostgreSQL, with an embedder and a dispatcher whose faults a test can steer.

Whatever a test that asks for `store` does, at its end the counts must agree with a recount of the rows, one by one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from plugins.model_servers import vector_of
from winnow.bootstrap import Winnow, build
from winnow.domain.jobs import Kind, Lane
from winnow.domain.knowledge import Extraction
from winnow.domain.messages import IncomingMessage
from winnow.domain.spaces import EmbedderIdentity
from winnow.pipeline.embed import Embedding
from winnow.pipeline.extract import Extracting, always
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.windowing import Limits
from winnow.providers.base import EmbeddingResult
from winnow.servers import Servers
from winnow.settings import Settings
from winnow.storage.embedding_records import KindCounts
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.extraction import ExtractionStore
from winnow.storage.unit_of_work import UnitsOfWork
from winnow.worker import work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import asyncpg

    from winnow.domain.jobs import Job
    from winnow.domain.knowledge import Window
    from winnow.providers.base import Embedder, InputType
    from winnow.storage.engine import Database

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
PROBE = ("dimension",)


class RecordingDispatcher:
    """Remembers what it was given. `error` is raised instead, while it is set."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[Job, ...], Lane]] = []
        self.error: Exception | None = None

    async def dispatch(self, jobs: Sequence[Job], lane: Lane) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append((tuple(jobs), lane))

    @property
    def jobs(self) -> list[Job]:
        """All jobs, in order."""
        return [job for jobs, _ in self.calls for job in jobs]

    @property
    def lanes(self) -> set[Lane]:
        """The lanes that were used."""
        return {lane for _, lane in self.calls}

    def ids(self, of: type[Job], kind: Kind | None = None) -> list[int]:
        """All ids in jobs of a type (and kind), in order."""
        return [
            row for job in self.jobs if isinstance(job, of) and getattr(job, "kind", None) == kind for row in job.ids
        ]


@dataclass
class SteeredEmbedder:
    """Makes the vectors of `vector_of`; goes wrong as it is told.

    Attributes:
        during: awaited with the texts in the middle of each call that is not the probe.
        errors: raised by the next calls, one each.
        refusals: raised by each call that has a text holding these words.
        probe_error: raised by the probe.
        calls: the texts of each call but the probe's, good or bad.
        paid: how often a good answer held a text.
    """

    model: str = "steered"
    dimensions: int = 8
    document_prefix: str = ""
    during: Callable[[Sequence[str]], Awaitable[None]] | None = None
    errors: list[Exception] = field(default_factory=list)
    refusals: dict[str, Exception] = field(default_factory=dict)
    probe_error: Exception | None = None
    calls: list[tuple[str, ...]] = field(default_factory=list)
    paid: Counter[str] = field(default_factory=Counter)

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity(provider="test", model=self.model, document_prefix=self.document_prefix)

    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        del input_type
        if tuple(texts) == PROBE:
            if self.probe_error is not None:
                raise self.probe_error
        else:
            self.calls.append(tuple(texts))
            if self.during is not None:
                await self.during(texts)
            if self.errors:
                raise self.errors.pop(0)
            for words, error in self.refusals.items():
                if any(words in text for text in texts):
                    raise error
            self.paid.update(texts)
        return EmbeddingResult(vectors=np.stack([self.vector(text) for text in texts]), model=self.model)

    def vector(self, text: str) -> Any:
        """What it answers for a text."""
        return vector_of(self.document_prefix + text, self.dimensions)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class SteeredExtractor:
    """Answers what `answer` makes of the window, after awaiting `during`."""

    answer: Callable[[Window], Extraction] = field(default=lambda _window: Extraction())
    during: Callable[[Window], Awaitable[None]] | None = None
    windows: list[Window] = field(default_factory=list)
    name: str = "steered"
    version: str = "1"
    wants_known: bool = False

    async def extract(self, window: Window) -> Extraction:
        self.windows.append(window)
        if self.during is not None:
            await self.during(window)
        return self.answer(window)


@pytest.fixture
def dispatcher() -> RecordingDispatcher:
    """Takes every job and does nothing."""
    return RecordingDispatcher()


@pytest.fixture
def units(database: Database, dispatcher: RecordingDispatcher) -> UnitsOfWork:
    """Units of work with small batches; their promises go to `dispatcher`."""
    return UnitsOfWork(database, dispatcher, batch_size=3)


@pytest.fixture
async def store(database: Database, sql: asyncpg.Connection) -> AsyncIterator[EmbeddingStore]:
    """The embedding store, whose counts are checked at the end."""
    store = EmbeddingStore(database)
    yield store
    await assert_nothing_missing(store, sql)


@pytest.fixture
def embedder() -> SteeredEmbedder:
    """Makes vectors of 8 dimensions."""
    return SteeredEmbedder()


@pytest.fixture
def embedding(store: EmbeddingStore, database: Database, embedder: SteeredEmbedder) -> Embedding:
    """What embedding in this process needs, over `embedder`."""
    return Embedding(
        store=store,
        spaces=Spaces(database, embedder),
        worker="one",
        lease_seconds=30,
        max_attempts=3,
        patience_seconds=0,
    )


def asking(embedding: Embedding, embedder: Embedder) -> Embedding:
    """The same worker, asking another embedder."""
    return replace(embedding, spaces=Spaces(embedding.spaces._database, embedder))


def another(embedding: Embedding, database: Database, embedder: SteeredEmbedder | None = None) -> Embedding:
    """A second worker beside the first, with an embedder of its own."""
    embedder = embedder or SteeredEmbedder()
    return replace(embedding, worker="two", spaces=Spaces(database, embedder))


@pytest.fixture
def extractor() -> SteeredExtractor:
    """Finds nothing until it is told what to find."""
    return SteeredExtractor()


@pytest.fixture
def extracting(units: UnitsOfWork, database: Database, extractor: SteeredExtractor) -> Extracting:
    """What extraction needs, over `extractor`."""
    return Extracting(
        database=database,
        units=units,
        store=ExtractionStore(database),
        extractor_for=always(extractor),
        lease_seconds=30,
        limits=Limits(messages=10, context=2, tokens=3000),
    )


def incoming(number: int, text: str | None = None, **values: Any) -> IncomingMessage:
    """A message of its own for each number, a minute apart."""
    given: dict[str, Any] = {
        "source": "test",
        "channel": "#team",
        "external_id": str(number),
        "author": "ann",
        "text": f"words number {number}" if text is None else text,
        "sent_at": START + timedelta(minutes=number),
    } | values
    return IncomingMessage(**given)


async def add_messages(
    sql: asyncpg.Connection,
    texts: Sequence[str],
    *,
    channel: str = "#team",
    hours_ago: float = 1,
    judged: bool = True,
    conversation: int | None = None,
) -> list[int]:
    """Messages stored an hour ago, and queued; returns their ids.

    If `judged` they are scored, and one conversation: a new one, or the one that this message began.
    """
    async with sql.transaction():
        rows = await sql.fetch(
            """
            WITH stored AS (
                INSERT INTO messages (source, channel, external_id, author, text, sent_at, received_at, text_changed_at,
                                      importance, signal)
                SELECT 'test', $2, gen_random_uuid()::text, 'ann', given.text,
                       $3::timestamptz + make_interval(mins => given.number::int),
                       now() - make_interval(hours => 1) * $4::float8, now() - make_interval(hours => 1) * $4::float8,
                       CASE WHEN $5 THEN 0.6 END, CASE WHEN $5 THEN 'signal' END
                FROM unnest($1::text[]) WITH ORDINALITY AS given (text, number)
                RETURNING id
            ), queued AS (INSERT INTO extraction_queue (message_id) SELECT id FROM stored)
            SELECT id FROM stored ORDER BY id
            """,
            list(texts),
            channel,
            START,
            hours_ago,
            judged,
        )
        ids = [row["id"] for row in rows]
        if judged:
            await sql.execute(
                "INSERT INTO message_threads (message_id, conversation_id) SELECT i, $2 FROM unnest($1::bigint[]) i",
                ids,
                conversation or (ids[0] if ids else None),
            )
    return ids


async def add_atom(sql: asyncpg.Connection, title: str, content: str, **values: Any) -> int:
    """An atom (an active problem, if nothing else is said)."""
    given = {"type": "problem", "status": "active", "topic_id": None} | values
    return int(
        await sql.fetchval(
            "INSERT INTO atoms (type, title, content, status, topic_id) VALUES ($1, $2, $3, $4, $5) RETURNING id",
            given["type"],
            title,
            content,
            given["status"],
            given["topic_id"],
        )
    )


async def add_topic(sql: asyncpg.Connection, name: str, description: str = "") -> int:
    """A topic."""
    return int(
        await sql.fetchval("INSERT INTO topics (name, description) VALUES ($1, $2) RETURNING id", name, description)
    )


async def add_row(sql: asyncpg.Connection, kind: Kind, text: str = "some words") -> int:
    """A row of any kind."""
    match kind:
        case Kind.MESSAGES:
            return (await add_messages(sql, [text]))[0]
        case Kind.TOPICS:
            return await add_topic(sql, text)
        case Kind.ATOMS:
            return await add_atom(sql, text, f"{text}, in full")


async def vector_in(sql: asyncpg.Connection, kind: Kind, row_id: int) -> Any:
    """A stored vector as numpy array, or None."""
    found = await sql.fetchval(f"SELECT embedding FROM {kind.value} WHERE id = $1", row_id)
    return None if found is None else found.to_numpy() if hasattr(found, "to_numpy") else np.asarray(found)


async def job_of(sql: asyncpg.Connection, row_id: int, kind: Kind = Kind.MESSAGES) -> Any:
    """The row's job, or None."""
    return await sql.fetchrow("SELECT * FROM embedding_jobs WHERE kind = $1 AND entity_id = $2", kind.value, row_id)


async def come_due(sql: asyncpg.Connection) -> None:
    """Time passes: every wait is over, every lease has run out, and it is time to look after the model server."""
    await sql.execute("UPDATE embedding_spaces SET paused_until = now() - interval '1 second' WHERE pauses > 0")
    await sql.execute("UPDATE embedding_jobs SET not_before = now() - interval '1 second' WHERE state = 'waiting'")
    await sql.execute("UPDATE embedding_jobs SET lease_until = now() - interval '1 second' WHERE state = 'leased'")


async def assert_nothing_missing(store: EmbeddingStore, sql: asyncpg.Connection) -> None:
    """Embedded + pending + in hand + waiting + failed + skipped = rows, each counted by itself."""
    counts = await store.counts()
    for kind in Kind:
        row = await sql.fetchrow(
            f"""
            SELECT count(*) AS total, count(t.embedding) AS embedded,
                   count(*) FILTER (WHERE t.embedding IS NULL AND j.state IS NULL) AS pending,
                   count(*) FILTER (WHERE t.embedding IS NULL AND j.state = 'leased') AS in_hand,
                   count(*) FILTER (WHERE t.embedding IS NULL AND j.state = 'waiting') AS waiting,
                   count(*) FILTER (WHERE t.embedding IS NULL AND j.state = 'failed') AS failed,
                   count(*) FILTER (WHERE t.embedding IS NULL AND j.state = 'skipped') AS skipped
            FROM {kind.value} t LEFT JOIN embedding_jobs j ON j.kind = $1 AND j.entity_id = t.id
             AND j.space_id = (SELECT id FROM embedding_spaces WHERE status = 'active')
            """,
            kind.value,
        )
        assert replace(counts[kind], oldest_pending=None) == KindCounts(**dict(row)), kind
        parts = (
            getattr(counts[kind], name) for name in ("embedded", "pending", "in_hand", "waiting", "failed", "skipped")
        )
        assert sum(parts) == counts[kind].total


# -- with NATS


@asynccontextmanager
async def winnow_over(
    database_url: str, nats_url: str, *, model: Any = None, started: bool = True, **settings: Any
) -> AsyncIterator[Winnow]:
    """One process's share of Winnow over the test's servers, with short times and, if given, this embedder."""
    given = {"lease_seconds": 2, "ack_wait_seconds": 2, "drain_seconds": 2, "batch_size": 10} | settings
    winnow = build(
        Settings(_env_file=None, **given), Servers(database_url=database_url, nats_url=nats_url), pool_size=4
    )
    if model is not None:
        await winnow.embedder.close()
        winnow.embedder = model
        winnow.spaces = Spaces(winnow.database, model)
        for broker in winnow.brokers.values():
            broker.state.tools = winnow.task_tools()
    try:
        if started:
            await winnow.start_queue()
        yield winnow
    finally:
        await winnow.close()


@asynccontextmanager
async def serving(winnow: Winnow, *lanes: Lane) -> AsyncIterator[None]:
    """A worker inside the test, on every lane if none is named. `winnow` must not be started yet."""
    stop = asyncio.Event()
    worker = asyncio.create_task(work(winnow, lanes or tuple(Lane), stop), name="worker in the test")
    try:
        yield
    finally:
        stop.set()
        await worker
