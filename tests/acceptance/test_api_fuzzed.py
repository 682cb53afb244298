"""A fuzzer that reads the API's own description finds no answer that contradicts it, and none that is our fault."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.program import eventually

if TYPE_CHECKING:
    from plugins.program import Program, Up

# Some thousand requests, the same ones each time; others by hand: `schemathesis run URL/openapi.json --checks all`.
BOUNDS = ("--max-examples", "10", "--seed", "1", "--phases", "examples,coverage,fuzzing")
# The routes in two halves, each with a program and a time of its own: what is known, and all else.
KNOWLEDGE = "^/api/v1/(atoms|topics|knowledge|questions|problems|actions|decisions|export|review|runs)"
# What else cannot be in a URL, or be named a model, or which of two moments is the later, or what is still to come, no
# pattern can say: what keeps to it may be refused all the same.
EXCEPTIONS = """
[[operations]]
include-path-regex = "^/api/v1/(providers|models/use|knowledge/extract|messages)"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "5xx"]
"""
# Wrong requests are all there is here: they shall not wait for their turn as a person's would.
SURROUNDINGS = {
    "WINNOW_API_KEYS": "always",
    "WINNOW_API_REQUESTS_PER_SECOND": "100000",
    "WINNOW_TELEGRAM_SECRET": "of-the-fuzzer",
}


@pytest.mark.timeout(300)
def test_what_is_known_keeps_to_its_description(another: Program, tmp_path: Path) -> None:
    _fuzz(another, tmp_path, "--include-path-regex")


@pytest.mark.timeout(300)
def test_all_other_routes_keep_to_their_description(another: Program, tmp_path: Path) -> None:
    _fuzz(another, tmp_path, "--exclude-path-regex")


def _fuzz(another: Program, tmp_path: Path, half: str) -> None:
    """`half`: which of the routes, by what it does with those of `KNOWLEDGE`."""
    another.variables = SURROUNDINGS
    up = another.up()
    key = another.run("keys", "create", "fuzzer", "--scope", "admin").out.strip()
    # One row without a vector, as the examples of the description name it, and one of each that has a route of its own.
    with up.http as http:
        http.post("/api/v1/messages", json={"channel": "#c", "text": " "}, headers={"Authorization": f"Bearer {key}"})
    another.sql("INSERT INTO topics (name) VALUES ('a topic')")
    another.sql("INSERT INTO atoms (type, title, content, topic_id) VALUES ('question', 'Why?', 'Why?', 1)")
    eventually(lambda: another.sql("SELECT state FROM embedding_jobs") == [["skipped"]], "the blank message is skipped")
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    config = tmp_path / "exceptions.toml"
    config.write_text(EXCEPTIONS)
    done = subprocess.run(
        [program, "--config-file", config, "run", _described(up, tmp_path), "--url", str(up.state["api_url"]),
         "-H", f"Authorization: Bearer {key}", "-H", "X-Telegram-Bot-Api-Secret-Token: of-the-fuzzer",
         half, KNOWLEDGE, "--checks", "all", "--warnings", "off", "--no-color", *BOUNDS],
        env=another.environment(COLUMNS="120"), cwd=tmp_path, capture_output=True, text=True, timeout=270, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    bugs = [line for line in up.log_lines("api") if line["level"] in {"error", "critical"}]
    assert bugs == []
    assert up.get("/health/ready") == {"status": "ready"}


def _described(up: Up, folder: Path) -> str:
    """Without the key of repeated requests: that no two bodies may have the same is not to be described."""
    description = up.get("/openapi.json")
    operation = description["paths"]["/api/v1/messages"]["post"]
    operation["parameters"] = [one for one in operation["parameters"] if one["name"] != "Idempotency-Key"]
    assert operation["parameters"] == []
    path = folder / "openapi.json"
    path.write_text(json.dumps(description), "utf-8")
    return str(path)
