"""What was found is judged over HTTP, with answers that say what is by now, or why not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, add_atom, winnow_over
from winnow.api.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

ATOMS, REVIEW = "/api/v1/atoms", "/api/v1/review"


@asynccontextmanager
async def asked(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with winnow_over(database_url, "nats://127.0.0.1:1", model=SteeredEmbedder(), started=False) as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as http:
            yield http


@pytest.fixture
async def http(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(database_url) as client:
        yield client


async def said(http: httpx.AsyncClient, path: str, body: Any = None) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_each_verdict_tells_what_is_by_now(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    one, other = [await add_atom(sql, "t", words, type="decision", status="candidate") for words in ("a b", "c d")]
    done = await said(http, f"{ATOMS}/{one}/accept")
    assert (done["changed"], done["items"][0]["status"], done["items"][0]["reviewed_by"]) == ([one], "active", "api")
    assert (await said(http, f"{ATOMS}/{one}/accept"))["changed"] == []
    done = await said(http, f"{ATOMS}/{other}/edit", {"title": "more", "topic": "things", "reviewer": "Rita\x00"})
    assert done["items"][0]["reviewed_by"] == "Rita\ufffd"
    assert (done["items"][0]["topic"], done["items"][0]["version"]) == ("things", 2)
    done = await said(http, f"{ATOMS}/{one}/supersede", {"by": other, "reason": "better"})
    assert done["items"][0]["superseded_by"] == other
    assert (await said(http, f"{ATOMS}/{one}/reopen"))["items"][0]["superseded_by"] is None
    done = await said(http, f"{ATOMS}/{one}/merge", {"into": other})
    assert sorted(done["changed"]) == [one, other]
    assert (await said(http, REVIEW, {"atom_ids": [other], "verdict": "reject"}))["items"][0]["status"] == "rejected"
    question = await add_atom(sql, "t", "who?", type="question")
    assert (await said(http, f"{ATOMS}/{question}/close", {"reason": "by phone"}))["items"][0]["closed_at"]
    state = (await http.get(f"{REVIEW}/status")).json()
    assert (state["reviews"], state["taught_by"], state["candidates"]) == (2, 0, 0)
    assert {(one["type"], one["accepted"], one["rejected"]) for one in state["accepted"]} == {("decision", 1, 1)}, (
        "the latest verdict on each counts"
    )
    assert (await said(http, f"{REVIEW}/teach"))["reviews"] > 0


async def test_versions_are_decided(http: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    row = await add_atom(sql, "t", "old words")
    for number, state, words in ((1, "current", "old words"), (2, "proposed", "new words"), (3, "proposed", "others")):
        await sql.execute(
            "INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by) "
            "VALUES ($1, $2, $3, 'problem', 't', $4, 1, 'rules')",
            *(row, number, state, words),
        )
    assert (await said(http, f"{ATOMS}/{row}/versions/2/approve"))["items"][0]["content"] == "new words"
    assert (await said(http, f"{ATOMS}/{row}/versions/3/reject"))["changed"] == [row]
    again = await http.post(f"{ATOMS}/{row}/versions/3/approve")
    assert (again.status_code, again.json()["detail"]) == (
        409, f"version 3 of atom {row} is rejected; only proposed ones are decided"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (f"{ATOMS}/4711/accept", None, 404, "there is no atom 4711"),
        (f"{ATOMS}/0/accept", None, 422, "id: give 1 or more"),
        (f"{ATOMS}/1/edit", {}, 422, "say what to change"),
        (f"{ATOMS}/1/edit", {"title": ""}, 422, "title: give 1 or more characters"),
        (f"{ATOMS}/1/merge", {"into": "x"}, 422, "into: give a whole number"),
        (f"{ATOMS}/1/accept", {"verdict": "x"}, 422, "verdict: there is no such member"),
        (REVIEW, {"atom_ids": [], "verdict": "accept"}, 422, "atom_ids: give 1 or more"),
        (REVIEW, {"atom_ids": [4711], "verdict": "accept"}, 404, "there is no atom 4711"),
    ],
)
async def test_a_mistake_is_told_in_a_sentence(
    http: httpx.AsyncClient, path: str, body: Any, status: int, words: str
) -> None:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
