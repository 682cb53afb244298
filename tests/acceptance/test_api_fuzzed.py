"""A fuzzer that reads the API's own description finds no answer that contradicts it, and none that is our fault."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plugins.program import eventually

if TYPE_CHECKING:
    from plugins.program import Program

# Some thousand requests, the same ones each time; others by hand: `schemathesis run URL/openapi.json --checks all`.
BOUNDS = ("--max-examples", "40", "--seed", "1", "--phases", "examples,coverage,fuzzing")
# Wrong requests are all there is here: they shall not wait for their turn as a person's would.
SURROUNDINGS = {"WINNOW_API_KEYS": "always", "WINNOW_API_REQUESTS_PER_SECOND": "100000"}


@pytest.mark.timeout(300)
def test_the_api_keeps_to_its_own_description(another: Program, tmp_path: Path) -> None:
    another.variables = SURROUNDINGS
    up = another.up()
    key = another.run("keys", "create", "fuzzer", "--scope", "admin").out.strip()
    # One row without a vector, as the examples of the description name it: else one route would have nothing to tell.
    with up.http as http:
        http.post("/api/v1/messages", json={"channel": "#c", "text": " "}, headers={"Authorization": f"Bearer {key}"})
    eventually(lambda: another.sql("SELECT state FROM embedding_jobs") == [["skipped"]], "the blank message is skipped")
    program = Path(sysconfig.get_path("scripts"), "schemathesis")
    done = subprocess.run(
        [program, "run", f"{up.state['api_url']}/openapi.json", "-H", f"Authorization: Bearer {key}",
         "--checks", "all", "--no-color", *BOUNDS],
        env=another.environment(COLUMNS="120"), cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    bugs = [line for line in up.log_lines("api") if line["level"] in {"error", "critical"}]
    assert bugs == []
    assert up.get("/health/ready") == {"status": "ready"}
