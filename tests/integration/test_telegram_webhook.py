"""What Telegram sends is committed before it is told so, whatever comes twice, late, broken or from somebody else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, winnow_over
from plugins.telegram_server import CHAT, PERSON, TOKEN
from winnow.api import limits
from winnow.api.server import listen, serve_api, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.nats import NatsServer

WEBHOOK = "/api/v1/webhooks/telegram"
SECRET = "a_secret-of-this-test"
HEADER = "X-Telegram-Bot-Api-Secret-Token"
DATE = 1767225600


@asynccontextmanager
async def served(database_url: str, nats_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API inside the test, called as Telegram does: by a public name, with the secret."""
    stop, bound = asyncio.Event(), listen("127.0.0.1", 0)
    bound.listen()
    given = {"telegram_secret": SECRET} | settings
    async with winnow_over(database_url, nats_url, model=SteeredEmbedder(), **given) as winnow:
        serving = asyncio.create_task(serve_api(winnow, bound, stop), name="the API in the test")
        try:
            headers = {HEADER: SECRET, "Host": "bot.example"}
            async with httpx.AsyncClient(base_url=url_of(bound), headers=headers, timeout=60, trust_env=False) as http:
                yield http
        finally:
            stop.set()
            await serving


@pytest.fixture
async def http(database_url: str, nats_server: NatsServer) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database_url, nats_server.url) as client:
        yield client


def update(number: int = 1, text: str | None = "hello", *, kind: str = "message", **values: Any) -> dict[str, Any]:
    message = {"message_id": number, "date": DATE, "chat": CHAT, "from": PERSON, "text": text} | values
    return {"update_id": 1000 + number, kind: message}


async def outcome(http: httpx.AsyncClient, given: dict[str, Any]) -> str:
    answer = await http.post(WEBHOOK, json=given)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["outcome"])


@asynccontextmanager
async def away(database_url: str, sql: asyncpg.Connection) -> AsyncIterator[None]:
    """The database lets nobody in, and has thrown out all but us."""
    name = await sql.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(database_url.replace(f"/{name}?", "/postgres?"))
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    ours = await sql.fetchval("SELECT pg_backend_pid()")
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> $2"
    await admin.execute(ending, name, ours)
    try:
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()


async def counted(sql: asyncpg.Connection) -> dict[str, int]:
    rows = await sql.fetch("SELECT name, value FROM counters WHERE name LIKE 'telegram.%'")
    return {row["name"].removeprefix("telegram.ignored."): row["value"] for row in rows}


async def test_a_message_is_committed_when_telegram_is_answered(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    given = update(7, "We ship on Friday.", message_thread_id=4, is_topic_message=True)
    assert await outcome(http, given) == "new"
    row = await sql.fetchrow("SELECT * FROM messages")
    assert (row["source"], row["channel"], row["external_id"]) == ("telegram", "-1001234567890", "7")
    assert (row["author"], row["author_id"], row["text"], row["thread"]) == (
        "Ana Ng",
        "user42",
        "We ship on Friday.",
        "4",
    )
    assert await sql.fetchval("SELECT title FROM channels") == "Backend"
    assert await sql.fetchval("SELECT count(*) FROM extraction_queue") == 1


async def test_who_does_not_know_the_secret_is_refused_before_a_body_is_read(
    http: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DISCARD_SECONDS", 0.2)
    for wrong in ("", SECRET[:-1], SECRET + "x", "ä"):
        answer = await http.post(WEBHOOK, content=b"{no json", headers={HEADER.encode(): wrong.encode()})
        assert (answer.status_code, HEADER in answer.json()["detail"]) == (403, True)
        assert SECRET not in answer.text
    del http.headers[HEADER]
    for path in (WEBHOOK, f"{WEBHOOK}%0A", f"{WEBHOOK}/"):
        assert (await http.post(path, json=update())).status_code in {403, 404, 421}, path
    assert (await http.get(WEBHOOK)).status_code == 403
    reader, writer = await asyncio.open_connection("127.0.0.1", http.base_url.port)
    writer.write(f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{{".encode())
    assert (await asyncio.wait_for(reader.read(4096), 30)).startswith(b"HTTP/1.1 403 ")
    writer.close()
    await writer.wait_closed()
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


async def test_only_the_webhook_answers_to_a_public_name(http: httpx.AsyncClient) -> None:
    assert await outcome(http, update()) == "new"
    for path in ("/api/v1/status", "/", "/api/v1/messages", "/api/v1/webhooks"):
        assert (await http.get(path)).status_code == 421, path
    local = {"Host": "localhost"}
    assert (await http.get("/api/v1/status", headers=local)).status_code == 200


async def test_with_api_keys_the_webhook_asks_for_its_secret_alone(database_url: str, nats_server: NatsServer) -> None:
    async with served(database_url, nats_server.url, api_keys="always") as http:
        assert await outcome(http, update()) == "new"
        assert (await http.post("/api/v1/messages", json={})).status_code == 401
        assert (await http.post(f"{WEBHOOK}%0A", json=update(2))).status_code in {401, 403}
        assert (await http.get(WEBHOOK)).status_code == 405


async def test_the_secret_follows_from_the_token_and_without_either_there_is_no_webhook(
    database_url: str, nats_server: NatsServer
) -> None:
    follows = hmac.new(TOKEN.encode(), b"winnow telegram webhook", hashlib.sha256).hexdigest()
    async with served(database_url, nats_server.url, telegram_secret=None, telegram_token=TOKEN) as http:
        assert (await http.post(WEBHOOK, json=update())).status_code == 403
        http.headers[HEADER] = follows
        assert await outcome(http, update()) == "new"
    async with served(database_url, nats_server.url, telegram_secret=None) as http:
        answer = await http.post(WEBHOOK, json=update())
        assert (answer.status_code, "WINNOW_TELEGRAM_TOKEN" in answer.json()["detail"]) == (404, True)


async def test_what_comes_twice_or_late_or_edited_is_taken_for_what_it_is(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    edit = update(1, "hello, all", kind="edited_message", edit_date=DATE + 60)
    late = update(2, "the second text", kind="edited_message", edit_date=DATE + 60)
    assert [await outcome(http, update(1)) for _ in range(3)] == ["new", "known", "known"]
    assert await outcome(http, edit) == "edited"
    assert await outcome(http, late) == "new", "the edit came before the message"
    assert await outcome(http, update(2, "the first text")) == "older"
    assert await outcome(http, late) == "known"
    assert await sql.fetchval("SELECT count(*) FROM messages") == 2
    assert await sql.fetchval("SELECT text FROM messages WHERE external_id = '2'") == "the second text"


async def test_what_was_deleted_in_a_business_chat_is_gone(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    chat = {"id": 42, "type": "private", "first_name": "Ana"}
    said = update(7, kind="business_message", business_connection_id="AbC", chat=chat)
    gone = {"business_connection_id": "AbC", "chat": chat, "message_ids": [7, 8]}
    assert await outcome(http, said) == "new"
    assert [await outcome(http, {"update_id": 9, "deleted_business_messages": gone}) for _ in range(2)] == [
        "deleted", "deleted",
    ]  # fmt: skip
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0
    assert await outcome(http, said) == "forgotten"


async def test_what_is_no_message_is_200_and_counted_by_its_reason(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    await sql.execute("INSERT INTO channels (source, channel, mode) VALUES ('telegram', '7', 'off')")
    async with served(database_url, nats_server.url, telegram_chats="-1001234567890, 7") as http:
        given = [
            *[{"update_id": number, "poll_answer": {"poll_id": "1"}} for number in range(30)],
            {"update_id": 40, "something_new": {}},
            {"update_id": 41, "message": {"some fields": "are missing"}},
            update(42, text=None, photo=[]),
            update(43, text=None, left_chat_member=PERSON),
            update(44, chat={"id": 99, "type": "private"}),
            update(45, chat={"id": 7, "type": "private"}),
            update(46, "x" * 100_001),
        ]
        found = await asyncio.gather(*(outcome(http, one) for one in given))
        writes = await sql.fetchval("SELECT xmin::text FROM counters WHERE name = 'telegram.ignored.other_kind'")
    assert await counted(sql) == {
        "other_kind": 31, "unreadable": 1, "no_text": 1, "service": 1, "other_chat": 1, "off": 1, "too_long": 1,
    }  # fmt: skip
    assert writes is None, "thirty of a second are counted together, a second later"
    assert set(found) == set(await counted(sql))
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
async def test_a_body_that_is_no_update_is_a_bad_request(body: bytes, http: httpx.AsyncClient) -> None:
    answer = await http.post(WEBHOOK, content=body)
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")


async def test_half_an_emoji_keeps_no_message_out(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    body = json.dumps(update(text="cut \ud83d")).encode()
    assert (await http.post(WEBHOOK, content=body)).json() == {"outcome": "new"}
    assert await sql.fetchval("SELECT text FROM messages") == "cut \ufffd"


async def test_a_body_that_is_too_large_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post(WEBHOOK, json=update(text="x" * 6_000_000))).status_code == 413


async def test_many_at_once_are_committed_together(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    async with sql.transaction():
        await sql.execute("LOCK TABLE messages IN SHARE MODE")
        sending = [asyncio.create_task(outcome(http, update(number))) for number in range(1, 61)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in sending), "nobody is answered before the commit"
    assert set(await asyncio.gather(*sending)) == {"new"}
    assert await sql.fetchval("SELECT count(*) FROM messages") == 60
    assert await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM messages") < 10


async def test_while_the_database_is_away_telegram_is_asked_to_send_again(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    async with served(database_url, nats_server.url) as http:
        async with away(database_url, sql):
            answer = await http.post(WEBHOOK, json=update())
            assert await outcome(http, {"update_id": 1, "poll": {}}) == "other_kind"
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), answer.text
        assert await outcome(http, update()) == "new"
    assert await counted(sql) == {"other_kind": 1}


async def test_a_group_that_becomes_a_supergroup_is_followed(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    old, new = {"id": -599, "type": "group", "title": "Ops"}, {"id": -1001555, "type": "supergroup", "title": "Ops"}
    async with served(database_url, nats_server.url, telegram_chats="-599") as http:
        assert await outcome(http, update(1, chat=old)) == "new"
        assert await outcome(http, update(2, chat=new)) == "other_chat"
        await sql.execute("UPDATE channels SET local_only = true, keep_days = 30000 WHERE channel = '-599'")
        assert await outcome(http, update(3, None, chat=old, migrate_to_chat_id=-1001555)) == "migrated"
        row = await sql.fetchrow("SELECT title, local_only, keep_days FROM channels WHERE channel = '-1001555'")
        assert tuple(row) == ("Ops", True, 30000)
        assert await outcome(http, update(4, chat=new)) == "new"
        assert await outcome(http, update(5, chat={"id": -7, "type": "group"})) == "other_chat"
