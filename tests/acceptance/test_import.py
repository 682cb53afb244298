"""`winnow import` reads what can be read, names what cannot, and its exit code tells."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from plugins.program import Call, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.program import Program, Up

HALF = """\
{"sent_at": "2026-01-31T09:30:00Z", "author": "ada", "channel": "#half", "text": "The first good line."}
this is no JSON
{"sent_at": "2026-01-31T09:30:00", "author": "ada", "channel": "#half", "text": "no zone"}

{"sent_at": "2026-01-31T09:31:00Z", "author": "lin", "channel": "#half", "text": "   "}
{"sent_at": "2026-01-31T09:31:00Z", "author": "lin", "channel": "#half", "text": "%s"}
{"sent_at": "2026-01-31T09:32:00Z", "author": "lin", "channel": "#half", "text": "The last good line."}
"""


@pytest.fixture
def half(tmp_path: Path) -> Path:
    path = tmp_path / "half broken [b]ä.jsonl"
    path.write_text(HALF % ("x" * 100_001))
    return path


def test_broken_lines_are_named_and_the_rest_is_stored(winnow: Program, running: Up, half: Path) -> None:
    done = winnow.run("import", str(half))
    assert done.code == 1
    assert "3 messages stored" in done.out
    for words in (f"{half}:2: it is not JSON", f"{half}:3: sent_at has no time zone", f"{half}:6: a message's text"):
        assert words in done.err
    assert "lines that could not be read: 3" in done.out
    assert "blank messages, stored and never embedded: 1" in done.out
    again = winnow.run("import", "--json", str(half))
    assert (again.code, again.err) == (1, "")
    report = again.json
    assert (report["stored"], report["known"], report["broken"], report["not_messages"]) == (0, 3, 3, {"blank line": 1})
    assert [told["line"] for told in report["first_broken"]] == [2, 3, 6]


def test_each_line_is_in_one_of_the_counts_that_are_shown(winnow: Program, running: Up, tmp_path: Path) -> None:
    chat = tmp_path / "2026-01-31.log"
    chat.write_text("[09:58] <ada> a long line\nthat went on\nand on\n\n[09:59] <lin> yes\n")
    done = winnow.run("import", str(chat), "--channel", "#wrapped")
    assert done.code == 0, done
    assert "2 messages stored" in done.out
    assert "lines joined to the message above them: 2" in done.out
    assert "not messages: 1 blank line" in done.out
    again = winnow.run("import", "--json", str(chat), "--channel", "#wrapped").json
    assert (again["messages"], again["continued"], again["not_messages"]) == (2, 2, {"blank line": 1})


def test_a_file_that_is_no_chat_is_refused_in_one_sentence(winnow: Program, running: Up, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "packed.gz").write_bytes(b"\x1f\x8b\x08\x00")
    wrong = {"missing": "does not exist", "binary": "not text", "empty": "is empty", "packed.gz": "compressed"}
    names = [*wrong, "."]
    done = winnow.run_in_turn(*(Call("import", str(tmp_path / name)) for name in names))
    for name, refused in zip(names, done, strict=True):
        assert (refused.code, refused.out) == (2, "")
        assert wrong.get(name, "is a folder") in refused.sentence


def test_a_bad_file_keeps_no_good_one_from_being_stored(winnow: Program, running: Up, tmp_path: Path) -> None:
    line = '{{"sent_at": 1769848260, "author": "ada", "channel": "#among", "text": "of file {}", "id": "{}"}}\n'
    (tmp_path / "1 good.jsonl").write_text(line.format(1, 1))
    (tmp_path / "2 bad").write_bytes(b"\x7fELF\x00")
    (tmp_path / "3 good.jsonl").write_text(line.format(3, 3))
    files = [str(path) for path in (*sorted(tmp_path.iterdir()), tmp_path / "4 missing")]
    done = winnow.run("import", *files)
    assert done.code == 2
    assert "2 files: 2 messages stored, 0 known already" in done.out
    assert "files that could not be read: 2" in done.out
    told = [f"error: {files[1]} is not text; what is understood are", f"error: {files[3]} does not exist"]
    assert [line.startswith(words) for line, words in zip(done.err.splitlines(), told, strict=True)] == [True, True]
    again = winnow.run("import", "--json", *files)
    assert (again.code, again.json["files"], again.json["known"]) == (2, 2, 2)
    assert [refused["file"] for refused in again.json["refused"]] == [files[1], files[3]]
    assert winnow.sql("SELECT text FROM messages WHERE channel = '#among' ORDER BY id") == [
        ["of file 1"],
        ["of file 3"],
    ]


def test_what_cannot_be_chosen_is_refused(winnow: Program, running: Up, half: Path) -> None:
    mistakes = {
        ("backfill", "--kinds", "messages,songs"): "choose from messages, topics, atoms",
        ("backfill", "--kinds", ","): "choose from messages, topics, atoms",
        ("import", "--timezone", "Mars/Olympus", str(half)): "Europe/Berlin",
        ("import", "--timezone", "Europe", str(half)): "Europe/Berlin",
        ("import", "--timezone", "z" * 5000, str(half)): "Europe/Berlin",
        ("search", " "): "empty",
        ("search", "x" * 2001): "2000",
        ("migrate", "nonsense"): "nonsense",
    }
    all_done = winnow.run_in_turn(*(Call(*mistake) for mistake in mistakes))
    for words, done in zip(mistakes.values(), all_done, strict=True):
        assert done.code == 2
        assert words in done.sentence


def stored_of(running: Up, channel: str) -> int:
    """How many messages of the channel are stored, by a look that takes no process."""

    async def look() -> int:
        connection = await asyncpg.connect(running.state["database_url"])
        try:
            stored: int = await connection.fetchval("SELECT count(*) FROM messages WHERE channel = $1", channel)
            return stored
        finally:
            await connection.close()

    return asyncio.run(look())


def test_an_import_that_is_killed_or_interrupted_goes_on_where_it_was(
    winnow: Program, running: Up, tmp_path: Path
) -> None:
    count, path = 30_000, tmp_path / "result.json"
    unfinished = winnow.sql("SELECT count(*) FROM import_progress")  # others' files
    entry = {"type": "message", "date_unixtime": "1769936400", "from": "Ann", "from_id": "user1", "text": " "}
    messages = [{"id": number, **entry} for number in range(count)]  # blank ones give the workers nothing to do
    path.write_text(json.dumps({"name": "Long", "type": "private_group", "id": 77, "messages": messages}))
    killed = winnow.start("import", str(path))
    eventually(lambda: stored_of(running, "export:-77") > 1000, "some of it is stored")
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    before = stored_of(running, "export:-77")
    interrupted = winnow.start("import", str(path))
    eventually(lambda: stored_of(running, "export:-77") > before + 1000, "more of it is stored")
    assert interrupted.end(signal.SIGINT) == 130
    (line,) = interrupted.output.splitlines()
    assert line.startswith("interrupted: ")
    assert line.endswith("the same command goes on from there")
    done = winnow.run("import", "--json", str(path))
    assert (done.code, done.json["messages"], done.json["blank"]) == (0, count, count)
    assert done.json["resumed"] >= before + 1000
    assert done.json["known"] <= 1000
    assert stored_of(running, "export:-77") == count
    assert winnow.sql("SELECT count(*) FROM import_progress") == unfinished


def test_the_help_names_every_format(winnow: Program) -> None:
    told = " ".join(winnow.run("import", "--help").out.replace("│", " ").split())
    for name in ("Telegram Desktop", "Slack", "WhatsApp", "Signal", "mbox", "CSV", "IRC", "JSON Lines"):
        assert name in told


def test_a_dry_run_begins_no_data_and_says_what_is_in_the_files(another: Program, tmp_path: Path) -> None:
    chat = tmp_path / "chat.jsonl"
    line = '{{"sent_at": "2026-01-31T09:3{}:00Z", "author": "ada", "channel": "#dry", "text": "x"}}\n'
    chat.write_text("".join(line.format(number) for number in range(3)) + "broken\n")
    done = another.run("import", "--dry-run", str(chat))
    assert done.code == 1
    assert done.out.splitlines() == [
        "1 file: 3 messages; nothing is stored, for this is a dry run",
        "from 2026-01-31 09:30 UTC to 2026-01-31 09:32 UTC, by 1 person",
        "  3  #dry",
        "lines that could not be read: 1",
    ]
    assert not another.data.exists()
