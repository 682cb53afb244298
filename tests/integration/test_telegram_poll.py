"""Polling loses nothing: an update is settled with Telegram only once it is committed, whatever fails in between."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from typing_extensions import override

from plugins.telegram_server import TOKEN
from winnow.errors import DatabaseUnavailable, TelegramRefused, WebhookSet
from winnow.pipeline import telegram_poll
from winnow.pipeline.telegram import TelegramUpdates
from winnow.pipeline.telegram_poll import Polled, poll
from winnow.sources.telegram_api import BotApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from plugins.telegram_server import TelegramServer
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telegram_poll, "LONGEST_PAUSE_SECONDS", 0.05)


@pytest.fixture
async def updates(database: Database, units: UnitsOfWork) -> AsyncIterator[TelegramUpdates]:
    updates = TelegramUpdates(units=units, database=database, chats=frozenset())
    yield updates
    await updates.close()


@asynccontextmanager
async def polling(
    server: TelegramServer, updates: TelegramUpdates, *, wait_seconds: int = 50, token: str = TOKEN
) -> AsyncIterator[tuple[asyncio.Task[Polled], list[str]]]:
    """A polling inside the test, stopped at the end, and the troubles it told of."""
    api, stop, troubles = BotApi(url=server.url, token=SecretStr(token)), asyncio.Event(), list[str]()

    def report(polled: Polled) -> None:
        if polled.trouble:
            troubles.append(polled.trouble.reason)

    task = asyncio.create_task(poll(api, updates, stop, report=report, wait_seconds=wait_seconds), name="poll")
    try:
        yield task, troubles
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110 - the database and another thread are looked at
            await asyncio.sleep(0.02)


async def until(sql: asyncpg.Connection, count: int) -> None:
    async def there() -> bool:
        return bool(await sql.fetchval("SELECT count(*) FROM messages") >= count)

    await eventually(there)


async def settled(server: TelegramServer) -> None:
    async def nothing_waits() -> bool:
        return not server.waiting

    await eventually(nothing_waits)


async def test_what_waits_and_what_comes_is_stored_in_its_order_and_settled(
    telegram_server: TelegramServer, updates: TelegramUpdates, sql: asyncpg.Connection
) -> None:
    for number in range(150):
        telegram_server.say(f"text {number}")
    telegram_server.give(poll_answer={"poll_id": "1"})
    async with polling(telegram_server, updates) as (task, troubles):
        await until(sql, 150)
        telegram_server.say("the last")
        await until(sql, 151)
        await settled(telegram_server)
    assert (await task).outcomes == {"new": 151, "other_kind": 1}
    texts = [row["text"] for row in await sql.fetch("SELECT text FROM messages ORDER BY id")]
    assert texts == [*(f"text {number}" for number in range(150)), "the last"]
    assert troubles == []


async def test_bad_weather_at_telegrams_is_waited_for(
    telegram_server: TelegramServer, updates: TelegramUpdates, sql: asyncpg.Connection
) -> None:
    telegram_server.retry_after = 1
    telegram_server.fail_next("down", "broken", "busy", "dropped", "cut", "another_asks", "nonsense", "strange")
    telegram_server.say()
    async with polling(telegram_server, updates) as (_, troubles):
        await until(sql, 1)
    assert len(troubles) == 8
    assert TOKEN not in "".join(troubles)


async def test_an_update_is_asked_for_again_until_it_is_committed(
    telegram_server: TelegramServer,
    updates: TelegramUpdates,
    database: Database,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = telegram_server.say()
    with monkeypatch.context() as patch:
        patch.setattr(database, "autocommit", _away)
        async with polling(telegram_server, updates) as (_, troubles):

            async def tried() -> bool:
                return len(troubles) >= 3

            await eventually(tried)
    assert {call.get("offset") for call in telegram_server.called("getUpdates")} == {None}
    assert telegram_server.waiting == [given]
    async with polling(telegram_server, updates):
        await until(sql, 1)
        await settled(telegram_server)


def _away() -> None:
    raise DatabaseUnavailable


async def test_what_a_killed_process_had_stored_comes_again_and_changes_nothing(
    telegram_server: TelegramServer, updates: TelegramUpdates, sql: asyncpg.Connection
) -> None:
    given = telegram_server.say()
    assert await updates.take([given]) == ["new"]
    async with polling(telegram_server, updates) as (task, _):
        await settled(telegram_server)
    assert (await task).outcomes == {"known": 1}
    assert await sql.fetchval("SELECT count(*) FROM messages") == 1


async def test_one_message_that_the_database_refuses_keeps_no_other_out_and_is_counted(
    updates: TelegramUpdates, telegram_server: TelegramServer, sql: asyncpg.Connection
) -> None:
    await sql.execute("ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> 'poison')")
    for text in ("good", "poison", "fine"):
        telegram_server.say(text)
    async with polling(telegram_server, updates) as (task, _):
        await settled(telegram_server)
        telegram_server.say("poison")
        telegram_server.say("after it")
        await until(sql, 3)
        await settled(telegram_server)
    assert (await task).outcomes == {"new": 3, "refused": 2}
    await updates.close()
    texts = [row["text"] for row in await sql.fetch("SELECT text FROM messages ORDER BY id")]
    assert texts == ["good", "fine", "after it"]
    assert await sql.fetchval("SELECT value FROM counters WHERE name = 'telegram.ignored.refused'") == 2


async def test_half_an_emoji_is_no_bad_weather_for_ever(
    updates: TelegramUpdates, telegram_server: TelegramServer, sql: asyncpg.Connection
) -> None:
    telegram_server.say("cut \ud83d")
    async with polling(telegram_server, updates):
        await until(sql, 1)
        await settled(telegram_server)


async def test_a_database_that_is_set_up_wrongly_loses_no_message(
    updates: TelegramUpdates, telegram_server: TelegramServer, sql: asyncpg.Connection
) -> None:
    given = telegram_server.say()
    await sql.execute("ALTER TABLE messages RENAME TO elsewhere")
    async with polling(telegram_server, updates) as (task, _):
        with pytest.raises(Exception, match="messages"):
            await task
    assert telegram_server.waiting == [given]


async def test_a_clock_that_runs_ahead_makes_no_message_the_newest_for_ever(
    updates: TelegramUpdates, telegram_server: TelegramServer, sql: asyncpg.Connection
) -> None:
    ahead = int(datetime(2900, 1, 1, tzinfo=UTC).timestamp())
    edited = telegram_server.say("edited", kind="edited_message", edit_date=ahead)
    assert await updates.take([telegram_server.say(date=ahead), edited, telegram_server.say("now")]) == [
        "still_to_come",
        "still_to_come",
        "new",
    ]
    assert await sql.fetchval("SELECT text FROM messages") == "now"


async def test_a_webhook_or_a_wrong_token_ends_it_with_a_sentence(
    telegram_server: TelegramServer, updates: TelegramUpdates
) -> None:
    async with polling(telegram_server, updates, token=TOKEN[:-1] + "x") as (task, _):
        with pytest.raises(TelegramRefused, match="@BotFather"):
            await task
    telegram_server.webhook = {"url": "https://bot.example"}
    async with polling(telegram_server, updates) as (task, _):
        with pytest.raises(WebhookSet, match="winnow telegram delete"):
            await task


async def test_it_ends_at_once_when_told_while_telegram_keeps_it_waiting(
    telegram_server: TelegramServer, updates: TelegramUpdates
) -> None:
    async with polling(telegram_server, updates, wait_seconds=50) as (task, _):
        await asyncio.to_thread(telegram_server.asked.wait, 30)
    async with asyncio.timeout(20):
        assert (await task).outcomes == {}


async def test_updates_without_numbers_are_weather(
    telegram_server: TelegramServer, updates: TelegramUpdates, sql: asyncpg.Connection
) -> None:
    answer: list[Any] = [{"message": {}}, 5]

    class Strange(BotApi):
        @override
        async def updates(self, **_: Any) -> list[object]:
            return answer

    api, stop, troubles = Strange(url=telegram_server.url, token=SecretStr(TOKEN)), asyncio.Event(), list[str]()

    def report(polled: Polled) -> None:
        troubles.append(polled.trouble.reason if polled.trouble else "")
        stop.set()

    await poll(api, updates, stop, report=report)
    await api.close()
    assert troubles == ["Telegram's server gives updates without numbers"]
