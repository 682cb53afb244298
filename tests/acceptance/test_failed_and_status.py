"""A person sees how far embedding is and what failed, on any terminal, and decides what becomes of that."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
import unicodedata
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.jetstream import eventually as soon
from plugins.pipeline import SteeredEmbedder, add_atom, add_messages, job_of
from plugins.postgres import TEMPLATE
from plugins.program import Call, Program, eventually
from winnow.pipeline.spaces import Spaces

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.model_servers import OllamaServer
    from plugins.nats import NatsServer
    from winnow.storage.engine import Database

# A terminal takes these for its title, colours and cursor, or writes a line from right to left.
NASTY = "bad \x1b]0;owned\x07 \x1b[2J\x9b31m \u202egnp.exe\r\nsecond line [bold]x[/]"


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    """The program over servers of the test's own, which need no starting."""
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url}
    return another


@pytest.fixture
async def failed(database: Database, sql: asyncpg.Connection) -> list[int]:
    """Two messages and an atom that failed, one message that waits, and one that is pending."""
    await Spaces(database, SteeredEmbedder(model="wordllama")).ours()
    ids = await add_messages(sql, [NASTY, "bad words", "waiting words", "pending words"])
    await sql.execute("UPDATE messages SET author = $1 WHERE id = $2", "eve\x1b[31m", ids[0])
    atom = await add_atom(sql, "bad atom", "its content")
    jobs = [("messages", row_id, "failed", f"-{9 - number} min") for number, row_id in enumerate(ids[:2])]
    jobs += [("atoms", atom, "failed", "-1 h"), ("messages", ids[2], "waiting", "1 h")]
    await sql.executemany(
        "INSERT INTO embedding_jobs (kind, entity_id, space_id, state, attempts, error_kind, error, not_before) SELECT "
        "$1, $2, id, $3, 3, 'TextRefused', 'refused: ' || chr(27) || '[5m no', now() + $4::text::interval "
        "FROM embedding_spaces",
        jobs,
    )
    return ids


def steers(output: str) -> list[str]:
    """What in an output would steer a terminal."""
    return [
        character
        for character in output
        if character != "\n" and (unicodedata.category(character) == "Cc" or character in "\u202a\u202e\u2066\u2069")
    ]


def test_nothing_has_failed(own: Program) -> None:
    calls = [("list",), ("list", "--waiting"), ("retry", "--all"), ("forget", "atoms", "--all"), ("list", "--json")]
    *told, empty = own.run_in_turn(*(Call("failed", *arguments) for arguments in calls))
    assert [(done.code, done.out) for done in told] == [
        (0, "nothing has failed\n"), (0, "nothing waits\n"), (0, "nothing has failed\n"), (0, "nothing has failed\n"),
    ]  # fmt: skip
    assert empty.json == {"total": 0, "kinds": {"messages": 0, "topics": 0, "atoms": 0}, "items": []}


async def test_what_failed_is_shown_and_steers_no_terminal(own: Program, failed: list[int]) -> None:
    first = str(failed[0])
    listed, narrow, atoms, waiting, shown, as_json, full = own.run_in_turn(
        Call("failed", "list", COLUMNS="100"),
        Call("failed", "list", "--limit", "1", COLUMNS="40"),
        Call("failed", "list", "--kind", "atoms"),
        Call("failed", "list", "--waiting", COLUMNS="100"),
        Call("failed", "show", "messages", first, COLUMNS="100"),
        Call("failed", "list", "--json"),
        Call("failed", "show", "messages", first, "--json"),
    )
    for done in (listed, narrow, atoms, waiting, shown, as_json, full):
        assert (done.code, done.err) == (0, ""), done
        assert steers(done.out) == [], "a terminal is steered by nobody"
    assert [int(found) for found in re.findall(r"^(?:messages|atoms) (\d+) ", listed.out, re.MULTILINE)] == [
        failed[1], failed[0], 1,
    ]  # fmt: skip
    assert re.search(
        rf"^messages {failed[1]} +\d{{4}}-\d\d-\d\d \d\d:\d\d, 3 attempts: refused: ", listed.out, re.MULTILINE
    )
    assert "“bad words”" in listed.out
    assert "3 failed: 2 messages, 1 atom" in listed.out
    assert f"winnow failed show messages {failed[1]}" in listed.out
    assert max(map(len, narrow.out.splitlines())) <= 40
    assert "these are the latest 1, --limit shows more" in " ".join(narrow.out.split())
    assert "1 failed: 1 atom" in atoms.out
    assert re.search(rf"^messages {failed[2]} +due in (59 min|1 h)", waiting.out, re.MULTILINE)
    assert "1 waiting: 1 message. They are tried again by themselves." in waiting.out

    assert r"bad \x1b]0;owned\x07 \x1b[2J\x9b31m \u202egnp.exe" in shown.out
    assert "\nsecond line [bold]x[/]\n" in shown.out
    assert re.search(r"from +eve\\x1b\[31m in #team, 2025-03-03 09:01", shown.out)
    assert [item["id"] for item in as_json.json["items"]] == [failed[1], failed[0], 1]
    assert as_json.json["total"] == 3
    assert (full.json["text"], full.json["message"]["author"]) == (NASTY, "eve\x1b[31m")


async def test_a_person_tries_rows_again_and_forgets_others(
    own: Program, failed: list[int], sql: asyncpg.Connection
) -> None:
    one, two = map(str, failed[:2])
    retried, forgotten, gone, back, whole, nothing = own.run_in_turn(
        Call("failed", "retry", "messages", one, "999"),
        Call("failed", "forget", "messages", two),
        Call("failed", "list", "--json"),
        Call("failed", "retry", "messages", two, "--json"),
        Call("failed", "retry", "atoms"),
        Call("failed", "retry", "--all"),
    )
    assert (retried.code, retried.err) == (0, "left as they are: messages 999\n")
    assert "1 message pending again, in 1 task\nno worker is running" in retried.out
    assert "1 message left without a vector until the text changes; searches find" in " ".join(forgotten.out.split())
    assert f"winnow failed retry messages {two}" in forgotten.out
    assert gone.json["kinds"] == {"messages": 0, "topics": 0, "atoms": 1}
    assert back.json == {"rows": 1, "tasks": 1, "left_out": [], "queue_error": None}
    assert "1 atom pending again, in 1 task" in whole.out
    assert nothing.out == "nothing has failed\n"
    assert [await job_of(sql, row_id) for row_id in failed[:2]] == [None, None]
    assert await job_of(sql, failed[2]), "what waits was not meant"


async def test_without_nats_a_retry_leaves_the_rows_to_the_sweeper(own: Program, failed: list[int]) -> None:
    (alone,) = own.run_in_turn(Call("failed", "retry", "--all", NATS_URL="nats://127.0.0.1:1"))
    assert alone.code == 0
    assert "2 messages, 1 atom pending again\n" in alone.out
    assert "NATS is not connected" in alone.out
    assert "The sweeper will find them." in " ".join(alone.out.split())


async def test_what_a_model_refused_is_embedded_once_it_takes_it(
    own: Program, ollama_server: OllamaServer, sql: asyncpg.Connection
) -> None:
    own.variables = {
        **own.variables,
        "WINNOW_EMBEDDER": "ollama:nomic-embed-text",
        "WINNOW_OLLAMA_URL": ollama_server.url,
        "WINNOW_MAX_ATTEMPTS": "1",
    }
    ollama_server.poison("dragon", "refused")
    _, bad = await add_messages(sql, ["a good text", "a dragon"])
    _, listed = own.run_in_turn(Call("backfill", "--inline"), Call("failed", "list"))
    assert re.search("1 attempt: Ollama at .* refuses", " ".join(listed.out.split()))
    worker = own.start("worker").wait_for("worker.started")
    asked = len(ollama_server.texts)
    own.run_in_turn(Call("failed", "retry", "messages", str(bad)))
    await soon(lambda: sql.fetchval("SELECT state = 'failed' FROM embedding_jobs"))
    assert any("dragon" in text for text in ollama_server.texts[asked:]), "it is refused again"
    ollama_server._poisons.clear()
    (again,) = own.run_in_turn(Call("failed", "retry", "--all"))
    assert "no worker" not in again.out
    await soon(lambda: sql.fetchval("SELECT count(*) = 2 FROM messages WHERE embedding IS NOT NULL"))
    assert worker.end() == 0


MISTAKES: dict[tuple[str, ...], str] = {
    ("failed", "retry"): "say which: KIND ID…",
    ("failed", "retry", "messages", "1", "--all"): "name rows or give --all, not both",
    ("failed", "forget"): "or KIND --all",
    ("failed", "forget", "--all"): "or KIND --all",
    ("failed", "forget", "atoms"): "say which: KIND ID…",
    ("failed", "retry", "topics", "999"): "none of these has failed, waits, or was forgotten: topics 999",
    ("failed", "forget", "topics", "999"): "none of these has failed or waits: topics 999",
    ("failed", "show", "messages", "999"): "nothing is noted of messages 999",
    ("status", "5"): "winnow status --watch 5",
}
MISUSES = (
    ("failed", "retry", "songs"),
    ("failed", "retry", "messages", "one"),
    ("failed", "show", "messages", "0"),
    ("failed", "show", "messages", str(2**63)),
    ("failed", "list", "--limit", "0"),
    ("status", "--watch", "0"),
    ("status", "--watch", "nan"),
)


def test_a_mistake_is_told_in_one_sentence(own: Program) -> None:
    *told, away = own.run_in_turn(
        *(Call(*arguments) for arguments in (*MISTAKES, *MISUSES)),
        Call("failed", "list", DATABASE_URL="postgresql://127.0.0.1:1/x"),
    )
    for arguments, done in zip((*MISTAKES, *MISUSES), told, strict=True):
        assert (done.code, done.out) == (2, ""), arguments
    for done, words in zip(told, MISTAKES.values(), strict=False):
        assert words in done.sentence
    assert (away.code, "the database does not answer" in away.sentence) == (3, True)


async def test_the_status_shows_what_stops_embedding_and_what_it_saved(
    own: Program, failed: list[int], sql: asyncpg.Connection
) -> None:
    await sql.execute(
        "UPDATE embedding_spaces SET pauses = 1, paused_since = now() - interval '70 s', paused_until = now() + "
        "interval '20 s', paused_kind = 'ProviderBusy', paused_because = 'it is busy'"
    )
    await sql.execute("INSERT INTO counters (name, value) VALUES ('embed.saved', 1234)")
    shown, as_json = own.run_in_turn(Call("status", COLUMNS="120"), Call("status", "--json"))
    told_of = [line.strip().split(maxsplit=1) for line in shown.out.splitlines() if line]
    lines = dict(reversed(told_of))
    assert lines["total"].split()[:3] == ["embedded", "pending", "processing"]
    assert lines["messages"].split() == ["4", "0", "1", "0", "1", "2", "0"]
    assert ["messages", "4 waiting"] in told_of, "their states, too"
    assert re.match(r"for 1 min 1\d s: it is busy \(ProviderBusy\); next look in (1\d|20) s", lines["paused"])
    assert lines["saved"].startswith("1,234 vectors copied")
    assert lines["failed"].split(";")[0] == "3 rows"
    assert re.match(r"messages for 1 h( \d s)?$", lines["oldest"])
    assert steers(shown.out) == []
    told = as_json.json
    assert told["embeddings"]["messages"]["in_hand"] == 0
    assert (told["paused"]["reason"], told["saved"], told["truncated"]) == ("it is busy", 1234, 0)
    await sql.execute("UPDATE embedding_spaces SET pauses = 0")
    await sql.execute(
        "INSERT INTO llm_usage (kind, space_id, worker, embedded, saved, tokens, seconds) "
        "SELECT 'messages', id, 'one', 60, 0, 600, 60 FROM embedding_spaces"
    )
    (moving,) = own.run_in_turn(Call("status", COLUMNS="120"))
    assert re.search(r"^embedding +\d\.\d rows/s, \d+ tokens/s; for 1 min.*; about \d s left", moving.out, re.MULTILINE)
    assert "paused" not in moving.out


async def test_a_watch_goes_on_while_the_database_is_away(  # noqa: PLR0917 - pytest calls by keyword
    own: Program, failed: list[int], database_url: str, database: Database, sql: asyncpg.Connection, postgres_url: str
) -> None:
    watching, lines = own.start("status", "--watch", "0.3", "--json"), own.start("status", "--watch", "0.3")
    lines.wait_for("0 of 5 embedded, 1 pending, 1 waiting, 3 failed; nothing in the last minute")
    watching.wait_for('"pending": 1')
    await sql.close()
    await database.close()
    name = re.findall(r"/(test_\w+)\?", database_url)[0]
    admin = await asyncpg.connect(postgres_url.replace(f"/{TEMPLATE}?", "/postgres?"))
    try:
        await renamed(admin, name, f"{name}_away")
        watching.wait_for('"error": ')
        lines.wait_for("does not exist")
        before = len(watching.output.splitlines())
        await renamed(admin, f"{name}_away", name)
    finally:
        await admin.close()
    eventually(lambda: '"pending": 1' in "".join(watching.output.splitlines()[before + 1 :]), "it is back")
    for running in (watching, lines):
        assert running.end(signal.SIGINT) == 130
        assert "Traceback" not in running.output
    told = [json.loads(line) for line in watching.output.splitlines()]
    assert all(("error" in one) != ("embeddings" in one) and one["at"] for one in told)
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines.output.splitlines())


async def renamed(admin: asyncpg.Connection, name: str, new: str) -> None:
    """Takes a database away from those who use it, or gives it back."""
    async with asyncio.timeout(20):
        while True:
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            with contextlib.suppress(asyncpg.ObjectInUseError):
                await admin.execute(f"ALTER DATABASE {name} RENAME TO {new}")
                return
            await asyncio.sleep(0.02)


def test_a_watch_ends_when_nobody_reads_it_any_more(own: Program) -> None:
    command = f"{' '.join(own.command('status', '--watch', '0.2'))} | head -n 1"
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(
        shell, env=own.environment(), cwd=tempfile.gettempdir(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_on_a_terminal_the_watch_is_drawn_in_place_until_ctrl_c(own: Program, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        own.command("status", "--watch", "0.3"),
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, start_new_session=True,
        env=own.environment(TERM="xterm", COLUMNS="100", LINES="40"),
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + 60
        while seen.count(b"Ctrl-C ends") < 3 and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 65536)
        assert b"\x1b[1A\x1b[2K" in seen, "the second look takes the place of the first"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        while select.select([ours], [], [], 0.2)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"Traceback" not in seen
    assert seen.rstrip().endswith(b"\x1b[?25h"), "the cursor is there again"
