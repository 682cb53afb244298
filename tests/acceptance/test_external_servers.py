"""With DATABASE_URL and NATS_URL the same commands run on one's own servers, and say what is missing."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

import winnow.worker
from plugins.program import Call, Program, Running, eventually

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from plugins.nats import NatsServer

NOWHERE_DATABASE, NOWHERE_NATS = "postgresql://winnow@127.0.0.1:1/winnow", "nats://127.0.0.1:1"
TALK = (
    '{"sent_at": "2026-01-31T09:30:00Z", "author": "ana", "channel": "#own", "text": "We decided to use blue-green '
    'deployment for the Quokka service."}\n'
    '{"sent_at": "2026-01-31T09:31:00Z", "author": "ben", "channel": "#own", "text": "Ana will write the runbook."}\n'
)


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    """The program over servers that somebody else runs."""
    another.variables = {
        "DATABASE_URL": database_url,
        "NATS_URL": nats_server.url,
        "WINNOW_SWEEP_AGE_SECONDS": "2",
        "WINNOW_EXTRACTION_QUIET_SECONDS": "2",
    }
    return another


def test_a_process_each_on_servers_of_ones_own_through_a_restart_of_nats(
    own: Program, nats_server: NatsServer, tmp_path: Path
) -> None:
    api, bulk, sweeper = (
        own.start("api", "--port", "0"),
        own.start("worker", "--lanes", "bulk"),
        own.start("sweeper"),
    )
    live = own.start_command([sys.executable, "-m", *documented_command()], Running)
    url = re.findall(r"http://127\.0\.0\.1:\d+", api.wait_for("api.listening").output)[0]
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:

        def embedded(kind: str) -> int:
            return int(http.get("/api/v1/status").json()["embeddings"][kind]["embedded"])

        for text in ("We decided to keep the Wombat cache.", "Ana will measure the Wombat cache by Friday."):
            assert http.post("/api/v1/messages", json={"channel": "#own", "text": text}).status_code == 201
        (tmp_path / "chat.jsonl").write_text(TALK)
        assert own.run("import", str(tmp_path / "chat.jsonl")).code == 0
        eventually(lambda: embedded("messages") == 4, "both lanes are worked")
        eventually(lambda: embedded("atoms") >= 2, "a quiet channel is extracted and embedded")

        nats_server.kill()
        away = http.post("/api/v1/messages", json={"channel": "#own", "text": "said while NATS is away"})
        assert away.status_code == 201
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.headers["Content-Type"]) == (503, "application/problem+json")
        asyncio.run(nats_server.start())
        eventually(lambda: http.get("/health/ready").is_success, "the API is back")
        assert http.post("/api/v1/messages", json={"channel": "#own", "text": "said afterwards"}).status_code == 201
        eventually(lambda: embedded("messages") == 6, "nothing is lost")
        assert http.get("/api/v1/status").json()["hook_failures"] == 1
    for running in (api, bulk, sweeper, live):
        running.send(signal.SIGTERM)
    for running in (api, bulk, sweeper, live):
        assert running.wait() == 0, running.output
        assert "Traceback" not in running.output
    assert not own.data.exists(), "embedded servers were started"


def documented_command() -> list[str]:
    """What the worker's own description tells those who know TaskIQ."""
    lines = (winnow.worker.__doc__ or "").replace("\\\n", " ").splitlines()
    return next(shlex.split(line) for line in lines if line.strip().startswith("taskiq worker"))


async def test_a_database_without_tables_is_left_alone_until_it_is_migrated(
    own: Program, database_url: str, sql: asyncpg.Connection
) -> None:
    await sql.execute("CREATE DATABASE virgin")
    own.variables = {**own.variables, "DATABASE_URL": re.sub(r"/test_\w+", "/virgin", database_url)}
    commands = (("worker",), ("api", "--port", "0"), ("status",), ("backfill", "--dry-run"), ("import", __file__))
    for done in own.run_in_turn(*(Call(*command) for command in commands)):
        assert done.code == 3
        assert "run: winnow migrate" in done.sentence
    migrated, asked, state, down, refused = own.run_in_turn(
        Call("migrate", "--json"),
        Call("migrate", "base"),
        Call("status", "--json"),
        Call("migrate", "base", "--yes"),
        Call("status"),
    )
    assert (migrated.code, asked.code, state.code, down.code, refused.code) == (0, 2, 0, 0, 3)
    assert set(migrated.json) == {"revision"}
    assert "drops every table" in asked.sentence
    assert "--yes" in asked.sentence
    assert state.json["embeddings"]["messages"]["total"] == 0
    await sql.execute("DROP DATABASE virgin WITH (FORCE)")


def test_a_server_that_is_not_there_is_named_within_seconds(own: Program) -> None:
    began = time.monotonic()
    commands = [("worker",), ("api", "--port", "0"), ("up", "--port", "0"), ("extract",)]
    for done in own.run_in_turn(*(Call(*command, DATABASE_URL=NOWHERE_DATABASE) for command in commands)):
        assert done.code == 3
        assert "the database does not answer" in done.sentence
    for done in own.run_all(*commands, at_once=4, NATS_URL=NOWHERE_NATS):  # each waits some seconds for it
        assert done.code == 3
        last = done.err.splitlines()[-1]
        assert last.startswith("error: NATS at 127.0.0.1:1 does not answer")
        assert "NATS_URL" in last
    assert time.monotonic() - began < 60


def test_an_import_needs_no_nats_and_says_what_becomes_of_its_tasks(own: Program, tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_text(TALK)
    done = own.run("import", str(tmp_path / "chat.jsonl"), NATS_URL=NOWHERE_NATS)
    assert done.code == 0
    assert "2 messages stored" in done.out
    assert done.err.startswith("NATS at 127.0.0.1:1 does not answer")
    assert len(done.err.splitlines()) == 1, done.err
    assert "the sweeper or `winnow backfill`" in done.err
    status = own.run("status", "--json").json
    assert (status["hook_failures"], status["embeddings"]["messages"]["pending"]) == (1, 2)
