"""Whatever is sent, only 2xx and 4xx leave; what was valid is stored, and other callers are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, winnow_over
from winnow.api import limits, server
from winnow.api.server import listen, serve_api, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from plugins.nats import NatsServer

MESSAGES = "/api/v1/messages"
JSON = {"Content-Type": "application/json"}
MEGABYTE = 1_000_000
NAMES = ("channel", "author", "reply_to", "thread")


@asynccontextmanager
async def served(database_url: str, nats_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API inside the test, over the test's servers."""
    stop, bound = asyncio.Event(), listen("127.0.0.1", 0)
    bound.listen()
    async with winnow_over(database_url, nats_url, model=SteeredEmbedder(), **settings) as winnow:
        serving = asyncio.create_task(serve_api(winnow, bound, stop), name="the API in the test")
        try:
            async with httpx.AsyncClient(base_url=url_of(bound), timeout=60, trust_env=False) as http:
                yield http
        finally:
            stop.set()
            await serving


@pytest.fixture
async def http(database_url: str, nats_server: NatsServer) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database_url, nats_server.url) as client:
        yield client


def message(number: int | str = 1, text: str = "hello", **values: Any) -> dict[str, Any]:
    return {"channel": "#hostile", "external_id": str(number), "author": "ann", "text": text, **values}


def port_of(http: httpx.AsyncClient) -> int:
    assert http.base_url.port is not None
    return http.base_url.port


ODD_TEXTS = {
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u200f\u0645\u0631\u062d\u0628\u0627 \u202eevil\u202c",
    "combining marks": "e" + "\u0301" * 9_000,
    "blank lines": "\n" * 90_000 + "the end",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "SQL": "'); DROP TABLE messages; --\\",
    "format strings": "%s %(id)s {0} ${HOME} $1 :name",
    "joined emoji": "👩‍👩‍👧‍👦🏳️‍🌈",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u2029\ufeff\ufffe\uffff",
    "astral": "𝕳𝖊𝖑𝖑𝖔 \U0010ffff",
    "one long word": "x" * 100_000,
}


async def test_odd_texts_come_back_as_they_were_in_every_field(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    given = [
        message(f"{name} {text[:200]}", text, **dict.fromkeys(NAMES, f"#{text[:200]}"))
        for name, text in ODD_TEXTS.items()
    ]
    answer = await http.post(MESSAGES, json=given)
    assert (answer.status_code, answer.json()["stored"]) == (201, len(given)), answer.text
    names = (*NAMES, "external_id", "text")
    stored = [dict(row) for row in await sql.fetch(f"SELECT {', '.join(names)} FROM messages ORDER BY id")]
    assert stored == [{name: item[name] for name in names} for item in given]
    for item in given:
        found = await http.get(MESSAGES, params={"channel": item["channel"]})
        assert [one["text"] for one in found.json()["items"]] == [item["text"]]


async def test_what_postgresql_cannot_hold_becomes_the_replacement_character(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    assert (await http.post(MESSAGES, json=message(text="a\x00b", author="\x00"))).status_code == 201
    assert dict(await sql.fetchrow("SELECT text, author FROM messages")) == {"text": "a\ufffdb", "author": "\ufffd"}


async def test_in_a_list_each_message_answers_for_itself(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    bad: dict[str, dict[str, Any]] = {
        "text: ": message(text="x" * 100_001),
        "channel: ": message(channel="c" * 257),
        "external_id: ": message("i" * 257),
        "sent_at: ": message(sent_at="2026-02-30T00:00:00Z"),
        "sent_at: write it like": message(sent_at="2026-01-01T00:00:00+99:99"),
        "sent_at: write": message(sent_at=1_711_930_000),
        "sent_at: it says it was sent on 9999-12-31": message(sent_at="9999-12-31T23:59:59-12:00"),
        "author: ": message(author=["ann"]),
        "extra: ": message(extra={"a": 1}),
    }
    wrong_shapes: list[Any] = [None, 5, "text", [], [[]], {}]
    given = [message(1), *bad.values(), *wrong_shapes, message(2)]
    answer = await http.post(MESSAGES, json=given)
    assert answer.status_code == 207
    told = answer.json()
    assert (told["stored"], len(told["refused"])) == (2, len(bad) + len(wrong_shapes))
    assert [one["index"] for one in told["refused"]] == list(range(1, len(given) - 1))
    for words, one in zip(bad, told["refused"], strict=False):
        assert words in one["reason"], one
    assert await sql.fetchval("SELECT count(*) FROM messages") == 2


async def test_a_lone_surrogate_is_told_and_its_neighbours_are_stored(http: httpx.AsyncClient) -> None:
    body = json.dumps([message(1, "\ud800"), message(2)])
    answer = await http.post(MESSAGES, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["stored"]) == (207, 1), answer.text
    assert "text: " in answer.json()["refused"][0]["reason"]


NESTED = 10_000
BAD_BODIES = {
    "nested arrays": b"[" * NESTED + b"]" * NESTED,
    "nested objects": b'{"text":' * NESTED + b"1" + b"}" * NESTED,
    "nested in a field": b'{"channel":"c","text":' + b"[" * NESTED + b"]" * NESTED + b"}",
    "invalid UTF-8": b'{"channel":"c","text":"\xff\xfe"}',
    "cut off": json.dumps(message()).encode()[:-5],
    "a huge number": b'{"channel":"c","text":' + b"9" * 100_000 + b"}",
    "not a number": b'{"channel":"c","text":NaN}',
    "empty": b"",
    "null": b"null",
    "binary": bytes(range(256)) * 40,
    "gzip": b"\x1f\x8b\x08\x00" + bytes(200),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_body_that_cannot_be_read_is_a_4xx(name: str, http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    answer = await http.post(MESSAGES, content=BAD_BODIES[name], headers=JSON)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.content) < 2000
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json\x7f", "", "a/b;" * 500],
)
async def test_another_content_type_is_told(content_type: str, http: httpx.AsyncClient) -> None:
    answer = await http.post(MESSAGES, content=json.dumps(message()), headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert len(answer.json()["detail"]) < 300


async def test_a_message_of_one_megabyte_and_one_of_fifty_are_told_their_limits(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    one = await http.post(MESSAGES, json=message(text="x" * MEGABYTE))
    assert (one.status_code, "100000 or fewer characters" in one.json()["detail"]) == (422, True), one.text
    fifty = await http.post(MESSAGES, json=message(text="x" * 50 * MEGABYTE))
    assert (fifty.status_code, "5,000,000 bytes" in fifty.json()["detail"]) == (413, True)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * MEGABYTE

    chunked = await http.post(MESSAGES, content=chunks(), headers=JSON)
    assert chunked.status_code == 413
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0
    assert (await http.post(MESSAGES, json=message())).status_code == 201


async def test_slow_callers_are_sent_away_and_hold_nobody_up(
    database_url: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 1.0)
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    async with served(database_url, nats_server.url, api_concurrency=2) as http:
        slow_heads = [await connected(http, b"GET / HT") for _ in range(20)]
        slow_bodies = [
            await connected(http, b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
            for _ in range(20)
        ]
        assert (await http.post(MESSAGES, json=message())).status_code == 201
        for reader, writer in slow_bodies:
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 408 ")
            writer.close()
        for reader, writer in slow_heads:
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()


async def connected(http: httpx.AsyncClient, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(http))
    writer.write(sent)
    return reader, writer


async def test_a_head_that_drips_on_a_connection_in_use_is_cut_off_too(
    database_url: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    async with served(database_url, nats_server.url) as http:
        reader, writer = await connected(http, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        end = asyncio.create_task(reader.read(), name="until it is closed")
        async with asyncio.timeout(10):
            while not end.done():
                writer.write(b"X")
                await asyncio.sleep(0.1)
        writer.close()
        with suppress(ConnectionError):  # what we sent last met a closed door
            assert await end == b""
            await writer.wait_closed()


async def test_who_does_not_read_its_answers_holds_nobody_up_and_is_cut_off(
    database_url: str, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_SECONDS", 1.0)
    asking = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200
    loop = asyncio.get_running_loop()
    async with served(database_url, nats_server.url, api_concurrency=2) as http:
        with ExitStack() as stack:
            deaf = [stack.enter_context(socket.socket()) for _ in range(8)]
            for own in deaf:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                own.setblocking(False)
                await loop.sock_connect(own, ("127.0.0.1", port_of(http)))
                await loop.sock_sendall(own, asking)
            for number in range(20):
                assert (await http.post(MESSAGES, json=message(number))).status_code == 201
            await asyncio.sleep(1.5)
            async with asyncio.timeout(10):
                for own in deaf:
                    with suppress(ConnectionError):
                        while await loop.sock_recv(own, 65_536):
                            pass


async def test_callers_that_go_away_leave_nothing_behind(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    body = json.dumps([message(number) for number in range(500)]).encode()
    lines = (
        f"POST {MESSAGES} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
    )
    head = "\r\n".join([*lines, "", ""])
    for sent in (0, 1, len(body) // 2, len(body)):
        for _ in range(5):
            _, writer = await connected(http, head.encode() + body[:sent])
            await writer.drain()
            writer.transport.abort()
    answer = await http.post(MESSAGES, content=body, headers=JSON)
    assert answer.status_code in {200, 201}
    assert await sql.fetchval("SELECT count(*) FROM messages") == 500
    assert (await http.get("/health/ready")).status_code == 200


async def test_more_at_once_than_there_is_room_for_wait_their_turn(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection
) -> None:
    async with served(database_url, nats_server.url, api_concurrency=2) as http:
        sending = [http.post(MESSAGES, json=message(number)) for number in range(200)]
        asking = [http.get("/api/v1/search", params={"q": "hello"}) for _ in range(50)]
        answers = await asyncio.gather(*sending, *asking)
    assert {answer.status_code for answer in answers} == {200, 201}
    assert await sql.fetchval("SELECT count(*) FROM messages") == 200


async def test_who_gets_no_turn_is_told_to_come_again(
    database_url: str, nats_server: NatsServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SLOT_SECONDS", 0.2)
    async with served(database_url, nats_server.url, api_concurrency=1) as http:
        async with sql.transaction():
            await sql.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
            first = asyncio.create_task(http.post(MESSAGES, json=message(1)))
            await asyncio.sleep(0.2)
            second = await http.post(MESSAGES, json=message(2))
            assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
            assert (await http.get("/health/live")).status_code == 200
        assert (await first).status_code == 201


async def test_an_object_of_very_many_members_costs_little(http: httpx.AsyncClient) -> None:
    many = "{" + ",".join(f'"k{number}":1' for number in range(300_000)) + "}"
    for body in (many, f"[{many}]"):
        answer = await http.post(MESSAGES, content=body, headers=JSON)
        assert (answer.status_code, "300,000 members" in answer.json()["detail"]) == (422, True)
        assert len(answer.content) < 1000


async def test_very_much_at_once_is_refused_before_memory_is(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODIES_AT_ONCE", 0.1)
    answer = await http.post(MESSAGES, json=message(text="x" * 2 * MEGABYTE))
    assert answer.status_code == 429
    assert (await http.post(MESSAGES, json=message())).status_code == 201, "what was held is let go"


async def test_no_other_site_may_read_or_frame_anything(http: httpx.AsyncClient) -> None:
    for answer in (
        await http.get("/", headers={"Origin": "https://elsewhere.example"}),
        await http.options(MESSAGES, headers={"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}),
        await http.get("/api/v1/nothing"),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "server" not in answer.headers


async def test_one_callers_poison_is_not_paid_for_by_another(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await sql.execute("ALTER TABLE messages ADD CONSTRAINT no_poison CHECK (text <> 'poison')")
    texts = ["poison" if number == 7 else f"text {number}" for number in range(20)]
    answers = await asyncio.gather(*(http.post(MESSAGES, json=message(n, text)) for n, text in enumerate(texts)))
    assert [answer.status_code for answer in answers].count(201) == 19
    assert answers[7].status_code == 500
    assert await sql.fetchval("SELECT count(*) FROM messages") == 19
