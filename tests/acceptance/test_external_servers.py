"""With DATABASE_URL and NATS_URL the same commands run on one's own servers, a process each, and say what is missing."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import winnow.worker
from plugins.program import Program, Running, eventually

if TYPE_CHECKING:
    from pathlib import Path

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


def status(own: Program) -> dict[str, Any]:
    done = own.run("status", "--json")
    assert done.code == 0, done
    answer: dict[str, Any] = done.json
    return answer


def test_api_worker_and_sweeper_work_together_through_a_restart_of_nats(own: Program, nats_server: NatsServer) -> None:
    processes = {name: own.start(*name.split()) for name in ("api --port 0", "worker --lanes live,bulk", "sweeper")}
    api = processes["api --port 0"].wait_for("api.listening")
    url = re.findall(r"http://127\.0\.0\.1:\d+", api.output)[0]
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:

        def embedded(kind: str) -> int:
            return int(http.get("/api/v1/status").json()["embeddings"][kind]["embedded"])

        for text in ("We decided to keep the Wombat cache.", "Ana will measure the Wombat cache by Friday."):
            assert http.post("/api/v1/messages", json={"channel": "#own", "text": text}).status_code == 201
        eventually(lambda: embedded("messages") == 2 and embedded("atoms"), "a quiet channel is extracted and embedded")

        nats_server.kill()
        away = http.post("/api/v1/messages", json={"channel": "#own", "text": "said while NATS is away"})
        assert away.status_code == 201
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.headers["Content-Type"]) == (503, "application/problem+json")
        asyncio.run(nats_server.start())
        eventually(lambda: http.get("/health/ready").is_success, "the API is back")
        assert http.post("/api/v1/messages", json={"channel": "#own", "text": "said afterwards"}).status_code == 201
        eventually(lambda: embedded("messages") == 4, "nothing is lost")
        assert http.get("/api/v1/status").json()["hook_failures"] == 1
    for running in processes.values():
        running.send(signal.SIGTERM)
    assert {name: running.wait() for name, running in processes.items()} == dict.fromkeys(processes, 0)
    assert not any("Traceback" in running.output for running in processes.values())
    assert not own.data.exists(), "embedded servers were started"


def test_taskiq_runs_the_worker_by_the_documented_command(own: Program, tmp_path: Path) -> None:
    lines = (winnow.worker.__doc__ or "").replace("\\\n", " ").splitlines()
    documented = next(shlex.split(line) for line in lines if line.strip().startswith("taskiq worker"))
    worker = own.start_command([sys.executable, "-m", *documented], Running)
    (tmp_path / "chat.jsonl").write_text(TALK)
    assert own.run("import", str(tmp_path / "chat.jsonl")).code == 0
    worker.wait_for("queue.listening")
    assert own.run("extract").code == 0

    def knowledge() -> bool:
        counts = status(own)["embeddings"]["atoms"]
        return bool(counts["embedded"] == counts["total"] >= 2)

    eventually(knowledge, "atoms, embedded")
    assert worker.end(signal.SIGTERM) == 0, worker.output
    assert "Traceback" not in worker.output


def test_a_database_without_tables_is_not_touched_until_it_is_asked_for(own: Program, database_url: str) -> None:
    own.sql("CREATE DATABASE virgin")
    try:
        own.variables = {**own.variables, "DATABASE_URL": re.sub(r"/test_\w+", "/virgin", database_url)}
        for done in own.run_all(("worker",), ("api", "--port", "0"), ("status",), ("backfill", "--dry-run")):
            assert done.code == 3
            assert "run: winnow migrate" in done.sentence
        migrated = own.run("migrate")
        assert migrated.code == 0, migrated
        assert status(own)["embeddings"]["messages"]["total"] == 0
        assert own.run("migrate", "base").code == 0
        assert own.sql("SELECT count(*) FROM pg_tables WHERE tablename IN ('messages', 'atoms')") == [["0"]]
    finally:
        own.variables = {**own.variables, "DATABASE_URL": database_url}
        own.sql("DROP DATABASE virgin WITH (FORCE)")


def test_a_server_that_is_not_there_is_named_within_seconds(own: Program) -> None:
    began = time.monotonic()
    commands = [("worker",), ("sweeper",), ("api", "--port", "0"), ("up", "--port", "0"), ("import", __file__)]
    for done in own.run_all(*commands[:4], DATABASE_URL=NOWHERE_DATABASE):
        assert done.code == 3
        assert "the database does not answer" in done.err
        assert len(done.err.strip().splitlines()) == 1
    for done in own.run_all(*commands, NATS_URL=NOWHERE_NATS):
        assert done.code == 3
        assert "127.0.0.1:1 does not answer" in done.err
        assert "NATS_URL" in [line for line in done.err.splitlines() if line.startswith("error: ")][0]
    assert time.monotonic() - began < 60
