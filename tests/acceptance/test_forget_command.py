"""A person looks what would go, has it removed, and it stays away; a channel is chosen by a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from plugins.program import eventually

if TYPE_CHECKING:
    from plugins.program import Program, Up

TALK = [{"channel": "diary", "external_id": str(n), "author": "Zoe", "text": f"dear diary {n}"} for n in range(3)]


def test_somebody_is_forgotten(running: Up, winnow: Program) -> None:
    with running.http as http:
        assert http.post("/api/v1/messages", json=TALK).status_code == 201
    would = json.loads(winnow.run("forget", "--author", "Zoe", "--dry-run", "--json").out)
    assert (would["messages"], would["dry_run"]) == (3, True)
    refused = winnow.run("forget", "--author", "Zoe")
    assert (refused.code, "--yes" in refused.err) == (2, True)
    done = winnow.run("forget", "--author", "Zoe", "--yes")
    assert (done.code, "3 messages removed" in done.out) == (0, True)
    with running.http as http:
        assert http.post("/api/v1/messages", json=TALK[0]).status_code == 409
        assert http.get("/api/v1/messages", params={"channel": "diary"}).json()["items"] == []
    unknown = winnow.run("forget", "--source", "api", "--channel", "no such", "--yes")
    assert (unknown.code, "api has no channel no such" in unknown.err) == (2, True)
    chosen = winnow.run("channels", "set", "api", "diary", "--mode", "off", "--keep", "30", "--json")
    assert json.loads(chosen.out)["mode"] == "off"
    assert "diary" in winnow.run("channels", "list").out
    assert winnow.run("channels", "set", "api", "diary", "--keep", "long").code == 2


def test_a_time_to_keep_that_removes_something_is_asked_about(running: Up, winnow: Program) -> None:
    old = {"channel": "archive", "channel_title": "Old news", "sent_at": "2020-01-01T00:00:00Z", "text": "hear, hear"}
    with running.http as http:
        assert http.post("/api/v1/messages", json=old).status_code == 201
    refused = winnow.run("channels", "set", "api", "Old news", "--keep", "30")
    assert (refused.code, "1 message" in refused.err, "--yes" in refused.err) == (2, True, True)
    would = json.loads(winnow.run("forget", "--source", "api", "--channel", "Old news", "--dry-run", "--json").out)
    assert would["messages"] == 1
    assert winnow.run("channels", "set", "api", "Old news", "--keep", "30", "--yes").code == 0
    with running.http as http:
        params = {"channel": "archive"}
        eventually(lambda: http.get("/api/v1/messages", params=params).json()["items"] == [], "it is gone")
    assert winnow.run("forget", "--channel", "diary").code == 2
