"""Knowledge as extraction and people leave it, written by SQL: messages with conversations, atoms of every fate."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncpg

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
FRIDAY = MONDAY + timedelta(days=4)


async def say(
    sql: asyncpg.Connection, text: str, *, at: datetime = MONDAY, talk: int | None = None, **values: Any
) -> int:
    """A message, in a conversation of its own if none is named; returns its id."""
    given = {"source": "test", "channel": "#team", "author": "Ana", "author_id": None, "topic_id": None} | values
    row = await sql.fetchval(
        "INSERT INTO messages (source, channel, external_id, author, author_id, text, sent_at, topic_id) "
        "VALUES ($1, $2, gen_random_uuid()::text, $3, $4, $5, $6, $7) RETURNING id",
        *(given[name] for name in ("source", "channel", "author", "author_id")),
        text,
        at,
        given["topic_id"],
    )
    await sql.execute(
        "INSERT INTO message_threads (message_id, conversation_id) VALUES ($1, $2)", row, row if talk is None else talk
    )
    return int(row)


async def know(sql: asyncpg.Connection, type_: str, title: str, *quoted: int, **values: Any) -> int:
    """An active atom that rests on the whole of these messages; `values` are its columns."""
    given: dict[str, Any] = {"status": "active", "confidence": 0.7, "content": title} | values
    if quoted and "said_at" not in given:
        given["said_at"] = await sql.fetchval("SELECT min(sent_at) FROM messages WHERE id = ANY($1)", list(quoted))
    names = ["type", "title", *given]
    marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    atom = await sql.fetchval(
        f"INSERT INTO atoms ({', '.join(names)}) VALUES ({marks}) RETURNING id", type_, title, *given.values()
    )
    await sql.execute(
        "INSERT INTO atom_evidence SELECT $1, id, 0, length(text), text FROM messages WHERE id = ANY($2)",
        atom,
        list(quoted),
    )
    return int(atom)


async def claim(sql: asyncpg.Connection, atom: int, message: int, quote: str) -> None:
    """The atom was said to rest on words that the message does not hold."""
    await sql.execute("INSERT INTO atom_claims VALUES ($1, 0, $2, $3)", atom, message, quote)


async def link(sql: asyncpg.Connection, source: int, type_: str, target: int) -> None:
    """`source TYPE target`."""
    await sql.execute("INSERT INTO atom_links (source_id, target_id, type) VALUES ($1, $2, $3)", source, target, type_)


@dataclass
class World:
    """A small team's knowledge, by name: `atoms["redis"]`."""

    messages: dict[str, int] = field(default_factory=dict)
    atoms: dict[str, int] = field(default_factory=dict)
    topics: dict[str, int] = field(default_factory=dict)

    def named(self, ids: list[int]) -> list[str]:
        """The names of these atoms."""
        names = {row: name for name, row in self.atoms.items()}
        return [names[row] for row in ids]


@pytest.fixture
async def world(sql: asyncpg.Connection) -> World:
    """Monday's decision for Redis gave way on Friday; a question is answered, one open, one closed; and the hidden."""
    made = World()
    for name in ("Cache", "Release"):
        made.topics[name] = await sql.fetchval("INSERT INTO topics (name) VALUES ($1) RETURNING id", name)
    cache, release = made.topics["Cache"], made.topics["Release"]
    await sql.execute("INSERT INTO channels (source, channel, title) VALUES ('test', '#ops', 'Operations')")
    m, a = made.messages, made.atoms
    m["hello"] = await say(sql, "hello all", topic_id=cache)
    m["redis"] = await say(sql, "let us use Redis", at=MONDAY + timedelta(minutes=1), talk=m["hello"], topic_id=cache)
    m["why"] = await say(
        sql, "why Redis?", at=MONDAY + timedelta(minutes=2), talk=m["hello"], author="Ben", author_id="u2"
    )
    m["fast"] = await say(sql, "because it is fast", at=MONDAY + timedelta(minutes=3), talk=m["hello"])
    m["when"] = await say(sql, "when do we release?", at=TUESDAY, author="Ben", author_id="u2", channel="#ops")
    m["postgres"] = await say(sql, "we use PostgreSQL for the cache", at=FRIDAY, channel="#ops", source="irc")
    a["postgres"] = await know(sql, "decision", "Use PostgreSQL", m["postgres"], topic_id=cache, confidence=0.9)
    a["redis"] = await know(
        sql, "decision", "Use Redis", m["redis"], topic_id=cache, valid_until=FRIDAY, superseded_by=a["postgres"],
        superseded_because="it needs no second server",
    )  # fmt: skip
    a["why"] = await know(sql, "question", "Why Redis?", m["why"], topic_id=cache, confidence=0.6)
    a["fast"] = await know(sql, "answer", "It is fast", m["fast"], confidence=0.5, extractor="ollama:qwen3:8b")
    a["when"] = await know(sql, "question", "When do we release?", m["when"], topic_id=release)
    a["shut"] = await know(sql, "question", "Who brings cake?", m["hello"], closed_at=FRIDAY, closed_because="eaten")
    a["slow"] = await know(sql, "problem", "The build is slow", m["when"], topic_id=release)
    a["below"] = await know(sql, "idea", "Perhaps a second cache", m["hello"], status="candidate", confidence=0.3)
    a["claimed"] = await know(sql, "risk", "The cache may leak", status="unproven", said_at=TUESDAY)
    await claim(sql, a["claimed"], m["when"], "it leaks")
    a["no"] = await know(sql, "action", "Dance", m["hello"], status="rejected")
    a["same"] = await know(
        sql, "decision", "PostgreSQL it is", status="merged", merged_into=a["postgres"], said_at=FRIDAY
    )
    await link(sql, a["fast"], "answers", a["why"])
    await link(sql, a["below"], "solves", a["slow"])
    await link(sql, a["postgres"], "supersedes", a["redis"])
    return made
