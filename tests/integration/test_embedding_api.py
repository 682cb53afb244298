"""The API tells how far embedding is and what failed, and takes a person's decision about that, from who may decide."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, add_messages, add_topic, job_of, winnow_over
from winnow.api.app import create_app
from winnow.domain.jobs import Kind, Lane
from winnow.domain.keys import Scope
from winnow.pipeline.spaces import Spaces
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from plugins.nats import NatsServer
    from winnow.storage.engine import Database

FAILED = "/api/v1/embeddings/failed"
STATUS = "/api/v1/embeddings/status"
NOWHERE = "nats://127.0.0.1:1"


@asynccontextmanager
async def asked(database_url: str, nats_url: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The application over the test's servers, without a socket."""
    started = nats_url != NOWHERE
    async with winnow_over(database_url, nats_url, model=SteeredEmbedder(), started=started, **settings) as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield http


@pytest.fixture
async def http(database_url: str, nats_server: NatsServer) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(database_url, nats_server.url) as client:
        yield client


@pytest.fixture
async def failed(database: Database, sql: asyncpg.Connection) -> list[int]:
    """Five messages whose embedding failed, a minute apart, and a topic that failed before them."""
    await Spaces(database, SteeredEmbedder()).ours()
    ids = await add_messages(sql, [f"bad {number}" for number in range(5)])
    topic = await add_topic(sql, "bad topic")
    await sql.executemany(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, attempts, error_kind, error, not_before) SELECT "
        "$1, $2, id, 'failed', 3, 'TextRefused', 'no', now() - make_interval(mins => $3) FROM embedding_spaces",
        [("messages", row_id, 9 - number) for number, row_id in enumerate(ids)] + [("topics", topic, 20)],
    )
    return ids


def is_problem(answer: httpx.Response, status: int, words: str) -> bool:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return words in answer.json()["detail"]


async def test_what_failed_is_told_page_by_page(http: httpx.AsyncClient, failed: list[int]) -> None:
    first = (await http.get(FAILED, params={"limit": 4})).json()
    assert [item["id"] for item in first["items"]] == failed[:0:-1]
    one = first["items"][0]
    assert (one["kind"], one["state"], one["attempts"], one["error"], one["text"]) == (
        "messages", "failed", 3, "no", "bad 4",
    )  # fmt: skip
    rest = (await http.get(FAILED, params={"limit": 4, "before": first["next_before"]})).json()
    assert [(item["kind"], item["id"]) for item in rest["items"]] == [("messages", failed[0]), ("topics", 1)]
    assert rest["next_before"] is None
    topics = (await http.get(FAILED, params={"kind": "topics"})).json()["items"]
    assert [item["text"] for item in topics] == ["bad topic\n"]
    assert (await http.get(FAILED, params={"waiting": True})).json()["items"] == []


async def test_one_row_is_told_in_full(http: httpx.AsyncClient, failed: list[int]) -> None:
    one = (await http.get(f"{FAILED}/messages/{failed[0]}")).json()
    assert (one["text"], one["message"]["channel"], one["message"]["author"]) == ("bad 0", "#team", "ann")
    assert (await http.get(f"{FAILED}/topics/1")).json()["message"] is None
    assert is_problem(await http.get(f"{FAILED}/messages/999"), 404, "nothing is noted of messages 999")
    assert is_problem(await http.get(f"{FAILED}/atoms/{failed[0]}"), 404, "nothing is noted of atoms")


async def test_a_retry_sends_the_rows_to_the_workers(
    http: httpx.AsyncClient, failed: list[int], sql: asyncpg.Connection
) -> None:
    before = (await http.get("/api/v1/status")).json()["queue"]["sent"]
    answer = await http.post(f"{FAILED}/retry", json={"kind": "messages", "ids": [failed[0], 999]})
    assert (answer.status_code, answer.json()) == (
        202, {"rows": 1, "tasks": 1, "left_out": [999], "queue_error": None},
    )  # fmt: skip
    assert await job_of(sql, failed[0]) is None
    rest = (await http.post(f"{FAILED}/retry", json={"all": True})).json()
    assert (rest["rows"], rest["tasks"]) == (5, 2)
    status = (await http.get(STATUS)).json()
    assert status["lanes"] == {Lane.LIVE.value: 3, Lane.BULK.value: 0}
    assert (await http.get("/api/v1/status")).json()["queue"]["sent"] == before + 3
    assert (status["kinds"]["messages"]["pending"], status["kinds"]["messages"]["failed"]) == (5, 0)


async def test_without_nats_a_retry_is_left_to_the_sweeper_and_the_status_is_told(
    database_url: str, failed: list[int], sql: asyncpg.Connection
) -> None:
    async with asked(database_url, NOWHERE) as http:
        answer = await http.post(f"{FAILED}/retry", json={"all": True, "kind": "messages"})
        assert answer.status_code == 202
        assert (answer.json()["rows"], answer.json()["tasks"]) == (5, 0)
        assert "NATS" in answer.json()["queue_error"]
        assert (await http.get(STATUS)).json()["lanes"] is None
    assert await job_of(sql, failed[0]) is None


async def test_forgotten_rows_are_skipped_and_can_be_looked_at(http: httpx.AsyncClient, failed: list[int]) -> None:
    answer = await http.post(f"{FAILED}/forget", json={"kind": "messages", "ids": failed[:1]})
    assert (answer.status_code, answer.json()) == (200, {"rows": 1, "left_out": []})
    one = (await http.get(f"{FAILED}/messages/{failed[0]}")).json()
    assert (one["state"], one["error_kind"]) == ("skipped", "forgotten")
    assert (await http.post(f"{FAILED}/forget", json={"all": True, "kind": "topics"})).json()["rows"] == 1
    counts = (await http.get(STATUS)).json()["kinds"]
    assert (counts["messages"]["failed"], counts["messages"]["skipped"]) == (4, 1)
    assert (counts["topics"]["failed"], counts["topics"]["skipped"]) == (0, 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "?before=yesterday", None, 422, "before: "),
        ("GET", "?limit=101", None, 422, "limit: "),
        ("GET", "?kind=songs", None, 422, "kind: "),
        ("GET", "/songs/1", None, 422, "kind: "),
        ("GET", "/messages/0", None, 422, "id: "),
        ("GET", f"/messages/{2**63}", None, 422, "id: "),
        ("GET", "/messages/one", None, 422, "id: "),
        ("DELETE", "/messages/1", None, 405, "this path takes GET"),
        ("GET", "/messages", None, 404, "openapi.json"),
        ("POST", "/retry", {}, 422, "give kind and ids, or all: true"),
        ("POST", "/retry", {"kind": "messages"}, 422, "give kind and ids, or all: true"),
        ("POST", "/retry", {"kind": "messages", "ids": [1], "all": True}, 422, "give kind and ids, or all: true"),
        ("POST", "/retry", {"ids": [1]}, 422, "of which kind"),
        ("POST", "/retry", {"kind": "songs", "ids": [1]}, 422, "kind: "),
        ("POST", "/retry", {"kind": "messages", "ids": []}, 422, "ids: "),
        ("POST", "/forget", {"kind": "messages", "ids": [0]}, 422, "ids.0: "),
        ("POST", "/forget", {"kind": "messages", "ids": ["1"]}, 422, "ids.0: "),
        ("POST", "/forget", {"all": 1}, 422, "all: "),
        ("POST", "/forget", {"everything": True}, 422, "everything: "),
    ],
)
async def test_a_mistake_is_told_and_nothing_is_decided(  # noqa: PLR0917 - pytest calls by keyword
    http: httpx.AsyncClient,
    failed: list[int],
    sql: asyncpg.Connection,
    method: str,
    path: str,
    body: Any,
    status: int,
    words: str,
) -> None:
    answer = await http.request(method, FAILED + path, json=body)
    assert is_problem(answer, status, words), answer.text
    assert await sql.fetchval("SELECT count(*) FROM embedding_jobs WHERE state = 'failed'") == 6


async def test_the_status_tells_the_pace_a_pause_and_no_secret(
    http: httpx.AsyncClient, failed: list[int], database: Database, sql: asyncpg.Connection
) -> None:
    fresh = (await http.get(STATUS)).json()
    assert (fresh["rate_per_second"], fresh["elapsed_seconds"], fresh["eta_seconds"], fresh["paused"]) == (
        0, None, 0, None,
    )  # fmt: skip
    await add_messages(sql, ["pending"])
    await sql.execute(
        "INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, seconds) "
        "SELECT 'messages', id, 'one', 30, 10, 3 FROM embedding_spaces"
    )
    await sql.execute("INSERT INTO counters (name, value) VALUES ('embed.saved', 10)")
    moving = (await http.get(STATUS)).json()
    assert moving["rate_per_second"] == pytest.approx(10, rel=0.2)
    assert moving["saved_per_second"] == pytest.approx(10 / 3, rel=0.2)
    assert moving["eta_seconds"] == pytest.approx(0.1, abs=0.1)
    assert moving["saved"] == 10
    space = await Spaces(database, SteeredEmbedder()).ours()
    store = EmbeddingStore(database)
    await store.begin_pause(space, seconds=20, error_kind="ProviderBusy", because="it is busy", pauses=0)
    answer = await http.get(STATUS)
    paused = answer.json()["paused"]
    assert (paused["reason"], paused["error_kind"]) == ("it is busy", "ProviderBusy")
    assert 0 < paused["next_look_seconds"] <= 20
    assert answer.json()["eta_seconds"] is None
    for kind in answer.json()["kinds"].values():
        parts = ("embedded", "pending", "processing", "waiting", "failed", "skipped")
        assert sum(kind[name] for name in parts) == kind["total"]
    assert answer.json()["last_error"].startswith(f"messages {failed[4]} (failed): no")
    assert "winnow@" not in answer.text
    whole = (await http.get("/api/v1/status")).json()
    assert whole["embeddings"]["messages"] == json.loads(
        json.dumps(answer.json()["kinds"]["messages"]).replace("processing", "in_hand")
    )
    assert (whole["paused"]["reason"], whole["truncated"], answer.json()["truncated"]) == ("it is busy", None, 0)


async def test_readers_look_and_only_an_admin_decides(
    database_url: str, nats_server: NatsServer, database: Database, failed: list[int]
) -> None:
    async with asked(database_url, nats_server.url, api_keys="always") as http:

        async def answers(scope: Scope, method: str, path: str, body: Any = None) -> int:
            holder = {"Authorization": f"Bearer {keys[scope]}"}
            return (await http.request(method, path, json=body, headers=holder)).status_code

        keys = {scope: await KeyStore(database).create(scope.value, [scope]) for scope in Scope}
        row = f"{FAILED}/messages/{failed[0]}"
        for path in (FAILED, row, STATUS):
            assert (await http.get(path)).status_code == 401
            statuses = {scope: await answers(scope, "GET", path) for scope in Scope}
            assert statuses == {Scope.READ: 200, Scope.WRITE: 403, Scope.ADMIN: 200}, path
        for path in (f"{FAILED}/retry", f"{FAILED}/forget"):
            body = {"kind": "messages", "ids": [failed[0]]}
            statuses = {scope: await answers(scope, "POST", path, body) for scope in (Scope.READ, Scope.WRITE)}
            assert statuses == {Scope.READ: 403, Scope.WRITE: 403}, path
        assert await answers(Scope.ADMIN, "POST", f"{FAILED}/retry", {"all": True, "kind": Kind.MESSAGES}) == 202
        for path, status in ((f"{row}/", 404), (f"{row}/x", 404), (f"{row}%0A", 404), (f"{FAILED}//1", 404)):
            assert await answers(Scope.ADMIN, "GET", path) == status, path
        assert await answers(Scope.ADMIN, "DELETE", row) == 405
