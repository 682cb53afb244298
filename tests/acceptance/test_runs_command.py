"""A person looks at the runs of extraction, follows them, ends one and asks for it again; the same over HTTP."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from plugins.pipeline import add_messages
from plugins.program import Call, Program, eventually

if TYPE_CHECKING:
    import asyncpg

    from plugins.nats import NatsServer
    from plugins.program import Up

SAID = ("We decided to keep the Quokka cache.", "RESOLVED: the Numbat queue stays", "The Bilby build fails again.")
RUN = """
INSERT INTO extraction_runs (source, channel, extractor, extractor_version, asked, state, message_ids, requests,
                             input_tokens, output_tokens, cost_usd, error, answer, lease_until, finished_at)
SELECT 'test', '#team', 'ollama:small', 'v1', 'quiet', $1, $2::bigint[], 2, 1200, 34, 0.25, $3, $4,
       CASE WHEN $1 = 'running' THEN now() + interval '1 hour' END, CASE WHEN $1 <> 'running' THEN now() END
RETURNING id
"""


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    """The program over servers of the test's own, which need no starting."""
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url}
    return another


async def test_runs_are_shown_cancelled_and_retried(own: Program, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, ["one", "two", "three"])
    failed = await sql.fetchval(RUN, "failed", ids[:1], "no JSON \x1b[31m", "I think \x1b[31m so")
    running = await sql.fetchval(RUN, "running", ids[1:], None, None)
    await sql.execute("UPDATE extraction_queue SET run_id = $1 WHERE message_id = ANY($2)", running, ids[1:])
    listed, narrow, of_state, shown, told = own.run_in_turn(
        Call("runs", COLUMNS="160"),
        Call("runs", COLUMNS="40"),
        Call("runs", "--state", "failed", "--json"),
        Call("runs", "show", str(failed)),
        Call("runs", "show", str(failed), "--json"),
    )
    rows = [line.split() for line in listed.out.splitlines()]
    assert [str(running), "running", "#team", "ollama:small", "2", "0", "1,234", "$0.25"] in [row[:8] for row in rows]
    assert "\x1b" not in listed.out + narrow.out + shown.out
    assert max(map(len, narrow.out.splitlines())) <= 40
    assert [run["id"] for run in of_state.json] == [failed]
    assert "I think" in shown.out
    assert (told.json["answer"], told.json["message_ids"]) == ("I think \x1b[31m so", ids[:1])
    cancelled, again, retried, *wrong = own.run_in_turn(
        Call("runs", "cancel", "--all", "--json"),
        Call("runs", "cancel", str(running)),
        Call("runs", "retry", str(running), "--json"),
        Call("runs", "retry"),
        Call("runs", "cancel", str(failed), "--all"),
        Call("runs", "show", "999999"),
        Call("extract", "--since", "yesterday"),
        Call("extract", "--since", "2026-02-01", "--until", "2026-01-31"),
    )
    assert cancelled.json == {"runs": [running], "messages": 2}
    assert (again.code, again.sentence) == (2, f"error: run {running} is not running; it is cancelled")
    assert retried.json == {"messages": 2, "tasks": 1}
    assert [done.code for done in wrong] == [2] * 5
    assert "2026-01-31" in wrong[3].sentence


async def test_runs_are_followed_while_they_begin_and_end(own: Program, sql: asyncpg.Connection) -> None:
    ids = await add_messages(sql, ["one"])
    await sql.execute("UPDATE extraction_runs SET state = 'done', finished_at = now() WHERE state = 'running'")
    following = own.start("runs", "watch", "0.2", "--json")
    run = await sql.fetchval(RUN, "running", ids, None, None)
    following.wait_for('"running"')
    await sql.execute("UPDATE extraction_runs SET state = 'done', finished_at = now()")
    following.wait_for('"done"')
    assert following.end(signal.SIGINT) == 130
    lines = [json.loads(line) for line in following.output.splitlines() if line.startswith("{")]
    assert [(line["id"], line["state"]) for line in lines] == [(run, "running"), (run, "done")]


def test_runs_are_to_be_had_over_http(winnow: Program, running: Up) -> None:
    talk = [{"channel": "runs", "external_id": str(n), "text": text} for n, text in enumerate(SAID)]
    with running.http as http:
        ids = http.post("/api/v1/messages", json=talk).json()["ids"]
        asked = http.post("/api/v1/knowledge/extract", json={"channels": ["runs"], "since": "2020-01-01T00:00:00Z"})
        assert asked.json()["rows"] == 3

        def done() -> list[dict[str, object]]:
            found = http.get("/api/v1/runs", params={"channel": "runs", "state": "done"}).json()["items"]
            return found if sum(run["messages"] for run in found) == 3 else []

        runs = eventually(done, "the messages are read")
        run = http.get(f"/api/v1/runs/{runs[0]['id']}").json()
        assert set(run["message_ids"]) <= set(ids)
        assert run["found"]
        for path, status, words in [
            (f"/api/v1/runs/{run['id']}/cancel", 422, "it is done"),
            (f"/api/v1/runs/{run['id']}/retry", 422, "--again"),
            ("/api/v1/runs/999999999/retry", 404, "no run 999999999"),
        ]:
            answer = http.post(path)
            assert (answer.status_code, words in answer.json()["detail"]) == (status, True), path
        again = http.post("/api/v1/knowledge/extract", json={"message_ids": ids, "again": True}).json()
        assert (again["rows"], again["again"]) == (3, 3)
