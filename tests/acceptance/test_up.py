"""One `winnow up` serves its folder: other processes attach to it, and a second one is turned away."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import psutil
from plugins.program import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.program import Program, Up

LINES = """\
{"sent_at": "2026-01-31T09:30:00+01:00", "author": "ada", "channel": "#attach", "text": "The Zanzibar build is red."}
{"sent_at": "2026-01-31T09:31:00+01:00", "author": "lin", "channel": "#attach", "text": "Ёж и 🐉: the cache was stale."}
"""


def test_what_it_tells_others_is_for_its_owner_only(running: Up) -> None:
    state_file = running.data / "winnow.json"
    assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
    assert running.state["pid"] == running.pid
    assert psutil.Process(running.pid).is_running()
    for private in (running.data / "nats" / "nats.conf", *(running.data / "logs").glob("*.log")):
        assert not private.stat().st_mode & 0o077, private


def test_commands_of_another_process_attach_to_it(winnow: Program, running: Up, tmp_path: Path) -> None:
    before = set(running.processes())
    chat = tmp_path / "chat.jsonl"
    chat.write_text(LINES)
    imported, status, told = winnow.run_all(
        ("import", str(chat)), ("status", "--json"), ("psql", "-Atc", "SELECT current_database()")
    )
    assert (imported.code, status.code, told.code) == (0, 0, 0)
    assert "2 messages stored" in imported.out
    assert status.json["queue"]["workers"]
    assert told.out == "winnow\n"
    found, again, wrong = winnow.run_all(
        ("search", "--json", "Zanzibar"), ("import", "--json", str(chat)), ("psql", "-c", "SELECT nonsense")
    )
    assert "Zanzibar" in found.json["hits"][0]["message"]["text"]
    assert (again.json["stored"], again.json["known"]) == (0, 2)
    assert wrong.code != 0
    assert "nonsense" in wrong.err
    assert {pid for pid in set(running.processes()) - before if "python" in psutil.Process(pid).name()} == set()


def test_a_dry_run_counts_and_shows_the_database_without_its_password(winnow: Program, running: Up) -> None:
    script = [sys.executable, str(CHECKOUT / "scripts" / "backfill_embeddings.py"), "--dry-run"]
    command, by_script = winnow.run("backfill", "--dry-run"), winnow.run_command(script)
    as_json = winnow.run("backfill", "--dry-run", "--json", "--kinds", "atoms,topics").json
    for done in (command, by_script):
        assert done.code == 0, done
        for word in ("database", "messages", "topics", "atoms", "total", "nothing was changed"):
            assert word in done.out
    assert set(as_json["without_vector"]) == {"atoms", "topics"}
    assert as_json["total"] == sum(as_json["without_vector"].values())


def test_the_script_embeds_what_has_no_vector(winnow: Program, running: Up) -> None:
    winnow.sql("INSERT INTO messages (source, channel, external_id, author, text, sent_at) "
               "SELECT 'test', '#script', n, 'ada', 'row number ' || n, now() FROM generate_series(1, 20) n")  # fmt: skip
    script = [sys.executable, str(CHECKOUT / "scripts" / "backfill_embeddings.py"), "--batch-size", "5", "--kinds"]
    done = winnow.run_command([*script, "messages"])
    assert done.code == 0, done
    assert "failed 0" in done.out
    assert winnow.sql("SELECT count(*) FROM messages WHERE channel = '#script' AND embedding IS NULL") == [["0"]]


def test_a_second_one_says_who_holds_the_folder(winnow: Program, running: Up) -> None:
    second = winnow.run("up", "--port", "0")
    assert second.code == 3
    assert str(running.pid) in second.sentence
    assert "up --port 0" in second.sentence
    assert running.get("/health/ready") == {"status": "ready"}
