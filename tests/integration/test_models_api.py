"""The model that embeds can be looked at and changed over HTTP by who may, and what cannot be is told as a problem."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from plugins.pipeline import add_messages, winnow_over
from winnow.api.app import create_app
from winnow.domain.jobs import Kind
from winnow.domain.keys import Scope
from winnow.pipeline.backfill import backfill
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.channels import set_channel
from winnow.pipeline.embed import embed_rows
from winnow.pipeline.remodel import finish_building
from winnow.storage.channels import Choice as ChannelChoice
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from plugins.model_servers_chat import OllamaChatServer
    from winnow.bootstrap import Winnow
    from winnow.storage.engine import Database

MODELS = "/api/v1/models"
NOWHERE = "nats://127.0.0.1:1"
NEXT = "gpu:nomic-embed-text"


@pytest.fixture
async def winnow(database_url: str, tmp_path: Path) -> AsyncIterator[Winnow]:
    async with winnow_over(database_url, NOWHERE, started=False, data_dir=tmp_path, api_keys="always") as made:
        yield made


@pytest.fixture
async def keys(database: Database) -> dict[Scope, str]:
    return {scope: str(await KeyStore(database).create(scope.value, [scope])) for scope in Scope}


@pytest.fixture
async def http(winnow: Winnow, keys: dict[Scope, str]) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(winnow))
    headers = {"Authorization": f"Bearer {keys[Scope.ADMIN]}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


async def roles(http: httpx.AsyncClient) -> dict[str, str]:
    items = (await http.get(MODELS)).json()["items"]
    return {item["name"]: item["role"] for item in items if item["role"]}


async def test_there_and_back_over_http(
    http: httpx.AsyncClient, winnow: Winnow, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await embed_rows(winnow.embedding(), Kind.MESSAGES, await add_messages(sql, ["one", "two"]))
    provider = {"name": "gpu", "kind": "ollama", "urls": [ollama_chat_server.url]}
    assert (await http.post("/api/v1/providers", json=provider)).status_code == 201
    dry = await http.post(f"{MODELS}/use", json={"name": NEXT, "dry_run": True})
    assert (dry.status_code, dry.json()["estimate"]["rows"], dry.json()["estimate"]["price_usd"]) == (200, 2, 0)
    assert dry.json()["estimate"]["price_basis"] == f"nobody is paid for {NEXT}"
    assert await roles(http) == {"local": "active"}
    assert ollama_chat_server.answered == {}, "nothing is sampled"

    begun = await http.post(f"{MODELS}/use", json={"name": NEXT})
    assert (begun.status_code, begun.json()) == (202, {"name": NEXT, "role": "building", "estimate": None})
    assert await roles(http) == {"local": "active", NEXT: "building"}
    third = await http.post(f"{MODELS}/use", json={"name": "gpu:all-minilm", "dry_run": True})
    assert (third.status_code, f"winnow model use {NEXT}" in third.json()["detail"]) == (409, True)
    gone = await http.post(f"{MODELS}/cancel")
    assert gone.json() == {"name": NEXT, "role": "retired", "estimate": None}
    assert (await http.post(f"{MODELS}/use", json={"name": NEXT})).json()["role"] == "building"
    space = next(space for space in (await winnow.spaces.all()).values() if space.name == NEXT)
    await backfill(winnow.backfilling(), Plan(space=space), report=lambda _: None, say=lambda _: None)
    assert await finish_building(winnow.database) or await roles(http) == {"local": "previous", NEXT: "active"}
    status = (await http.get("/api/v1/status")).json()
    assert (status["embedder"], status["space"]) == (NEXT, NEXT)

    assert (await http.post(f"{MODELS}/back")).json() == {"name": "local", "role": "active", "estimate": None}
    assert await roles(http) == {"local": "active", NEXT: "previous"}
    assert (await http.post(f"{MODELS}/forget")).json()["name"] == NEXT
    for command in ("back", "cancel", "forget"):
        nothing = await http.post(f"{MODELS}/{command}")
        assert (nothing.status_code, nothing.headers["Content-Type"]) == (409, "application/problem+json")


async def test_what_must_not_go_elsewhere_is_not_counted_by_a_dry_run(
    http: httpx.AsyncClient, winnow: Winnow, sql: asyncpg.Connection
) -> None:
    await add_messages(sql, ["one", "two"], channel="open")
    await add_messages(sql, ["three"], channel="private")
    await set_channel(winnow.channelling(), "test", "private", ChannelChoice(local_only=True))
    for url, rows in (("http://models.example.org", 2), ("http://gpu", 3)):
        name = url.partition("://")[2].partition(".")[0]
        given = {"name": name, "kind": "ollama", "urls": [url]}
        assert (await http.post("/api/v1/providers", json=given)).status_code == 201
        dry = await http.post(f"{MODELS}/use", json={"name": f"{name}:bge-m3", "dry_run": True})
        assert dry.json()["estimate"]["rows"] == rows, name


async def test_of_changes_that_are_begun_at_once_one_is_and_the_same_one_is_no_other(
    http: httpx.AsyncClient, winnow: Winnow, sql: asyncpg.Connection, ollama_chat_server: OllamaChatServer
) -> None:
    await embed_rows(winnow.embedding(), Kind.MESSAGES, await add_messages(sql, ["one"]))
    provider = {"name": "gpu", "kind": "ollama", "urls": [ollama_chat_server.url]}
    assert (await http.post("/api/v1/providers", json=provider)).status_code == 201
    names = [NEXT, NEXT, "gpu:all-minilm"]
    begun = await asyncio.gather(*(http.post(f"{MODELS}/use", json={"name": name}) for name in names))
    codes = [answer.status_code for answer in begun]
    assert codes in ([202, 202, 409], [409, 409, 202])
    winner = names[codes.index(202)]
    assert await roles(http) == {"local": "active", winner: "building"}


async def test_who_may_not_and_what_cannot_be(http: httpx.AsyncClient, keys: dict[Scope, str]) -> None:
    for given, sentence in (
        ({"name": "nobody:x"}, "there is no provider nobody"),
        ({"name": "ollama"}, "say which model of ollama"),
        ({"name": 7}, "name: give text"),
        ({}, "name: it is missing"),
        ({"name": "local", "model": "x"}, "model: there is no such member"),
    ):
        refused = await http.post(f"{MODELS}/use", json=given)
        assert (refused.status_code, sentence in refused.json()["detail"]) == (422, True), refused.text
    for scope in (Scope.READ, Scope.WRITE):
        http.headers["Authorization"] = f"Bearer {keys[scope]}"
        assert (await http.get(MODELS)).status_code == (200 if scope is Scope.READ else 403)
        for command in ("use", "back", "cancel", "forget"):
            assert (await http.post(f"{MODELS}/{command}", json={"name": "local"})).status_code == 403
