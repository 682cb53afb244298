"""One `winnow up` serves its folder: other processes attach to it, and a second one is turned away."""

from __future__ import annotations

import re
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
    chat = tmp_path / "chat.jsonl"
    chat.write_text(LINES)
    imported, status = winnow.run_all(("import", str(chat)), ("status", "--json"))
    assert (imported.code, status.code) == (0, 0)
    assert "2 messages stored" in imported.out
    assert status.json["queue"]["workers"]
    psql, found = winnow.run_all(
        ("psql", "-At", "-c", "SELECT current_database()", "-c", "SELECT nonsense"), ("search", "--json", "Zanzibar")
    )
    assert "Zanzibar" in found.json["hits"][0]["message"]["text"]
    assert psql.out == "winnow\n"
    assert psql.code == 1
    assert "nonsense" in psql.err


def test_the_backfill_counts_and_then_embeds_what_has_no_vector(winnow: Program, running: Up) -> None:
    winnow.sql(  # what has failed is the one thing that the sweeper leaves to a backfill
        "WITH stored AS (INSERT INTO messages (source, channel, external_id, author, text, sent_at) "
        "SELECT 'test', '#script', n, 'ada', 'row number ' || n, now() FROM generate_series(1, 20) n RETURNING id) "
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state) SELECT 'messages', stored.id, s.id, 'failed' "
        "FROM stored, embedding_spaces s WHERE s.status = 'active'"
    )
    script = [sys.executable, str(CHECKOUT / "scripts" / "backfill_embeddings.py")]
    counted = winnow.run_command([*script, "--dry-run"])
    assert counted.code == 0, counted
    without = re.search(r"^messages +([\d,]+) of", counted.out, re.MULTILINE)
    assert without
    assert int(without[1].replace(",", "")) >= 20
    assert re.search(r"^total +[\d,]+$", counted.out, re.MULTILINE)
    assert "postgresql://winnow@" in counted.out
    assert "nothing was changed" in counted.out
    done = winnow.run_command([*script, "--batch-size", "5", "--kinds", "messages"])
    assert done.code == 0, done
    # Once they are to be tried again, the sweeper may be there first.
    assert re.search(r"success \d+  failed 0  skipped 0 by the workers|nothing was left", done.out), done
    counts = running.get("/api/v1/status")["embeddings"]["messages"]
    assert counts["embedded"] + counts["skipped"] == counts["total"]


def test_a_second_one_says_who_holds_the_folder(winnow: Program, running: Up) -> None:
    second = winnow.run("up", "--port", "0")
    assert second.code == 3
    assert str(running.pid) in second.sentence
    assert "up --port 0" in second.sentence
    assert running.get("/health/ready") == {"status": "ready"}
