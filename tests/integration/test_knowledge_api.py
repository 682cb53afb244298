"""What is known is read over HTTP: each list with its filters, one atom whole, an export; a slip is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from plugins.pipeline import SteeredEmbedder, winnow_over
from winnow.api.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from plugins.knowing import World

API = "/api/v1"
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
async def http(database_url: str, world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The application over the team's knowledge, without a socket and without NATS."""
    del world
    async with winnow_over(database_url, NOWHERE, model=SteeredEmbedder(), started=False) as winnow:
        transport = httpx.ASGITransport(create_app(winnow))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client:
            yield client


async def read(http: httpx.AsyncClient, path: str, **asked: Any) -> Any:
    answer = await http.get(f"{API}/{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(world: World, page: Any) -> list[str]:
    return world.named([item["id"] for item in page["items"]])


async def test_atoms_are_filtered_and_paged(http: httpx.AsyncClient, world: World) -> None:
    everything = await read(http, "atoms")
    assert names(world, everything)[0] == "postgres"
    assert everything["next_cursor"] is None
    asked = {"type": ["question", "problem"], "channel": "Operations", "since": "2026-03-03", "until": "2026-03-03"}
    assert set(names(world, await read(http, "atoms", **asked))) == {"when", "slow"}
    assert names(world, await read(http, "atoms", status=["candidate"])) == ["below"]
    assert len(names(world, await read(http, "atoms", status="all"))) == len(world.atoms)
    assert set(names(world, await read(http, "atoms", waiting=True))) == {"below", "claimed"}
    assert names(world, await read(http, "atoms", topic="release", open=True, type="question")) == ["when"]
    assert names(world, await read(http, "atoms", topic=world.topics["Release"], text="builds")) == ["slow"]
    assert names(world, await read(http, "atoms", confidence=0.9)) == ["postgres"]
    first = await read(http, "atoms", order="surest", limit=2)
    second = await read(http, "atoms", order="surest", limit=100, cursor=first["next_cursor"])
    assert len(first["items"]) == 2
    assert not {item["id"] for item in first["items"]} & {item["id"] for item in second["items"]}
    assert len(first["items"]) + len(second["items"]) == len(everything["items"])


async def test_one_atom_is_told_whole(http: httpx.AsyncClient, world: World, sql: asyncpg.Connection) -> None:
    redis = world.atoms["redis"]
    for version, state, title in (
        (1, "past", "Use Redis 5"),
        (2, "current", "Use Redis"),
        (3, "proposed", "Use Valkey"),
    ):
        await sql.execute(
            "INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by) "
            "VALUES ($1, $2, $3, 'decision', $4, 'Use Redis', 0.7, 'rules')", redis, version, state, title,
        )  # fmt: skip
    atom = await read(http, f"atoms/{redis}", around=1)
    assert (atom["extractor"], atom["superseded"], atom["superseded_by_title"]) == ("rules", True, "Use PostgreSQL")
    (talk,) = atom["conversations"]
    assert [(one["text"], one["quoted"]) for one in talk["messages"]] == [
        ("hello all", False), ("let us use Redis", True), ("why Redis?", False),
    ]  # fmt: skip
    changes = [[(one["change"], one["text"]) for one in version["title_changes"]] for version in atom["versions"]]
    assert changes == [
        [("same", "Use Redis 5")],
        [("same", "Use Redis"), ("removed", " 5")],
        [("same", "Use "), ("removed", "Redis"), ("added", "Valkey")],
    ]
    assert (atom["run"], atom["reviews"]) == (None, [])
    assert [link["other_title"] for link in atom["links"]] == ["Use PostgreSQL"]
    for path in ("atoms/99999", "topics/99999", "messages/99999"):
        missing = await http.get(f"{API}/{path}")
        assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_the_decision_log_keeps_what_was_superseded(http: httpx.AsyncClient, world: World) -> None:
    assert names(world, await read(http, "decisions")) == ["postgres", "redis"]
    assert names(world, await read(http, "decisions", order="oldest")) == ["redis", "postgres"]
    assert names(world, await read(http, "decisions", as_of="2026-03-05")) == ["redis"]
    assert names(world, await read(http, "decisions", as_of="2026-03-06")) == ["postgres"]
    assert names(world, await read(http, "decisions", topic="Release")) == []


async def test_what_is_open_has_an_age_and_somebody_who_asked(http: httpx.AsyncClient, world: World) -> None:
    questions = await read(http, "questions")
    assert (names(world, questions), questions["total"]) == (["when"], 1)
    assert questions["items"][0]["asked_by"] == "Ben"
    assert questions["items"][0]["days_open"] > 0
    assert names(world, await read(http, "problems")) == ["slow"]
    assert await read(http, "problems", channel="#team") == {"items": [], "next_cursor": None, "total": 0}
    assert names(world, await read(http, "actions")) == []


async def test_counts_are_of_a_filter(http: httpx.AsyncClient) -> None:
    assert await read(http, "knowledge/counts", topic="Cache") == {
        "total": 3, "types": {"decision": 2, "question": 1}, "statuses": {"active": 3},
    }  # fmt: skip
    everything = await read(http, "knowledge/counts", status="all")
    assert everything["statuses"] == {"active": 7, "candidate": 1, "merged": 1, "rejected": 1, "unproven": 1}


async def test_topics_are_listed_read_and_renamed(
    http: httpx.AsyncClient, world: World, sql: asyncpg.Connection
) -> None:
    cache, release = world.topics["Cache"], world.topics["Release"]
    listed = await read(http, "topics", limit=1)
    assert ([item["name"] for item in listed["items"]], listed["next_before"]) == (["Release"], release)
    assert [item["id"] for item in (await read(http, "topics", before=release))["items"]] == [cache]
    assert [item["id"] for item in (await read(http, "topics", channel="#team", text="cache"))["items"]] == [cache]
    await sql.execute("UPDATE topics SET embedding = '[1]' WHERE id = $1", cache)
    renamed = await http.patch(f"{API}/topics/{cache}", json={"name": "  The   cache "})
    assert (renamed.status_code, renamed.json()["name"], renamed.json()["id"]) == (200, "The cache", cache)
    assert renamed.json()["atoms"] == {"decision": 2, "question": 1}
    assert await sql.fetchval("SELECT embedding IS NULL FROM topics WHERE id = $1", cache)
    taken = await http.patch(f"{API}/topics/{cache}", json={"name": "Release"})
    assert (taken.status_code, taken.json()["detail"]) == (409, "another topic is called Release")
    assert (await http.patch(f"{API}/topics/99999", json={"name": "x"})).status_code == 404
    for wrong in ({}, {"name": ""}, {"name": " \n"}, {"name": "x" * 201}, {"name": 7}, {"title": "x"}):
        assert (await http.patch(f"{API}/topics/{cache}", json=wrong)).status_code == 422, wrong
    assert await sql.fetchval("SELECT name FROM topics WHERE id = $1", cache) == "The cache"


async def test_a_message_is_read_with_what_quotes_it(http: httpx.AsyncClient, world: World) -> None:
    message = await read(http, f"messages/{world.messages['hello']}")
    assert message["text"] == "hello all"
    assert message["atoms"] == [{"id": world.atoms["shut"], "type": "question", "title": "Who brings cake?"}]


async def test_a_search_is_narrowed(http: httpx.AsyncClient, world: World) -> None:
    hits = (await read(http, "search", q="redis", author="Ben", kind="messages"))["hits"]
    assert [hit["message"]["id"] for hit in hits] == [world.messages["why"]]
    assert (await read(http, "search", q="redis", channel="Operations"))["hits"] == []
    found = await read(http, "search", q="redis", until="2026-03-02", kind="atoms")
    assert {hit["atom"]["title"] for hit in found["hits"]} == {"Use Redis", "Why Redis?"}
    assert next(hit["atom"]["superseded"] for hit in found["hits"] if hit["atom"]["title"] == "Use Redis")


@pytest.mark.parametrize(
    ("path", "asked", "sentence"),
    [
        ("atoms", {"types": "decision"}, "types: this path has no such parameter; it has: as_of, author, "),
        ("search", {"q": "x", "chanel": "#team"}, "chanel: this path has no such parameter; it has: author, channel, "),
        ("messages", {"sort": "x"}, "sort: this path has no such parameter"),
        ("status", {"verbose": "1"}, "verbose: this path has no such parameter; it has none"),
        ("atoms/1", {"full": "1"}, "it has: around"),
        ("atoms", {"type": "opinion"}, "type: choose 'problem', 'solution'"),
        ("atoms", {"status": "open"}, "status: choose 'active', 'candidate'"),
        ("atoms", {"since": "yesterday"}, "since: 'yesterday' is no day and no moment; write it like 2026-01-31"),
        ("atoms", {"as_of": "2026-01-31T09:30:00"}, "as_of: '2026-01-31T09:30:00' has no time zone"),
        ("atoms", {"confidence": "2"}, "confidence: give 1.0 or less"),
        ("atoms", {"confidence": "nan"}, "confidence"),
        ("atoms", {"limit": "0"}, "limit: give 1 or more"),
        ("atoms", {"cursor": "abc"}, "cursor: give it a page's `next_cursor`, as it came"),
        ("export", {"format": "pdf"}, "format: choose 'jsonl' or 'markdown'"),
    ],
)
async def test_a_slip_is_told(http: httpx.AsyncClient, path: str, asked: dict[str, str], sentence: str) -> None:
    answer = await http.get(f"{API}/{path}", params=asked)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text
    assert sentence in answer.json()["detail"]


async def test_a_slip_is_told_where_something_would_be_changed(
    http: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    before = await sql.fetchval("SELECT count(*) FROM messages")
    refused = await http.post(f"{API}/messages", params={"dry_run": "1"}, json={"channel": "x", "text": "x"})
    assert (refused.status_code, "dry_run" in refused.json()["detail"]) == (422, True)
    assert await sql.fetchval("SELECT count(*) FROM messages") == before
    assert (await http.get("/", params={"q": "from the page's own address"})).status_code == 200


async def test_a_topic_that_is_none_is_told(http: httpx.AsyncClient) -> None:
    for path in ("atoms", "decisions", "questions", "knowledge/counts", "export"):
        refused = await http.get(f"{API}/{path}", params={"topic": "each"})
        assert (refused.status_code, refused.json()["detail"]) == (404, "there is no topic each"), path


async def test_an_export_is_streamed_with_its_filters(http: httpx.AsyncClient, world: World) -> None:
    answer = await http.get(f"{API}/export", params={"channel": "#team"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    assert "winnow.jsonl" in answer.headers["content-disposition"]
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines if line["record"] == "atom"] == [
        world.atoms[name] for name in ("redis", "why", "fast", "shut")
    ]
    assert lines[-1] == {"record": "end", "topics": 1, "atoms": 4}
    people = await http.get(f"{API}/export", params={"format": "markdown", "type": "question"})
    assert people.headers["content-type"].startswith("text/markdown")
    assert "## Open questions" in people.text


async def test_every_route_says_what_it_gives(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()
    asked = {one["name"] for one in described["paths"][f"{API}/atoms"]["get"]["parameters"]}
    assert asked == {
        "type", "status", "topic", "channel", "source", "author", "since", "until", "as_of", "confidence", "extractor",
        "text", "waiting", "open", "order", "cursor", "limit",
    }  # fmt: skip
    shown = described["components"]["schemas"]["AtomOut"]["properties"]
    assert {"extractor", "confidence", "superseded", "valid_until", "evidence", "links"} <= shown.keys()
    operations = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(operations) == len(set(operations))
