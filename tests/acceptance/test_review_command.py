"""A person without a terminal sees what waits, and decides by commands; mistakes are told in a sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugins.program import Program, Up

INSERT = (
    "INSERT INTO atoms (type, title, content, confidence, status) VALUES "
    "('decision', 'Postgres', 'We will use Postgres', 0.3, 'candidate'), "
    "('decision', 'Redis', 'We will use Redis', 0.2, 'candidate')"
)


def test_what_waits_is_judged_by_commands(running: Up, winnow: Program) -> None:
    assert winnow.run("psql", "-c", INSERT).code == 0
    listed = winnow.run("review", "--type", "decision")
    assert (listed.code, "We will use Postgres" in listed.out) == (0, True)
    waiting = json.loads(winnow.run("review", "--type", "decision", "--json").out)
    first, second = next((one["id"], other["id"]) for one, other in [waiting[:2]])
    accepted = winnow.run("review", "accept", str(first), "--as", "Rita")
    assert (accepted.code, accepted.out.strip()) == (0, f"{first} decision, active: Postgres")
    again = winnow.run("review", "accept", str(first))
    assert (again.code, "nothing changed" in again.err) == (0, True)
    edited = json.loads(winnow.run("review", "edit", str(second), "--title", "Cache", "--json").out)
    assert (edited["changed"], edited["items"][0]["title"], edited["items"][0]["version"]) == ([second], "Cache", 2)
    assert winnow.run("review", "supersede", str(first), str(second), "--reason", "faster").code == 0
    status = json.loads(winnow.run("review", "status", "--json").out)
    assert status["reviews"] == 2
    assert "precision" in winnow.run("review", "status").out
    unknown = winnow.run("review", "reject", "4711")
    assert (unknown.code, "there is no atom 4711" in unknown.err) == (2, True)
    assert winnow.run("review", "close", str(first)).code == 2
    assert winnow.run("review", "edit", str(first)).code == 2
