"""An export holds each atom once with all that belongs to it, says that it is whole, and shows words as words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from plugins.knowing import FRIDAY, MONDAY, know, say
from winnow.domain.knowledge import AtomType
from winnow.pipeline import export as module
from winnow.pipeline import export_markdown
from winnow.pipeline.export import Export, Format, export
from winnow.pipeline.export_markdown import Sections
from winnow.storage.atom_filter import AtomFilter

if TYPE_CHECKING:
    import asyncpg

    from plugins.knowing import World
    from winnow.storage.engine import Database

HOSTILE = (
    "# [x](javascript:alert(1)) <img src=x onerror=alert(1)> ![p](http://t.example/p.png) "
    "\u202e`code` \x1b[2J\n\n- item"
)


async def text_of(database: Database, **values: Any) -> str:
    return b"".join([piece async for piece in export(database, Export(**values))]).decode()


async def records(database: Database, **values: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await text_of(database, **values)).splitlines()]


@pytest.mark.parametrize("page", [1, 2, 1000])
async def test_every_atom_is_there_once_with_what_belongs_to_it(
    page: int, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    head, *lines, end = await records(database, chosen=AtomFilter(statuses=None))
    assert (head["record"], head["schema"]) == ("winnow.export", 1)
    atoms = {line["id"]: line for line in lines if line["record"] == "atom"}
    assert list(atoms) == sorted(world.atoms.values())
    assert end == {"record": "end", "topics": 2, "atoms": len(atoms)}
    seen: set[int] = set()
    for line in lines:
        if line["record"] == "topic":
            seen.add(line["id"])
        else:
            assert line["topic_id"] is None or line["topic_id"] in seen, "a topic comes before its first atom"
    redis = atoms[world.atoms["redis"]]
    assert redis["evidence"][0]["quote"] == "let us use Redis"
    assert (redis["superseded_by"], redis["superseded_because"]) == (
        world.atoms["postgres"],
        "it needs no second server",
    )
    assert [(link["type"], link["other_id"]) for link in redis["links"]] == [("supersedes", world.atoms["postgres"])]
    assert atoms[world.atoms["claimed"]]["claims"][0]["quote"] == "it leaks"


async def test_versions_and_filters(world: World, database: Database, sql: asyncpg.Connection) -> None:
    await sql.execute(
        "INSERT INTO atom_versions (atom_id, version, state, type, title, content, confidence, made_by) "
        "VALUES ($1, 1, 'past', 'decision', 'Use it', 'Use it', 0.7, 'rules')", world.atoms["redis"],
    )  # fmt: skip
    lines = await records(database, chosen=AtomFilter(types=(AtomType.DECISION,), until=FRIDAY))
    (redis,) = [line for line in lines if line["record"] == "atom"]
    assert [(one["version"], one["state"], one["title"]) for one in redis["versions"]] == [(1, "past", "Use it")]


async def test_nothing_known_is_a_whole_file_too(database: Database) -> None:
    assert [line["record"] for line in await records(database)] == ["winnow.export", "end"]
    for by in Sections:
        assert "Nothing is known that fits." in await text_of(database, format=Format.MARKDOWN, by=by)


@pytest.mark.parametrize("page", [1, 100])
async def test_people_read_a_log_what_is_open_and_what_was_solved(
    page: int, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_markdown, "PAGE", page)
    done = Export(format=Format.MARKDOWN)
    text = b"".join([piece async for piece in export(database, done)]).decode()
    sections = dict(re.findall(r"^## (.+)\n((?:.|\n)*?)(?=^## |\Z)", text, re.MULTILINE))
    assert list(sections) == ["Decision log", "Open questions", "Questions and answers", "Unsolved problems"]
    log = sections["Decision log"]
    assert log.index("~~Use Redis~~") < log.index("Use PostgreSQL\n"), "in the order of time"
    assert "**Superseded** 2026-03-06 by: Use PostgreSQL" in log
    assert "because it needs no second server" in log
    assert "> “let us use Redis”  \n> — Ana, \\#team, 2026-03-02 09:01 UTC" in log
    assert "When do we release?" in sections["Open questions"]
    assert "**Answer:** It is fast" in sections["Questions and answers"]
    assert "**Closed** 2026-03-06: eaten" in sections["Questions and answers"]
    assert "confidence 70%" in sections["Unsolved problems"]
    assert text.count("\n### ") == done.atoms == 6, "the answer stands with its question"
    assert not any(hidden in text for hidden in ("Dance", "second cache", "may leak", "it is*"))
    del world


async def test_topic_by_topic_every_atom_stands_once(world: World, database: Database) -> None:
    done = Export(format=Format.MARKDOWN, by=Sections.TOPIC)
    text = b"".join([piece async for piece in export(database, done)]).decode()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Release", "Cache", "Without a topic"]
    assert text.count("\n### ") == done.atoms == 7
    only = AtomFilter(topic_id=world.topics["Cache"], types=(AtomType.QUESTION,))
    one = await text_of(database, format=Format.MARKDOWN, by=Sections.TOPIC, chosen=only)
    assert re.findall(r"^##+ (.+)$", one, re.MULTILINE) == ["Cache", "2026-03-02 · question · Why Redis?"]


@pytest.mark.parametrize("by", Sections)
async def test_what_people_wrote_is_never_markup(by: Sections, database: Database, sql: asyncpg.Connection) -> None:
    topic = await sql.fetchval("INSERT INTO topics (name) VALUES ($1) RETURNING id", HOSTILE)
    message = await say(sql, HOSTILE, author=HOSTILE, channel=HOSTILE)
    await know(
        sql, "decision", HOSTILE, message, content=f"{HOSTILE} more", topic_id=topic, extractor=HOSTILE,
        valid_until=FRIDAY, superseded_because=HOSTILE, closed_at=FRIDAY, closed_because=HOSTILE,
    )  # fmt: skip
    text = await text_of(database, format=Format.MARKDOWN, by=by)
    assert not re.search(r"(?<!\\)[\[<`]", text)
    assert not re.search(r"^\s*-", text, re.MULTILINE)
    assert not re.search("[\u202e\x1b]", text)
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert len(headings) == 3, "the document's, the section's, the atom's"
    (line,) = [line for line in (await text_of(database)).splitlines() if '"record":"atom"' in line]
    assert not re.search("[\u202e\x1b\x85]", line)
    assert json.loads(line)["content"] == f"{HOSTILE} more", "for programs it is as it was"


async def test_only_what_fits_is_held_in_memory(
    database: Database, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is of one page, however much there is."""
    for number in range(30):
        await know(sql, "idea", f"idea {number}", said_at=MONDAY)
    monkeypatch.setattr(module, "PAGE", 7)
    monkeypatch.setattr(export_markdown, "PAGE", 7)
    for form in Format:
        pieces = [piece.decode() async for piece in export(database, Export(format=form))]
        most = max(piece.count('"record":"atom"') + piece.count("\n### ") for piece in pieces)
        assert most == 7, form
