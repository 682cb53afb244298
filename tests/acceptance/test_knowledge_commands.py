"""A person reads what is known on a terminal of 80 columns, and takes it along in a file that is whole or not there."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from plugins.program import Call, Program, eventually

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from plugins.knowing import World
    from plugins.nats import NatsServer

NARROW = {"COLUMNS": "80"}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for what is exported."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer) -> Program:
    """The program over servers of the test's own, which need no starting."""
    another.variables = {"DATABASE_URL": database_url, "NATS_URL": nats_server.url}
    return another


async def test_what_is_known_is_shown_to_people_and_programs(own: Program, world: World) -> None:
    redis, why = world.atoms["redis"], world.atoms["why"]
    atoms, log, then, questions, problems, atom, topics, topic, as_json, whole = own.run_in_turn(
        Call("atoms", **NARROW),
        Call("decisions", **NARROW),
        Call("decisions", "--as-of", "2026-03-05", **NARROW),
        Call("questions", **NARROW),
        Call("problems", "--channel", "Operations", **NARROW),
        Call("atom", str(why), "--around", "1", **NARROW),
        Call("topics", **NARROW),
        Call("topics", "cache", **NARROW),
        Call("atoms", "--type", "decision", "--json"),
        Call("atom", str(redis), "--json"),
    )
    for done in (atoms, log, then, questions, problems, atom, topics, topic):
        assert done.code == 0, done.err
        assert max(map(len, done.out.splitlines())) <= 80
        assert "\x1b" not in done.out
    assert "7 in all: 3 questions, 2 decisions, 1 answer, 1 problem" in " ".join(atoms.out.split())
    assert "by ollama:qwen3:8b" in " ".join(atoms.out.split())
    assert "because it needs no second server" in " ".join(log.out.split())
    assert ("Use Redis" in then.out, "2026-03-06 Use PostgreSQL" in then.out) == (True, False)
    assert ("When do we release?" in questions.out, "Why Redis?" in questions.out) == (True, False)
    assert "Ben" in questions.out
    assert "The build is slow" in problems.out
    assert "answered by It is fast" in " ".join(atom.out.split())
    assert ["let us use Redis" in atom.out, "because it is fast" in atom.out, "hello all" in atom.out] == [
        True, True, False,
    ]  # fmt: skip
    assert "2 decisions, 1 question" in topics.out
    assert "Use PostgreSQL" in topic.out
    assert {item["title"] for item in as_json.json["items"]} == {"Use Redis", "Use PostgreSQL"}
    assert whole.json["superseded_by"] == world.atoms["postgres"]


async def test_a_search_is_narrowed(own: Program, world: World) -> None:
    everywhere, here, nowhere = own.run_in_turn(
        Call("search", "redis", "--json"),
        Call("search", "redis", "--author", "Ben", "--kind", "messages", "--json"),
        Call("search", "redis", "--since", "2026-03-03"),
    )
    assert len(everywhere.json["hits"]) > 1
    assert [hit["message"]["id"] for hit in here.json["hits"]] == [world.messages["why"]]
    assert "nothing found" in nowhere.out


async def test_empty_lists_and_slips_say_what_to_do(own: Program, world: World) -> None:
    nothing, unknown, topic, moment, atom = own.run_in_turn(
        Call("questions", "--channel", "#nobody"),
        Call("atoms", "--author", "Zoe", "--text", "cake"),
        Call("atoms", "--topic", "cach"),
        Call("decisions", "--as-of", "yesterday"),
        Call("atom", "999999"),
    )
    assert "no open questions in #nobody" in nothing.out
    assert "no atoms by Zoe fit" in unknown.out
    assert (topic.code, topic.sentence) == (2, "error: there is no topic cach; there is Cache")
    assert (moment.code, "write it like 2026-01-31" in moment.sentence) == (2, True)
    assert (atom.code, atom.sentence) == (2, "error: there is no atom 999999")
    del world


async def test_an_export_is_a_whole_file_or_none(own: Program, world: World, place: Path) -> None:
    lines, people, folder = place / "known.jsonl", place / "known.md", place / "folder"
    people.write_text("as it was")
    folder.mkdir()
    first, second, nowhere, over_folder, refused = own.run_in_turn(
        Call("export", "--out", str(lines)),
        Call("export", "--format", "markdown", "--out", str(people), "--channel", "#team"),
        Call("export", "--out", str(place / "missing" / "x.jsonl")),
        Call("export", "--out", str(folder)),
        Call("export", "--out", str(place / "never.jsonl"), "--topic", "none such"),
    )
    assert (first.code, "7 atoms in " in first.err) == (0, True), first.err
    assert second.code == 0, second.err
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert written[-1] == {"record": "end", "topics": 2, "atoms": len(world.atoms) - 4}
    assert people.read_text().startswith("# What is known")
    for wrong in (nowhere, over_folder, refused):
        assert wrong.code == 2
        assert wrong.sentence
    assert names_in(place) == ["folder", "known.jsonl", "known.md"]
    piped = own.run("export", "--type", "decision")
    assert [json.loads(line)["record"] for line in piped.out.splitlines()][-1] == "end"
    assert "2 atoms" in piped.err


async def test_an_export_that_is_interrupted_leaves_the_old_file(
    own: Program, world: World, place: Path, sql: asyncpg.Connection
) -> None:
    out = place / "known.jsonl"
    out.write_text("as it was\n")
    async with sql.transaction():
        await sql.execute("LOCK TABLE atoms IN ACCESS EXCLUSIVE MODE")  # it waits in the middle of its work
        export = own.start("export", "--out", str(out))
        eventually(lambda: own.sql(WAITING) == [["1"]], "the export waits for the table")
        assert any(name.endswith(".part") for name in names_in(place))
        export.send(signal.SIGINT)
        assert export.wait() == 130
    assert names_in(place) == ["known.jsonl"]
    assert out.read_text() == "as it was\n"
    del world
