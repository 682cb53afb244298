"""Messages are edited, removed and repeated over HTTP, and channels chosen, with answers that say what was done."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, winnow_over
from winnow.api.app import create_app
from winnow.domain.keys import Scope
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from winnow.storage.engine import Database

MESSAGES, FORGET, CHANNELS = "/api/v1/messages", "/api/v1/forget", "/api/v1/channels"
NOWHERE = "nats://127.0.0.1:1"
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


@asynccontextmanager
async def asked(database_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The application without a socket, and without NATS: what is committed stands."""
    async with winnow_over(database_url, NOWHERE, model=SteeredEmbedder(), started=False, **settings) as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as http:
            yield http


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(database_url) as client:
        yield client


def message(number: int, text: str = "we use Redis", **values: Any) -> dict[str, Any]:
    return {"channel": "team", "external_id": str(number), "author": "Ana", "text": text, **values}


async def test_an_edit_is_told_by_its_moment(http: httpx.AsyncClient) -> None:
    first = await http.post(MESSAGES, json=message(1, channel_title="The team", author_id="u1"))
    (row,) = first.json()["ids"]
    refused = await http.post(MESSAGES, json=message(1, "we use Postgres"))
    assert refused.status_code == 409
    assert "edited_at" in refused.json()["detail"]
    edited = await http.post(MESSAGES, json=message(1, "we use Postgres", edited_at=LATE))
    assert (edited.status_code, edited.json()) == (
        200, {"stored": 0, "known": 0, "edited": 1, "ids": [row], "refused": []}
    )  # fmt: skip
    late = [message(1, "we use MySQL", edited_at=EARLY), message(2), message(1, "SQLite")]
    many = await http.post(MESSAGES, json=late)
    assert many.status_code == 200 + 1  # an older edit changes nothing
    assert (many.json()["stored"], many.json()["known"], many.json()["edited"]) == (1, 2, 0)
    shown = (await http.get(MESSAGES, params={"author": "u1"})).json()["items"][0]
    assert (shown["text"], shown["edited_at"], shown["channel_title"]) == ("we use Postgres", LATE, "The team")
    assert shown["state"] == "received", "its new words are scored by the task"
    (other,) = (await http.get(MESSAGES, params={"state": "scored"})).json()["items"]
    assert other["signal"] in {"signal", "weak"}
    assert sum(other["factors"].values()) == pytest.approx(other["importance"], abs=0.01)
    states = [(await http.get(MESSAGES, params={"state": state})).json()["items"] for state in ("received", "noise")]
    assert [len(items) for items in states] == [1, 0]


async def test_a_clock_that_runs_ahead_makes_nothing_the_newest_for_ever(http: httpx.AsyncClient) -> None:
    for when in ({"sent_at": "2900-01-01T00:00:00Z"}, {"edited_at": "2900-01-01T00:00:00Z"}):
        refused = await http.post(MESSAGES, json=message(1, **when))
        assert refused.status_code == 422
        assert "2900-01-01, which is still to come" in refused.json()["detail"]
    many = await http.post(MESSAGES, json=[message(1), message(2, sent_at="2900-01-01T00:00:00Z")])
    assert (many.status_code, [one["index"] for one in many.json()["refused"]]) == (207, [1])
    path = f"{MESSAGES}/{many.json()['ids'][0]}"
    refused = await http.patch(path, json={"text": "other", "edited_at": "2900-01-01T00:00:00Z"})
    assert refused.status_code == 422
    assert (await http.patch(path, json={"text": "we use MySQL"})).status_code == 200


async def test_a_message_is_changed_and_removed_by_its_id(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    (row,) = (await http.post(MESSAGES, json=message(1))).json()["ids"]
    changed = await http.patch(f"{MESSAGES}/{row}", json={"text": "we use Postgres"})
    assert (changed.status_code, changed.json()["text"]) == (200, "we use Postgres")
    again = await http.patch(f"{MESSAGES}/{row}", json={"text": "we use MySQL", "edited_at": EARLY})
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
    assert (await http.patch(f"{MESSAGES}/{row + 1}", json={"text": "x"})).status_code == 404
    assert (await http.patch(f"{MESSAGES}/{row}", json={"text": "x" * 100_001})).status_code == 422
    gone = await http.delete(f"{MESSAGES}/{row}")
    assert (gone.status_code, gone.json()["messages"], gone.json()["ledger_rows"]) == (200, 1, 1)
    assert (await http.delete(f"{MESSAGES}/{row}")).status_code == 404
    back = await http.post(MESSAGES, json=message(1))
    assert (back.status_code, "forgotten" in back.json()["detail"]) == (409, True)
    assert (await http.post(MESSAGES, json=[message(1)])).status_code == 409
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0


async def test_what_is_forgotten_is_said_before_and_after(http: httpx.AsyncClient) -> None:
    await http.post(MESSAGES, json=[message(number, author="Ana" if number % 2 else "Ben") for number in range(6)])
    would = await http.post(FORGET, json={"author": "Ben", "dry_run": True})
    assert (would.json()["messages"], would.json()["dry_run"]) == (3, True)
    done = await http.post(FORGET, json={"author": "Ben", "channel": "team"})
    assert done.json() == would.json() | {"dry_run": False}
    assert (await http.post(FORGET, json={"source": "api", "channel": "team"})).json()["messages"] == 3
    for wrong in ({}, {"channel": "team"}, {"message_ids": [1], "author": "Ben"}, {"author": " "}):
        assert (await http.post(FORGET, json=wrong)).status_code == 422


async def test_a_channel_is_chosen(http: httpx.AsyncClient) -> None:
    await http.post(MESSAGES, json=message(1))
    off = await http.patch(CHANNELS, json={"source": "api", "channel": "team", "mode": "off"})
    assert (off.json()["mode"], off.json()["messages"], off.json()["in_hand"]) == ("off", 1, 0)
    refused = await http.post(MESSAGES, json=[message(2), message(3, channel="else")])
    assert (refused.status_code, refused.json()["refused"][0]["index"]) == (207, 0)
    kept = await http.patch(CHANNELS, json={"source": "api", "channel": "team", "keep_days": 7, "local_only": True})
    assert (kept.json()["mode"], kept.json()["keep_days"], kept.json()["local_only"]) == ("off", 7, True)
    for_ever = await http.patch(CHANNELS, json={"source": "api", "channel": "team", "keep_days": None})
    assert for_ever.json()["keep_days"] is None
    listed = (await http.get(CHANNELS)).json()
    assert {(one["channel"], one["mode"]) for one in listed["items"]} == {("team", "off"), ("else", "on")}
    for wrong in ({}, {"mode": "loud"}, {"keep_days": 0}, {"keep_days": 36_501}):
        assert (await http.patch(CHANNELS, json={"source": "api", "channel": "team"} | wrong)).status_code == 422


async def test_messages_of_a_channel_are_found_by_its_title_too(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    assert (await http.post(MESSAGES, json=message(1))).status_code == 201
    await sql.execute("INSERT INTO channels (source, channel, title) VALUES ('api', 'team', 'The Team')")
    for name, count in (("team", 1), ("The Team", 1), ("Another", 0)):
        assert len((await http.get(MESSAGES, params={"channel": name})).json()["items"]) == count


async def test_edits_of_telegram_are_shown_to_the_second_that_it_tells(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    for number, source in enumerate(("telegram", "api")):
        await http.post(MESSAGES, json=message(number) | {"source": source})
    await sql.execute("UPDATE messages SET edited_at = '2026-01-31T09:30:00.000123Z'")
    items = (await http.get(MESSAGES)).json()["items"]
    assert {one["source"]: one["edited_at"] for one in items} == {
        "telegram": "2026-01-31T09:30:00Z", "api": "2026-01-31T09:30:00.000123Z"
    }  # fmt: skip


async def test_the_same_key_and_body_do_nothing_again(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    nameless = [{"channel": "team", "text": "hello"}, {"channel": "team", "text": "hello"}]
    key = {"Idempotency-Key": "k 1".replace(" ", "-")}
    first = await http.post(MESSAGES, json=nameless, headers=key)
    again = await http.post(MESSAGES, json=nameless, headers=key)
    assert (first.status_code, first.json()["stored"]) == (201, 2)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await http.post(MESSAGES, json=nameless[:1], headers=key)
    assert (other.status_code, "another body" in other.json()["detail"]) == (422, True)
    # A process that died before it noted its answer left the messages, and nobody stores them twice.
    await sql.execute("DELETE FROM idempotency_keys")
    repeated = await http.post(MESSAGES, json=nameless, headers=key)
    assert (repeated.status_code, repeated.json()["known"], repeated.json()["ids"]) == (200, 2, first.json()["ids"])
    assert await sql.fetchval("SELECT count(*) FROM messages") == 2
    await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert (await http.post(MESSAGES, json=nameless[:1], headers=key)).status_code == 201
    for wrong in ("", "x" * 256, "two words"):
        assert (await http.post(MESSAGES, json=nameless, headers={"Idempotency-Key": wrong})).status_code == 422


async def test_the_same_request_beside_itself_is_one(
    http: httpx.AsyncClient, database_url: str, sql: asyncpg.Connection
) -> None:
    async with asked(database_url) as another:
        answers = await asyncio.gather(*(
            client.post(MESSAGES, json={"channel": "team", "text": "hello"}, headers={"Idempotency-Key": "one"})
            for client in (http, another) * 10
        ))  # fmt: skip
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.status_code for answer in answers}) == 1
    assert await sql.fetchval("SELECT count(*) FROM messages") == 1


async def test_what_was_refused_is_tried_anew(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "refused"}
    channel = {"source": "api", "channel": "team"}
    await http.patch(CHANNELS, json=channel | {"mode": "off"})
    assert (await http.post(MESSAGES, json=message(1), headers=key)).status_code == 409
    await http.patch(CHANNELS, json=channel | {"mode": "on"})
    stored = await http.post(MESSAGES, json=message(1), headers=key)
    assert (stored.status_code, "Idempotent-Replayed" in stored.headers) == (201, False)
    assert (await http.post(MESSAGES, json=message(1), headers=key)).headers["Idempotent-Replayed"] == "true"


async def test_one_caller_does_not_see_the_answers_of_another(database_url: str, database: Database) -> None:
    store = KeyStore(database)
    keys = [await store.create(name, {Scope.WRITE}) for name in ("ana", "ben")]
    async with asked(database_url, api_keys="always") as http:
        bodies = [{"channel": "team", "text": text} for text in ("one", "two")]
        answers = [
            await http.post(MESSAGES, json=body, headers={"Idempotency-Key": "same", "Authorization": f"Bearer {key}"})
            for key, body in zip(keys, bodies, strict=True)
        ]
        assert [one.status_code for one in answers] == [201, 201]
        forbidden = await http.post(FORGET, json={"author": "x"}, headers={"Authorization": f"Bearer {keys[0]}"})
        assert forbidden.status_code == 403
