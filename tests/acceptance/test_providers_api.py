"""Providers over HTTP: who may read and change them, mistakes as problems, and a key in no answer, error or log."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from winnow.domain.keys import Scope
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.nats import NatsServer
    from plugins.program import Program, Running
    from winnow.storage.engine import Database

KEY = "sk-very-secret-0123456789"
PROVIDERS = "/api/v1/providers"


class Asked:
    """A client that keeps all it was answered."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._http = httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False)
        self.answers: list[httpx.Response] = []

    def __call__(self, method: str, path: str = "", body: Any = None, **more: Any) -> httpx.Response:
        given = {"json": body} if body is not None else {}
        self.answers.append(self._http.request(method, PROVIDERS + path, **given, **more))
        return self.answers[-1]

    @property
    def everything(self) -> str:
        """All bodies and headers of all answers."""
        return "".join(f"{answer.headers} {answer.text}" for answer in self.answers)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def api(another: Program, database_url: str, nats_server: NatsServer) -> tuple[Running, str]:
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url, "WINNOW_LOG_LEVEL": "debug"}
    running = another.start("api", "--port", "0", WINNOW_API_KEYS="always").wait_for("api.listening")
    return running, re.findall(r"http://[\w.\[\]:]+", running.output)[0]


@pytest.fixture
async def admin(api: tuple[Running, str], database: Database) -> AsyncIterator[Asked]:
    asked = await client(api, database, Scope.ADMIN)
    yield asked
    asked.close()


async def client(api: tuple[Running, str], database: Database, scope: Scope) -> Asked:
    key = await KeyStore(database).create(scope.value, (scope,))
    return Asked(api[1], {"Authorization": f"Bearer {key}"})


def problem(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def test_a_provider_s_life(admin: Asked, ollama_server: OllamaServer) -> None:
    assert admin("GET").json() == {"items": []}
    made = admin(
        "POST", "", {"name": "gpu", "kind": "ollama", "urls": [ollama_server.url], "embedding_model": "bge-m3"}
    )
    assert made.status_code == 201
    row = made.json()
    one = f"/{row['id']}"
    assert (row["name"], row["has_key"], row["active"], row["checked_at"]) == ("gpu", False, True, None)
    checked = admin("POST", f"{one}/check")
    assert checked.json() == {
        "passed": True, "said": "the server answers; bge-m3 makes vectors of 64 dimensions", "warning": False,
        "dimensions": 64,
    }  # fmt: skip
    before = admin("GET", one).json()
    assert before["check_passed"] is True
    assert admin("PATCH", one, {}).json() == admin("PATCH", one, {"urls": [ollama_server.url]}).json() == before
    assert admin("GET", "/gpu").json() == before
    edited = admin("PATCH", one, {"chat_model": "qwen3:8b", "at_once": 2.0, "query_prefix": ""}).json()
    assert (edited["chat_model"], edited["at_once"], edited["query_prefix"]) == ("qwen3:8b", 2, "")
    assert (edited["embedding_model"], edited["check_passed"]) == ("bge-m3", None)
    cleared = admin("PATCH", one, {"chat_model": None, "active": False}).json()
    assert (cleared["chat_model"], cleared["active"]) == (None, False)
    assert admin("GET").json()["items"] == [cleared]
    assert admin("DELETE", one).status_code == 204
    nobodys = ("/gpu", f"/{uuid4()}", "/GPU", "/%00", f"/{'x' * 1000}")
    gone = [("GET", one), ("DELETE", one), ("POST", f"{one}/check"), *(("GET", path) for path in nobodys)]
    for method, path in gone:
        assert "there is no provider" in problem(admin(method, path), 404)
    assert "there is no provider" in problem(admin("PATCH", one, {"at_once": 1}), 404)


async def test_who_may_read_may_not_change(api: tuple[Running, str], admin: Asked, database: Database) -> None:
    reader, writer = await client(api, database, Scope.READ), await client(api, database, Scope.WRITE)
    one = "/" + admin("POST", "", {"name": "gpu", "kind": "ollama", "urls": ["http://127.0.0.1:1"]}).json()["id"]
    assert (reader("GET").status_code, reader("GET", one).status_code, writer("GET").status_code) == (200, 200, 403)
    body = {"name": "x", "kind": "ollama", "urls": ["http://127.0.0.1:1"]}
    for method, path, given in (
        ("POST", "", body),
        ("PATCH", one, {"at_once": 1}),
        ("DELETE", one, None),
        ("POST", f"{one}/check", None),
    ):
        for asked in (reader, writer):
            assert "scope admin" in problem(asked(method, path, given), 403)
    for asked in (reader, writer):
        asked.close()
    assert len(admin("GET").json()["items"]) == 1


MISTAKES: list[tuple[dict[str, Any], int, str]] = [
    ({"urls": ["http://169.254.169.254"]}, 422, "link-local"),
    ({"urls": ["http://0xa9fea9fe/v1"]}, 422, "link-local"),
    ({"urls": ["http://user:hunter2@gpu1"]}, 422, "urls"),
    ({"urls": ["ftp://gpu1"]}, 422, "urls.0: write it like http://gpu1:11434"),
    ({"urls": []}, 422, "urls: give 1 or more"),
    ({"urls": ["http://gpu1"] * 9}, 422, "urls"),
    ({"name": "local"}, 422, "not local"),
    ({"name": "GPU"}, 422, "name: it has 1 to 64 of a-z"),
    ({"kind": "local"}, 422, "kind: choose ollama or openai"),
    ({"kind": "openai", "urls": ["https://api.openai.com/v1"]}, 422, "wants a key"),
    ({"embedding_model": "a b"}, 422, "embedding_model"),
    ({"at_once": 0}, 422, "at_once"),
    ({"at_once": "2"}, 422, "at_once: give a whole number"),
    ({"api_key": ""}, 422, "api_key"),
    ({"api_key": "hunter2" * 1000}, 422, "api_key"),
    ({"api_key": "hunter2 hunter2"}, 422, "a key has"),
    ({"api_key": ["hunter2"]}, 422, "api_key"),
    ({"api_key": {"hunter2": "hunter2"}}, 422, "api_key"),
    ({"apikey": "hunter2"}, 422, "apikey: there is no such member"),
]


async def test_a_mistake_is_a_problem_that_repeats_no_secret(admin: Asked, api: tuple[Running, str]) -> None:
    for given, status, words in MISTAKES:
        body = {"name": "gpu", "kind": "ollama", "urls": ["http://127.0.0.1:1"]} | given
        assert words in problem(admin("POST", "", body), status), given
    assert admin("GET").json() == {"items": []}
    assert "hunter2" not in admin.everything + api[0].output


async def test_a_taken_name_and_one_in_use_are_conflicts(admin: Asked, sql: asyncpg.Connection) -> None:
    body = {"name": "gpu", "kind": "ollama", "urls": ["http://127.0.0.1:1"]}
    row = admin("POST", "", body).json()
    assert "already" in problem(admin("POST", "", body), 409)
    await sql.execute(
        "INSERT INTO embedding_spaces (provider, model, dimensions, status, provider_id) "
        "VALUES ('ollama', 'bge-m3', 8, 'active', $1::uuid)",
        row["id"],
    )
    assert "serves the searches" in problem(admin("DELETE", f"/{row['id']}"), 409)
    assert "switched off" in problem(admin("PATCH", f"/{row['id']}", {"active": False}), 409)


async def test_a_key_is_used_and_in_no_answer_error_or_log(
    admin: Asked, api: tuple[Running, str], openai_server: OpenAIServer
) -> None:
    openai_server.api_key = KEY
    body = {
        "name": "o", "kind": "openai", "urls": [openai_server.url], "embedding_model": "embed-x", "api_key": KEY,
    }  # fmt: skip
    made = admin("POST", "", body)
    assert (made.status_code, made.json()["has_key"]) == (201, True)
    one = f"/{made.json()['id']}"
    assert admin("POST", f"{one}/check").json()["passed"] is True
    assert openai_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    for misbehaviour in ("key_refused", "refused", "broken", "rate_limited", "web_page", "redirect", "dropped"):
        openai_server.behave(misbehaviour, words=f"Incorrect API key provided: {KEY}")
        assert admin("POST", f"{one}/check").json()["passed"] is False
    admin("GET", one)
    admin("GET")
    problem(admin("POST", "", body), 409)
    problem(admin("POST", "", body | {"nonsense": KEY}), 422)
    problem(admin("POST", "", body | {"api_key": [KEY]}), 422)
    problem(admin("PATCH", one, {"urls": ["https://elsewhere.example/v1"]}), 409)
    problem(admin("POST", content=json.dumps(body)[:-1], headers={"Content-Type": "application/json"}), 422)
    problem(admin("POST", content=json.dumps(body), headers={"Content-Type": "text/plain"}), 415)
    assert admin("PATCH", one, {"api_key": None}).json()["has_key"] is False
    assert KEY not in admin.everything
    log = api[0].output
    assert "request.finished" in log
    assert KEY not in log
