"""Who writes while everything falls: the HTTP API, the ORM, plain SQL and COPY; each remembers what it was promised.

What was acknowledged must be there at the end, what was deleted must not, and what broke off in the middle may be
either. Rows are named by a key of their writer's (see `record.KEYS`), for an id may never have come back.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from typing_extensions import override

from chaos.model import NAN, REFUSED
from chaos.record import KEYS
from chaos.world import LOST
from winnow.domain.jobs import Kind
from winnow.storage.tables import Message, Topic
from winnow.storage.tables_of_knowledge import Atom

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Sequence

    from chaos.record import Row

BROKEN_OFF = (*LOST, SQLAlchemyError)
TEXT_COLUMNS = {Kind.MESSAGES: "text", Kind.TOPICS: "description", Kind.ATOMS: "content"}
ATOM_TYPES = ("problem", "solution", "decision", "question", "insight", "idea", "risk", "pattern")
# The rules find knowledge in these, so that extractions commit topics and atoms of their own in between.
TALK = (
    "We decided to keep the cache number {n}.",
    "The nightly build number {n} is broken: it fails with error {n}.",
    "Ana will measure the cache number {n} by Friday.",
    "Who reviews the script number {n}?",
)


@dataclass
class Expected:
    """What each row may look like at the end: its text, or None for a row that is not there."""

    rows: dict[tuple[Kind, str], set[str | None]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def certainly(self, kind: Kind, key: str, body: str | None) -> None:
        """It was acknowledged."""
        self.rows[kind, key] = {body}

    def perhaps(self, kind: Kind, key: str, body: str | None) -> None:
        """It broke off: so, or as before."""
        self.rows.setdefault((kind, key), {None}).add(body)

    def faults(self, rows: Sequence[Row]) -> list[str]:
        """What is not as it was promised; rows that nobody here has written are Winnow's own."""
        there = {(row.kind, row.key): row.body for row in rows}
        return [
            f"{kind} {key!r} should be one of {bodies}, and is {there.get((kind, key))!r}"
            for (kind, key), bodies in self.rows.items()
            if there.get((kind, key)) not in bodies
        ]


class Texts:
    """Numbered texts, so that each can be followed; now and then one that others have as well, or one at fault."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self._name = name
        self._chance = chance
        self._numbers = itertools.count(1)

    def next(self, kind: Kind) -> str:
        """The next one."""
        number, draw = next(self._numbers), self._chance.random()
        if draw < 0.15 and kind == Kind.MESSAGES:  # one that others write as well, or was written long ago
            return f"the same message {self._chance.randrange(number // 10 + 1)}"
        if draw > 0.993:
            return f"{self._name} {kind} {number} {self._chance.choice((NAN, REFUSED))}"
        return f"{self._name} {kind} {number} {self._chance.choice(('cache', 'index', 'build'))}"


class SqlWriter:
    """INSERT, UPDATE and DELETE of any kind, several rows at a time, as somebody does in psql."""

    name = "sql"

    def __init__(self, url: str, chance: random.Random, expected: Expected) -> None:
        self.url = url
        self.chance = chance
        self.expected = expected
        self.texts = Texts(self.name, chance)
        self.living: defaultdict[Kind, dict[str, str]] = defaultdict(dict)
        self._keys = itertools.count(1)

    async def step(self) -> None:
        """One transaction."""
        kind, draw = self.chance.choice(list(Kind)), self.chance.random()
        if draw < 0.55 or len(self.living[kind]) < 5:
            await self._attempt(kind, {self.key(kind): self.texts.next(kind) for _ in range(self.chance.randint(1, 6))})
            return
        some = self.chance.sample(sorted(self.living[kind]), self.chance.randint(1, 3))
        await self._attempt(kind, {key: self.texts.next(kind) if draw < 0.85 else None for key in some})

    def key(self, kind: Kind) -> str:
        """A name for a new row."""
        number = next(self._keys)
        return (
            f"{self.chance.choice(ATOM_TYPES)} {self.name} {number}" if kind == Kind.ATOMS else f"{self.name} {number}"
        )

    async def _attempt(self, kind: Kind, wanted: dict[str, str | None]) -> None:
        bodies = {key: body_of(kind, key, text) for key, text in wanted.items()}
        known = {key: key in self.living[kind] for key in wanted}
        try:
            async with self.writing() as tools:
                for key in wanted:
                    self.expected.perhaps(kind, key, bodies[key])
                    self.living[kind].pop(key, None)
                await self.write(tools, kind, wanted, known)
        except BROKEN_OFF as error:
            self.expected.done[f"broken off ({type(error).__name__})"] += 1
            return
        for key, body in bodies.items():
            self.expected.certainly(kind, key, body)
            self.expected.done["deleted" if body is None else "edited" if known[key] else "written"] += 1
            if body is not None:
                self.living[kind][key] = body

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        """A transaction of this writer's."""
        connection = await asyncpg.connect(self.url, timeout=5, command_timeout=15)
        try:
            async with connection.transaction():
                yield connection
        finally:
            await connection.close(timeout=5)

    async def write(self, tools: Any, kind: Kind, wanted: dict[str, str | None], known: dict[str, bool]) -> None:
        """Writes these texts; None deletes the row."""
        for key, text in sorted(wanted.items()):
            named = f"{KEYS[kind].format(row='')} = $1"
            if text is None:
                await tools.execute(f"DELETE FROM {kind.value} WHERE {named}", key)
            elif known[key]:
                await tools.execute(f"UPDATE {kind.value} SET {TEXT_COLUMNS[kind]} = $2 WHERE {named}", key, text)
            else:
                columns, values = columns_of(kind, key, text)
                marks = ", ".join(f"${number}" for number in range(1, len(values) + 1))
                await tools.execute(f"INSERT INTO {kind.value} ({', '.join(columns)}) VALUES ({marks})", *values)

    async def finish(self) -> None:
        """Nothing is left to do."""


class CopyWriter(SqlWriter):
    """COPY of twenty rows at once, as an import of somebody else's does. Edits and deletes as the other."""

    name = "copy"

    @override
    async def step(self) -> None:
        """One transaction."""
        if self.chance.random() < 0.6:
            await super().step()
            return
        kind = self.chance.choice(list(Kind))
        await self._attempt(kind, {self.key(kind): self.texts.next(kind) for _ in range(20)})

    @override
    async def write(self, tools: Any, kind: Kind, wanted: dict[str, str | None], known: dict[str, bool]) -> None:
        """New rows by COPY."""
        fresh = [columns_of(kind, key, text) for key, text in wanted.items() if text is not None and not known[key]]
        if fresh:
            records = [values for _, values in fresh]
            await tools.copy_records_to_table(kind.value, columns=fresh[0][0], records=records)
        rest = {key: text for key, text in wanted.items() if text is None or known[key]}
        await super().write(tools, kind, rest, known)


class OrmWriter(SqlWriter):
    """Objects of `winnow.storage.tables`, over an engine of the writer's own."""

    name = "orm"

    def __init__(self, url: str, chance: random.Random, expected: Expected) -> None:
        super().__init__(url, chance, expected)
        self._engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
        self._ids: dict[tuple[Kind, str], int] = {}

    @override
    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        """A session, committed at the end."""
        async with AsyncSession(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @override
    async def write(self, tools: Any, kind: Kind, wanted: dict[str, str | None], known: dict[str, bool]) -> None:
        """Adds, changes and deletes objects."""
        table = {Kind.MESSAGES: Message, Kind.TOPICS: Topic, Kind.ATOMS: Atom}[kind]
        for key, text in sorted(wanted.items()):
            if not known[key]:
                columns, values = columns_of(kind, key, text or "")
                made = table(**dict(zip(columns, values, strict=True)))
                tools.add(made)
                await tools.flush()
                self._ids[kind, key] = made.id or 0
                continue
            found = await tools.get(table, self._ids[kind, key])
            if text is None:
                await tools.delete(found)
            else:
                setattr(found, TEXT_COLUMNS[kind], text)

    @override
    async def finish(self) -> None:
        """Closes the engine."""
        await self._engine.dispose()


class ApiWriter:
    """POST /api/v1/messages. What is not acknowledged is sent again under the same id until it is."""

    name = "api"

    def __init__(self, url: str, chance: random.Random, expected: Expected) -> None:
        self.chance = chance
        self.expected = expected
        self.texts = Texts(self.name, chance)
        self._http = httpx.AsyncClient(base_url=url, timeout=20, trust_env=False)
        self._numbers = itertools.count(1)
        self._again: list[list[dict[str, str]]] = []

    async def step(self) -> None:
        """One request."""
        if self._again and self.chance.random() < 0.5:
            await self._send(self._again.pop(0))
            return
        await self._send([self._message() for _ in range(self.chance.choice((1, 1, 2, 5)))])

    def _message(self) -> dict[str, str]:
        number = next(self._numbers)
        talks = self.chance.random() < 0.4
        text = self.chance.choice(TALK).format(n=number) if talks else self.texts.next(Kind.MESSAGES)
        return {"channel": f"#{'talk' if talks else 'noise'}", "external_id": f"api {number}", "text": text}

    async def _send(self, messages: list[dict[str, str]]) -> None:
        for message in messages:
            self.expected.perhaps(Kind.MESSAGES, message["external_id"], message["text"])
        try:
            answer = await self._http.post("/api/v1/messages", json=messages)
        except httpx.HTTPError:
            answer = None
        if answer is None or answer.status_code >= 500:
            self.expected.done["sent again"] += 1
            self._again.append(messages)
            return
        assert answer.status_code in (200, 201), answer.text
        for message in messages:
            self.expected.certainly(Kind.MESSAGES, message["external_id"], message["text"])
            self.expected.done["written"] += 1

    async def finish(self) -> None:
        """Sends until all is acknowledged."""
        try:
            async with asyncio.timeout(60):
                while self._again:
                    await self._send(self._again.pop(0))
                    await asyncio.sleep(0.1)
        finally:
            await self._http.aclose()


def columns_of(kind: Kind, key: str, text: str) -> tuple[list[str], list[Any]]:
    """A new row's columns and values."""
    if kind == Kind.MESSAGES:
        columns = ["source", "channel", "external_id", "text", "sent_at"]
        return columns, ["chaos", "#chaos", key, text, datetime.now(UTC)]
    if kind == Kind.TOPICS:
        return ["name", "description"], [key, text]
    type_, _, title = key.partition(" ")
    return ["type", "title", "content"], [type_, title, text]


def body_of(kind: Kind, key: str, text: str | None) -> str | None:
    """The embedded text of a row."""
    if text is None or kind == Kind.MESSAGES:
        return text
    if kind == Kind.TOPICS:
        return f"{key}\n{text}"
    return f"{key.partition(' ')[2]}\n{text}"
