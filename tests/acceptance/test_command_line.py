"""Every command explains itself, and a person's mistake gets one sentence, on any terminal and in any surroundings."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

from plugins.program import Call

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.program import Program, Up

COMMANDS = ("up", "api", "worker", "sweeper", "migrate", "import", "extract", "backfill", "search", "status", "psql")


def test_every_command_explains_itself(winnow: Program) -> None:
    whole, *each = winnow.run_in_turn(Call("--help"), *(Call(command, "--help") for command in COMMANDS))
    for command, done in zip(COMMANDS, each, strict=True):
        assert done.code == 0
        assert f"winnow {command}" in done.out
        assert "--data-dir" in done.out
        assert f" {command} " in whole.out


MISTAKES: dict[str, tuple[int, dict[str, str], str]] = {
    "half": (2, {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "NATS_URL is not set"),
    "other half": (2, {"NATS_URL": "nats://127.0.0.1:1"}, "DATABASE_URL is not set"),
    "no URL": (2, {"DATABASE_URL": "nonsense", "NATS_URL": "nats://127.0.0.1:1"}, "postgresql://"),
    "no port": (2, {"DATABASE_URL": "postgresql://h:port/d", "NATS_URL": "nats://127.0.0.1:1"}, "postgresql://"),
    "other database": (2, {"DATABASE_URL": "mysql://h/d", "NATS_URL": "nats://127.0.0.1:1"}, "postgresql://"),
    "parameter": (2, {"DATABASE_URL": "postgresql://h/d?x_y=1", "NATS_URL": "nats://127.0.0.1:1"}, "x_y"),
    "embedder": (2, {"WINNOW_EMBEDDER": "word2vec"}, "choose local, ollama:MODEL"),
    "no key": (2, {"WINNOW_EMBEDDER": "openai:text-embedding-3-small"}, "WINNOW_OPENAI_API_KEY"),
    "number": (2, {"WINNOW_BATCH_SIZE": "0"}, "WINNOW_BATCH_SIZE"),
    "lanes": (2, {"WINNOW_LANES": "fast"}, "live,bulk"),
    "level": (2, {"WINNOW_LOG_LEVEL": "loud"}, "WINNOW_LOG_LEVEL"),
    "folder": (2, {"WINNOW_DATA_DIR": "/dev/null/winnow"}, "--data-dir"),
}


def test_a_mistake_in_the_settings_gets_one_sentence(another: Program) -> None:
    all_done = another.run_in_turn(*(Call("status", **variables) for _, variables, _ in MISTAKES.values()))
    for name, done in zip(MISTAKES, all_done, strict=True):
        code, _, words = MISTAKES[name]
        assert done.code == code, name
        assert words in done.sentence, name
        assert done.out == "", name
    assert not another.data.exists(), "servers were started before the settings were read"


def test_any_terminal_will_do(winnow: Program, running: Up) -> None:
    text = "Ёжик 🐉 Tasmania é"
    with running.http as http:
        http.post("/api/v1/messages", json={"channel": "#terminal", "author": "ёж", "text": text})
    bare: dict[str, Any] = {"NO_COLOR": "1", "COLUMNS": "80", "LANG": "C", "LC_ALL": "C", "HOME": None}
    odd: dict[str, Any] = {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "20"}
    status, found = winnow.run_all(("status",), ("search", "Tasmania"), **bare)
    assert (status.code, found.code) == (0, 0)
    assert max(map(len, status.out.splitlines())) <= 80
    assert text in found.out
    assert "\x1b" not in found.out
    coloured, as_json = winnow.run_all(("search", "Tasmania"), ("search", "--json", "Tasmania"), **odd)
    assert (coloured.code, as_json.code) == (0, 0)
    assert "Tasmania" in coloured.out
    assert "\x1b" in coloured.out
    assert as_json.json["hits"][0]["message"]["text"] == text


def test_whoever_stops_reading_is_no_error(winnow: Program, running: Up) -> None:
    command = f"{' '.join(winnow.command('status'))} | head -c 1"
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(
        shell, env=winnow.environment(), cwd=tempfile.gettempdir(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_json_is_all_there_is_on_stdout(winnow: Program, running: Up) -> None:
    done = winnow.run_in_turn(
        Call("status", "--json"),
        Call("extract", "--json", "--channel", "#nobody"),
        Call("backfill", "--json"),
        Call("backfill", "--json", "--inline", "--limit", "1"),
        Call("backfill", "--json", "--dry-run", "--kinds", "atoms,topics"),
    )
    for command in done:
        assert command.code == 0, command
        assert command.err == ""
        assert isinstance(json.loads(command.out), dict)


def test_a_folder_that_cannot_be_entered_is_no_reason_to_fail(ordinary: Program, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700 if os.geteuid() == 0 else 0o000)
    done = subprocess.run(
        ordinary.command("status"),
        env=ordinary.environment(DATABASE_URL="postgresql://127.0.0.1:1/x", NATS_URL="nats://127.0.0.1:1"),
        cwd=closed if os.geteuid() == 0 else tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert b"the database does not answer" in done.stderr
    assert b"Traceback" not in done.stderr
