"""The whole road over HTTP: messages in, embedded and extracted by themselves, found; mistakes are told cleanly."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from plugins.program import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    import psutil

    from plugins.program import Program, Up

MESSAGES = "/api/v1/messages"
TALK = (
    "Topic: The Quokka rollout",
    "The nightly build is broken again, the linker crashes on the new runner.",
    "How do we roll back the Quokka migration if it fails?",
    "We decided to use blue-green deployment for the Quokka service.",
    "Ana will write the runbook for the Quokka rollback by Friday.",
    "I have not seen that crash on my machine.",
    "The fix was to pin the linker to version 17.",
    "There is a risk that the certificate expires before the release.",
    "Agreed.",
    "TODO: Ben to renew the certificate.",
    "Can somebody review the deployment script?",
    "Yes, I will review it tomorrow.",
)


@pytest.fixture
def http(running: Up) -> Iterator[httpx.Client]:
    with running.http as client:
        yield client


def message(channel: str, number: int, text: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "external_id": str(number),
        "author": "ana",
        "text": text,
        "sent_at": f"2026-01-31T09:{number:02}:00+01:00",
    }


def total(http: httpx.Client) -> int:
    return int(http.get("/api/v1/status").json()["embeddings"]["messages"]["total"])


def newest(http: httpx.Client) -> list[int]:
    return [item["id"] for item in http.get(MESSAGES, params={"limit": 1}).json()["items"]]


def test_messages_become_knowledge_that_is_found(running: Up, http: httpx.Client) -> None:
    channel, request_id = f"#road-{uuid4().hex[:8]}", f"road-{uuid4().hex}"
    talk = [message(channel, number, text) | {"reply_to": "0"} for number, text in enumerate(TALK)]  # one conversation
    del talk[0]["reply_to"]
    first = http.post(MESSAGES, json=talk[0], headers={"X-Request-ID": request_id})
    assert (first.status_code, first.json()["stored"], len(first.json()["ids"])) == (201, 1, 1)
    assert first.headers["X-Request-ID"] == request_id
    rest = http.post(MESSAGES, json=talk)
    assert (rest.status_code, rest.json()["stored"], rest.json()["known"]) == (201, 11, 1)
    again = http.post(MESSAGES, json=talk)
    assert (again.status_code, again.json()) == (
        200,
        {"stored": 0, "known": 12, "edited": 0, "ids": rest.json()["ids"], "refused": []},
    )

    stored = http.get(MESSAGES, params={"channel": channel}).json()["items"]
    assert [item["text"] for item in stored] == list(reversed(TALK))
    texts = {item["id"]: item["text"] for item in stored}
    page = http.get(MESSAGES, params={"channel": channel, "limit": 5}).json()
    page_two = http.get(MESSAGES, params={"channel": channel, "limit": 5, "before": page["next_before"]}).json()
    assert [item["id"] for item in page["items"] + page_two["items"]] == sorted(texts, reverse=True)[:10]

    def knowledge() -> list[dict[str, Any]]:
        atoms = http.get("/api/v1/atoms", params={"limit": 100}).json()["items"]
        return [atom for atom in atoms if any(quote["channel"] == channel for quote in atom["evidence"])]

    atoms = eventually(knowledge, "more than ten messages of a conversation are extracted by themselves")
    assert {atom["type"] for atom in atoms} >= {"decision", "action", "question", "problem"}
    for quote in (quote for atom in atoms for quote in atom["evidence"]):
        assert quote["quote"] == texts[quote["message_id"]][quote["start"] : quote["end"]] != ""

    status = eventually(lambda: idle(http), "everything is embedded")
    for kind in status["embeddings"].values():
        assert kind["embedded"] + kind["skipped"] == kind["total"]
    assert status["dimensions"] == 256
    assert status["queue"]["dead_letters"] == 0
    decisions = http.get("/api/v1/atoms", params={"type": "decision", "limit": 100}).json()["items"]
    assert {atom["type"] for atom in decisions} == {"decision"}
    assert http.get("/api/v1/topics").json()["items"]

    hits = http.get("/api/v1/search", params={"q": "Quokka deployment decision"}).json()
    assert hits["degraded"] is None
    assert "blue-green" in hits["hits"][0]["atom"]["content"]
    only = http.get("/api/v1/search", params={"q": "linker", "kind": ["messages"], "limit": 2}).json()["hits"]
    assert {hit["kind"] for hit in only} == {"messages"}

    of_the_request = [line for line in running.log_lines("worker") if line.get("request_id") == request_id]
    finished = {line["task_name"] for line in of_the_request if line["event"] == "task.finished"}
    assert finished == {"score_message_task", "embed_messages_batch_task"}
    closing = [line for line in running.log_lines("api") if line.get("request_id") == request_id]
    assert [(line["event"], line["status"]) for line in closing if line["event"] == "request.finished"] == [
        ("request.finished", 201)
    ]


def idle(http: httpx.Client) -> dict[str, Any]:
    """The status, once nothing is on its way; until then nothing."""
    status: dict[str, Any] = http.get("/api/v1/status").json()
    return status if status["idle"] else {}


def test_extraction_is_to_be_had_by_hand(http: httpx.Client) -> None:
    channel = f"#hand-{uuid4().hex[:8]}"
    ids = http.post(MESSAGES, json=[message(channel, 1, "We decided to keep the Wombat cache.")]).json()["ids"]
    sent = http.post("/api/v1/knowledge/extract", json={"message_ids": ids})
    assert (sent.status_code, sent.json()) == (202, {"rows": 1, "tasks": 1, "again": 0, "left_out": 0})
    eventually(lambda: http.get(MESSAGES, params={"channel": channel}).json(), "it is stored")

    def found() -> bool:
        atoms = http.get("/api/v1/atoms").json()["items"]
        return any(quote["message_id"] in ids for atom in atoms for quote in atom["evidence"])

    eventually(found, "the atom of the message")
    nothing = http.post("/api/v1/knowledge/extract", json={"channel": channel})
    assert nothing.json() == {"rows": 0, "tasks": 0, "again": 0, "left_out": 0}


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    """Stops a process where it stands, for the time of the block."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def test_a_backfill_embeds_what_has_no_vector(winnow: Program, running: Up, http: httpx.Client) -> None:
    http.post("/api/v1/messages", json=message("#backfill", 1, "a vector of its own")).raise_for_status()
    eventually(lambda: idle(http), "nothing is on its way")
    with frozen(running.child("sweeper")):  # which would be as quick
        eventually(lambda: idle(http), "what it had sent is done")
        winnow.sql("UPDATE messages SET embedding = NULL")
        without = http.post("/api/v1/embeddings/backfill", json={"kinds": ["messages"], "dry_run": True})
        assert (without.status_code, without.json()["started"]) == (200, False)
        assert without.json()["without_vector"]["messages"] == total(http) > 0
        started = http.post("/api/v1/embeddings/backfill", json={"kinds": ["messages"], "batch_size": 10})
        assert (started.status_code, started.json()["started"]) == (202, True)

        def left() -> int:
            body = {"kinds": ["messages"], "dry_run": True}
            answer = http.post("/api/v1/embeddings/backfill", json=body).json()["without_vector"]
            skipped = http.get("/api/v1/status").json()["embeddings"]["messages"]["skipped"]
            return int(answer["messages"] - skipped)

        eventually(lambda: left() == 0, "every vector is back")


JSON = {"Content-Type": "application/json"}
GOOD = message("#mistakes", 1, "hello")


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{nope", JSON, 422, "not JSON"),
        (b'{"channel": "c\xff"}', JSON, 400, "body"),
        (b"[" * 50_000, JSON, 400, "body"),
        (b"", JSON, 422, "body"),
        (b'"hello"', JSON, 422, "body"),
        (json.dumps(GOOD).encode(), {"Content-Type": "text/plain"}, 415, "application/json"),
        (b"text=hello", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ({**GOOD, "text": 5}, JSON, 422, "text: "),
        ({**GOOD, "text": None}, JSON, 422, "text: "),
        ({**GOOD, "txt": "x"}, JSON, 422, "txt: "),
        ({f"field {number}": 1 for number in range(21)}, JSON, 422, "21 members, and there are 11"),
        ([{f"field {number}": 1 for number in range(21)}], JSON, 422, "21 members"),
        (GOOD | dict.fromkeys(("channel", "source", "external_id"), "\U0001f409" * 256), JSON, 422, "3,072 bytes"),
        ({**GOOD, "channel": " "}, JSON, 422, "channel"),
        ({**GOOD, "channel": "c" * 257}, JSON, 422, "channel: "),
        ({**GOOD, "sent_at": "2026-01-31T09:30:00"}, JSON, 422, "sent_at: "),
        ({**GOOD, "sent_at": "yesterday"}, JSON, 422, "sent_at: "),
        ({**GOOD, "sent_at": "0001-01-01T00:00:00+14:00"}, JSON, 422, "sent_at"),
        ({**GOOD, "sent_at": "9999-12-31T23:59:59-14:00"}, JSON, 422, "sent_at"),
        ({**GOOD, "text": "x" * 100_001}, JSON, 422, "text: "),
        (b'{"channel": "c", "text": "\\ud800"}', JSON, 422, "text: "),
        ([GOOD] * 1001, JSON, 422, "1000"),
        ([{**GOOD, "text": 5}, {}], JSON, 422, "none of the 2 messages can be stored: 0: text: "),
        ([{**GOOD, "sent_at": "1969-12-31T23:59:59Z"}], JSON, 422, "1970 to 2999"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_and_nothing_of_it_is_stored(
    http: httpx.Client, body: Any, headers: dict[str, str], status: int, words: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    before = newest(http)
    answer = http.post(MESSAGES, content=content, headers=headers)
    assert_is_problem(answer, status, words)
    assert newest(http) == before


def test_what_is_valid_in_a_list_is_stored_and_the_rest_told(http: httpx.Client) -> None:
    channel = f"#mixed-{uuid4().hex[:8]}"
    one, two = message(channel, 1, "first"), message(channel, 2, "second")
    given = [one, {**two, "text": 5}, {**one, "text": "not the first"}, two, "no message", two]
    answer = http.post(MESSAGES, json=given)
    assert answer.status_code == 207, answer.text
    told = answer.json()
    assert (told["stored"], told["known"]) == (2, 1)
    assert [place for place, row in enumerate(told["ids"]) if row is None] == [1, 4]
    assert told["ids"][0] == told["ids"][2]
    assert [one["index"] for one in told["refused"]] == [1, 2, 4]
    assert told["refused"][0]["reason"].startswith("text: ")
    assert "another text" in told["refused"][1]["reason"]
    texts = [item["text"] for item in http.get(MESSAGES, params={"channel": channel}).json()["items"]]
    assert texts == ["second", "first"]
    assert_is_problem(http.post(MESSAGES, json={**one, "text": "an edit"}), 409, "another text")


def assert_is_problem(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-ID"]
    assert answer.json()["status"] == status
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/api/v1/knowledge/extract", {"message_ids": [2**70]}, 422, "message_ids.0: "),
        ("POST", "/api/v1/knowledge/extract", {"message_ids": ["1"]}, 422, "message_ids.0: "),
        ("POST", "/api/v1/knowledge/extract", {"message_ids": [1], "channel": "c"}, 422, "not both"),
        ("POST", "/api/v1/embeddings/backfill", {"kinds": ["songs"]}, 422, "kinds.0: "),
        ("POST", "/api/v1/embeddings/backfill", {"batch_size": 0}, 422, "batch_size: "),
        ("GET", "/api/v1/search", None, 422, "q: "),
        ("GET", "/api/v1/search?q=%20%00", None, 422, "empty"),
        ("GET", f"/api/v1/search?q={'x' * 2001}", None, 422, "2001"),
        ("GET", "/api/v1/search?q=x&limit=0", None, 422, "limit: "),
        ("GET", "/api/v1/search?q=x&kind=songs", None, 422, "kind: "),
        ("GET", f"/api/v1/atoms?topic_id={2**64}", None, 422, "topic_id: "),
        ("GET", "/api/v1/atoms?type=poem", None, 422, "type: "),
        ("GET", "/docs", None, 404, "openapi.json"),
        ("GET", "/redoc", None, 404, "openapi.json"),
        ("GET", "/api/v1/nothing", None, 404, "openapi.json"),
        ("DELETE", MESSAGES, None, 405, "this path takes GET, POST"),
        ("GET", "/api/v1/topics/", None, 404, "nothing at this path"),
        ("GET", "//api/v1/topics", None, 404, "nothing at this path"),
    ],
)
def test_every_other_mistake_is_told_as_well(  # noqa: PLR0917 - pytest calls by keyword
    http: httpx.Client, method: str, path: str, body: Any, status: int, words: str
) -> None:
    assert_is_problem(http.request(method, path, json=body), status, words)


def test_odd_texts_are_stored_and_odd_questions_answered(http: httpx.Client) -> None:
    channel = f"#odd-{uuid4().hex[:8]}"
    texts = ["a\x00b", "   ", "🐉" * 5000, "ж" * 100_000, "'; DROP TABLE messages; --", "x " * 50_000]
    distinct = " ".join(f"w{number:x}" for number in range(30_000))[:100_000]
    odd = [message(channel, number, text) for number, text in enumerate([*texts, distinct])]
    assert http.post(MESSAGES, json=odd).json()["stored"] == 7
    assert http.get(MESSAGES, params={"channel": "\x00"}).json()["items"] == []
    for query in ("'", "\\", "a & | !", "(", "%", "<script>", "🐉", "x" * 2000):
        assert http.get("/api/v1/search", params={"q": query}).status_code == 200
    status = eventually(lambda: idle(http), "everything is embedded")
    assert status["embeddings"]["messages"]["failed"] == 0
    assert status["embeddings"]["messages"]["skipped"] >= 1


def test_the_page_and_the_api_description_need_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "<title>Winnow</title>" in page.text
    assert not re.search(r"(?:https?:)?//\w", re.sub(r"^\s*//.*$", "", page.text, flags=re.MULTILINE))
    assert http.get("/health/live").json() == {"status": "alive"}
    assert http.get("/health/ready").json() == {"status": "ready"}
    assert http.get("/health/live", headers={"X-Request-ID": "forged\tid"}).headers["X-Request-ID"] != "forged\tid"
    description = http.get("/openapi.json").json()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            if path.startswith("/api/"):
                assert "application/problem+json" in operation["responses"]["4XX"]["content"], (method, path)
    for name in ("MessageIn", "ExtractIn", "BackfillIn", "StoredOut", "AcceptedOut", "BackfillOut"):
        assert "example" in description["components"]["schemas"][name], name


@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8420", "127.0.0.1.rebound.example", ""])
def test_only_loopback_names_are_answered(http: httpx.Client, host: str) -> None:
    answer = http.get("/api/v1/messages", headers={"Host": host})
    assert answer.status_code == 421
    assert "localhost" in answer.json()["detail"]
    assert http.get("/health/live", headers={"Host": "localhost:1"}).status_code == 200
