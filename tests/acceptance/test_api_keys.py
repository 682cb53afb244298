"""Beyond loopback the API answers only to keys, each within its scopes and its share of requests."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.program import eventually
from winnow.domain.keys import Scope
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from plugins.nats import NatsServer
    from plugins.program import Program, Running, Up
    from winnow.storage.engine import Database

EVERYWHERE = "0.0.0.0"
MESSAGE = {"channel": "#keys", "text": "We decided to ask for keys."}
REQUESTS = {
    "read": ("GET", "/api/v1/search?q=keys", None),
    "write": ("POST", "/api/v1/messages", MESSAGE),
    "admin": ("POST", "/api/v1/embeddings/backfill", {"dry_run": True}),
}


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url}
    return another


def listening(program: Program, *arguments: str, **variables: str) -> tuple[Running, str]:
    api = program.start("api", "--port", "0", *arguments, **variables).wait_for("api.listening")
    return api, re.findall(r"http://[\w.\[\]:]+", api.output)[0]


@pytest.fixture
def guarded(own: Program) -> Iterator[tuple[Program, Running, httpx.Client]]:
    """The API on all addresses of this machine, asked as somebody else would."""
    api, url = listening(own, "--host", EVERYWHERE)
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        yield own, api, http


async def key(database: Database, name: str, *scopes: Scope) -> dict[str, str]:
    """As `winnow keys create` makes it, without the second that a process takes."""
    return {"Authorization": f"Bearer {await KeyStore(database).create(name, scopes or (Scope.READ,))}"}


async def test_each_scope_opens_what_it_is_for(
    guarded: tuple[Program, Running, httpx.Client], database: Database, sql: asyncpg.Connection
) -> None:
    _, api, http = guarded
    assert "api.no_keys" in api.output
    for path in ("/", "/page.js", "/page.css", "/openapi.json", "/health/live", "/health/ready"):
        assert http.get(path).status_code == 200, path
    for method, path, body in REQUESTS.values():
        refused = http.request(method, path, json=body)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="winnow"')
        assert "winnow keys create" in refused.json()["detail"]
    assert await sql.fetchval("SELECT count(*) FROM messages") == 0

    reader, writer = await key(database, "reader"), await key(database, "writer", Scope.WRITE)
    admin, both = await key(database, "boss", Scope.ADMIN), await key(database, "both", Scope.READ, Scope.WRITE)
    opened = {
        name: {scope for scope, (method, path, body) in REQUESTS.items() if answers(http, method, path, body, holder)}
        for name, holder in {"reader": reader, "writer": writer, "admin": admin, "both": both}.items()
    }
    assert opened == {
        "reader": {"read"}, "writer": {"write"}, "admin": {"read", "write", "admin"}, "both": {"read", "write"},
    }  # fmt: skip
    for path, status in (
        ("/api/v1/status%0A", 404),
        ("/nope", 404),
        ("//api/v1/status", 404),
        ("/api/v1/status/", 404),
    ):
        assert http.get(path, headers=writer).status_code == status, path
    for method in ("HEAD", "OPTIONS", "DELETE"):
        answer = http.request(method, "/api/v1/status", headers=writer)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET"), method
    told = http.post("/api/v1/messages", json=MESSAGE, headers=reader).json()["detail"]
    assert told == "this needs a key with scope write; 'reader' has read"
    everything = [str(row) for row in await sql.fetch("SELECT * FROM api_keys")] + [api.output]
    for holder in (reader, writer, admin, both):
        assert holder["Authorization"].rsplit("_", 1)[0] not in "".join(everything)
    assert http.get("/api/v1/status", headers=reader | {"Host": "winnow.example"}).status_code == 200


def answers(http: httpx.Client, method: str, path: str, body: Any, holder: dict[str, str]) -> bool:
    status = http.request(method, path, json=body, headers=holder).status_code
    assert status in {200, 201, 403}
    return status != 403


def test_keys_are_listed_and_revoked(guarded: tuple[Program, Running, httpx.Client]) -> None:
    program, _, http = guarded
    assert "no keys yet" in program.run("keys", "list").out
    made = program.run("keys", "create", "ana's laptop", "--json")
    holder = {"Authorization": f"Bearer {made.json['key']}"}
    assert http.get("/api/v1/status", headers=holder).status_code == 200
    (listed,) = program.run("keys", "list", "--json").json
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("ana's laptop", ["read"], None)
    assert listed["last_used_at"] is not None
    assert "secret" not in str(listed)
    taken = program.run("keys", "create", "ana's laptop")
    assert (taken.code, "already" in taken.sentence) == (2, True)
    assert program.run("keys", "revoke", "ana's laptop").code == 0
    eventually(lambda: http.get("/api/v1/status", headers=holder).status_code == 401, "the key is refused", 15)
    assert program.run("keys", "revoke", "ana's laptop").code == 2
    again = program.run("keys", "create", "ana's laptop", "--scope", "write", "--scope", "read")
    assert re.fullmatch(r"winnow_\d+_[\w-]{43}\n", again.out)
    assert again.out.strip() not in holder["Authorization"]
    shown = program.run("keys", "list", COLUMNS="100").out
    assert "revoked" in shown
    assert "in force" in shown


NO_KEYS = (
    "Bearer", "Basic YTpi", "Bearer nonsense", f"Bearer winnow_1_{'A' * 43}", f"Bearer winnow_999_{'A' * 43}",
    f"Bearer winnow_99999999999999999999_{'A' * 43}", f"Bearer winnow_1_{'A' * 5000}", "Bearer ' OR 1=1 --",
)  # fmt: skip


async def test_what_is_no_key_is_refused_and_locks_nobody_out(
    guarded: tuple[Program, Running, httpx.Client], database: Database
) -> None:
    _, _, http = guarded
    known = await key(database, "known")
    assert http.get("/api/v1/status", headers=known).status_code == 200
    for header in NO_KEYS:
        assert http.get("/api/v1/status", headers={"Authorization": header}).status_code == 401, header
    for path in ("//api/v1/status", "/api/v1/status/", "/api/v1/%73tatus", "/./api/v1/status", "/api/v1/status?x"):
        assert http.get(path).status_code == 401, path
    for method in ("HEAD", "OPTIONS", "TRACE", "PUT"):
        assert http.request(method, "/api/v1/status").status_code == 401, method
    wrong = {"Authorization": f"Bearer winnow_1_{'A' * 43}"}
    assert {http.get("/api/v1/status", headers=wrong).status_code for _ in range(100)} == {401}
    assert http.get("/api/v1/status", headers=known).status_code == 200
    await asyncio.sleep(0.6)
    new = await key(database, "new")
    assert http.get("/api/v1/status", headers=new).status_code == 200, "a new key is good at once"


async def test_a_key_has_its_share_of_requests(own: Program, database: Database) -> None:
    _, url = listening(own, "--host", EVERYWHERE, WINNOW_API_REQUESTS_PER_SECOND="2")
    one, two = await key(database, "one"), await key(database, "two")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        answers = [http.get("/api/v1/topics", headers=one) for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers[:4]] == [200] * 4
        assert refused
        assert refused[0].headers["Retry-After"] == "1"
        assert "'one' has made too many requests" in refused[0].json()["detail"]
        assert http.get("/api/v1/topics", headers=two).status_code == 200


def test_keys_can_be_asked_for_on_loopback_too_and_nowhere(own: Program) -> None:
    _, url = listening(own, WINNOW_API_KEYS="always")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        assert http.get("/api/v1/status").status_code == 401
    api, url = listening(own, "--host", EVERYWHERE, WINNOW_API_KEYS="never")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        assert http.get("/api/v1/status", headers={"Host": "behind.a.proxy"}).status_code == 200
    assert "api.open" in api.output


def test_every_route_says_what_key_it_takes(running: Up) -> None:
    with running.http as http:
        description = http.get("/openapi.json").json()
    scopes = {
        f"{method.upper()} {path}": operation.get("security")
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/")
    }
    assert None not in scopes.values(), scopes
    assert scopes["POST /api/v1/embeddings/backfill"] == [{"API key": ["admin"]}]
