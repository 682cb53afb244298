"""What the database refuses reaches people as a sentence that says what to do, and never with a row's text in it."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from plugins.jetstream import eventually
from plugins.pipeline import incoming
from winnow.domain.jobs import Lane
from winnow.errors import DatabaseBusy, DatabaseUnavailable, SetupFault
from winnow.pipeline.ingest import ingest
from winnow.pipeline.sweep import Sweeper
from winnow.storage.engine import Database
from winnow.storage.migrate import migrate, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from winnow.storage.unit_of_work import UnitsOfWork

MARKER = "the-salary-of-ann"
CONNECT_REFUSALS = [
    ("28P01", 'password authentication failed for user "ann"', SetupFault, "does not let Winnow in"),
    ("28000", "no pg_hba.conf entry for host", SetupFault, "check DATABASE_URL"),
    ("3D000", 'database "nope" does not exist', SetupFault, "check DATABASE_URL"),
    ("57P03", "the database system is starting up", DatabaseUnavailable, "try again in a moment"),
    ("53300", "sorry, too many clients already", DatabaseUnavailable, "try again in a moment"),
    ("08006", "the pooler has lost its server", DatabaseUnavailable, "is it up, and is DATABASE_URL right"),
]


@asynccontextmanager
async def refusing_server(code: str, message: str) -> AsyncIterator[str]:
    """A server that answers every start-up message with this error; yields its URL."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        fields = b"".join(
            kind + value.encode() + b"\0"
            for kind, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message))
        )
        writer.write(b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://ann:secret@127.0.0.1:{port}/nope?sslmode=disable"


async def ask(url: str) -> None:
    database = Database(url, pool_size=1)
    try:
        await database.count("anything")
    finally:
        await database.close()


@pytest.mark.parametrize(("code", "message", "error", "advice"), CONNECT_REFUSALS)
@pytest.mark.parametrize("call", [ask, migrate, require_newest])
async def test_a_refusal_at_connect_is_weather_or_a_wrong_set_up_with_the_server_s_words(
    code: str, message: str, error: type[Exception], advice: str, call: Any
) -> None:
    async with refusing_server(code, message) as url:
        with pytest.raises(error, match=advice) as caught:
            await call(url)
    sentence = str(caught.value)
    assert message in sentence
    assert "Background on this error" not in sentence
    assert "asyncpg" not in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize("call", [ask, migrate, require_newest])
async def test_a_database_or_an_account_that_is_not_there_is_a_wrong_set_up(call: Any, database_url: str) -> None:
    missing = database_url.replace("/test_", "/nope_")
    with pytest.raises(SetupFault, match=r'let Winnow in \(database "nope_\w+" does not exist\); check DATABASE_URL$'):
        await call(missing)
    with pytest.raises(SetupFault, match=r'\(role "nobody" does not exist\); check DATABASE_URL$'):
        await call(database_url.replace("winnow@", "nobody@"))


async def test_an_address_with_a_word_the_driver_does_not_know_is_a_wrong_set_up(database_url: str) -> None:
    with pytest.raises(SetupFault, match="check DATABASE_URL"):
        await ask(f"{database_url}&sslmode=perhaps")


async def test_a_server_of_the_wrong_kind_is_waited_for(database_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        await ask(f"{database_url}&target_session_attrs=standby")


async def test_an_exhausted_pool_is_busy(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    database._engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    async with database.autocommit(), database.autocommit():
        with pytest.raises(DatabaseBusy, match=r"all its database connections in use; try again in a moment$"):
            await database.count("anything")
    await database.close()


async def test_a_lock_that_does_not_come_is_busy(database: Database, sql: asyncpg.Connection) -> None:
    await sql.execute(f"ALTER DATABASE {await sql.fetchval('SELECT current_database()')} SET lock_timeout = '50ms'")
    async with sql.transaction():
        await sql.execute("LOCK TABLE counters IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusy, match=r"in the way \(canceling .* lock timeout\); try again in a moment"):
            await database.count("anything")


class _Tools(SimpleNamespace):
    """Tools of which nothing but the database is used before it answers."""

    def __getattr__(self, _name: str) -> None:
        return None


async def test_the_sweeper_outlives_a_password_that_is_wrong_for_a_while(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.pipeline.sweep.TROUBLE_PAUSE_SECONDS", 0.01)
    stop = asyncio.Event()
    async with refusing_server("28P01", "password authentication failed") as url:
        database = Database(url, pool_size=1)
        tools: Any = _Tools(database=database)
        sweeper = Sweeper(tools)
        sweeping = asyncio.create_task(sweeper.sweep_forever(stop))
        await eventually(lambda: sweeper._trouble)
        assert not sweeping.done()
        stop.set()
        await sweeping
        await database.close()


# -- what people wrote


def everything_said_of(error: BaseException) -> str:
    """The error, its causes and all their words, as a log would print them."""
    return "".join(traceback.format_exception(error)) + repr(error)


STATEMENTS: list[tuple[str, Any]] = [
    ("INSERT INTO atoms (type, title, content) VALUES ('none of ours', 'title', $1)", MARKER),  # the row, in DETAIL
    ("INSERT INTO topics (name) SELECT $1::text FROM generate_series(1, 2)", MARKER),  # the key, in DETAIL
    ("SELECT $1::text::int", MARKER),  # the value, in the server's message
    ("SELECT $1::text::vector", MARKER),
    ("SELECT $1::int", MARKER),  # the value, in the driver's message
    ("SELECT $1::text[]", [MARKER, "\ud800"]),
]


@pytest.mark.parametrize(("statement", "value"), STATEMENTS)
async def test_no_error_holds_the_text_of_a_row(statement: str, value: Any, database: Database) -> None:
    async with database.autocommit() as connection:
        with pytest.raises(DBAPIError) as caught:  # before it leaves our own block: somebody may log it there
            await connection.exec_driver_sql(statement, (value,))
    words = everything_said_of(caught.value)
    assert MARKER not in words
    assert statement in words, "what was asked is no secret"


async def test_a_message_that_cannot_be_stored_is_not_in_the_traceback(
    units: UnitsOfWork, sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER TABLE messages ADD CONSTRAINT never CHECK (false)")
    with pytest.raises(DBAPIError, match="violates check constraint") as caught:
        await ingest(units, [incoming(1, MARKER)], lane=Lane.LIVE)
    assert MARKER not in everything_said_of(caught.value)
