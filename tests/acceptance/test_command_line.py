"""Every command explains itself, and a person's mistake gets one sentence, on any terminal and in any surroundings."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.program import Program, Up

COMMANDS = "up api worker sweeper migrate import extract backfill search status psql".split()


def test_every_command_explains_itself(winnow: Program) -> None:
    whole, *each = winnow.run_all(("--help",), *((command, "--help") for command in COMMANDS), COLUMNS="100")
    for command, done in zip(COMMANDS, each, strict=True):
        assert done.code == 0
        assert f"winnow {command}" in done.out.replace("main.py", "winnow").replace(
            "python -m winnow.cli.main", "winnow"
        )
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
    "folder": (3, {"WINNOW_DATA_DIR": "/dev/null/winnow"}, "--data-dir"),
}


def test_a_mistake_in_the_settings_gets_one_sentence(another: Program) -> None:
    with ThreadPoolExecutor(2) as pool:
        all_done = list(pool.map(lambda case: another.run("status", **case[1]), MISTAKES.values()))
    for name, done in zip(MISTAKES, all_done, strict=True):
        code, _, words = MISTAKES[name]
        assert done.code == code, name
        assert words in done.sentence, name
        assert done.out == "", name
    assert not another.data.exists(), "servers were started before the settings were read"


@pytest.mark.parametrize(
    "surroundings",
    [
        {"NO_COLOR": "1", "COLUMNS": "80", "LANG": "C", "LC_ALL": "C", "HOME": None},
        {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "20"},
    ],
    ids=["bare", "odd"],
)
def test_any_terminal_will_do(
    winnow: Program, running: Up, surroundings: dict[str, str | None], tmp_path: Path
) -> None:
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"sent_at": 1769848260, "author": "ёж", "channel": "#terminal", "text": "Ёжик 🐉 Tasmania é"}\n')
    imported = winnow.run("import", "--json", str(chat), **surroundings)
    assert imported.json["messages"] == 1
    status, found, as_json = winnow.run_all(
        ("status",), ("search", "Tasmania"), ("search", "--json", "Tasmania"), **surroundings
    )
    assert (status.code, found.code, as_json.code) == (0, 0, 0)
    assert "Tasmania" in found.out
    assert as_json.json["hits"][0]["message"]["text"] == "Ёжик 🐉 Tasmania é"
    assert ("\x1b" in found.out) == ("FORCE_COLOR" in surroundings)
    assert max(map(len, status.out.splitlines())) <= 80 or "FORCE_COLOR" in surroundings


def test_whoever_stops_reading_is_no_error(winnow: Program, running: Up) -> None:
    command = f"{' '.join(winnow.command('status'))} | head -c 1"
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(
        shell, env=winnow.environment(), cwd=tempfile.gettempdir(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_json_is_all_there_is_on_stdout(winnow: Program, running: Up) -> None:
    done = winnow.run_all(
        ("status", "--json"), ("extract", "--json", "--channel", "#nobody"), ("backfill", "--json"),
        ("backfill", "--json", "--inline", "--limit", "1"),
    )  # fmt: skip
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
