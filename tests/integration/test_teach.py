"""What people accept and reject teaches a judge, who says from then on how sure finds are, and what it is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from plugins.remembering import Find
from winnow.domain.knowledge import AtomType
from winnow.pipeline.review import Wording, accept, edit, reject
from winnow.pipeline.teach import TEACH_EVERY, Bench, standing, teach

if TYPE_CHECKING:
    from plugins.remembering import Memory
    from winnow.pipeline.review import Reviewing
    from winnow.storage.engine import Database

GOOD = [f"we decided to keep shard {number} on Postgres" for number in range(12)]
BAD = [f"maybe lunch later with colleague {number}" for number in range(12)]


async def review_all(memory: Memory, reviewing: Reviewing) -> None:
    await memory.save(*(Find(content=text, confidence=0.5) for text in [*GOOD, *BAD]))
    atoms = {found["content"]: found["id"] for found in await memory.atoms()}
    await accept(reviewing, [atoms[text] for text in GOOD])
    await reject(reviewing, [atoms[text] for text in BAD])


async def test_later_finds_are_as_sure_as_people_found_the_like(
    memory: Memory, reviewing: Reviewing, database: Database
) -> None:
    taught = replace(memory, extracting=replace(memory.extracting, bench=Bench(database)))
    await taught.save(Find(content="we decided to keep shard 98 on Postgres", confidence=0.5))
    assert (await memory.atom("we decided to keep shard 98 on Postgres"))["confidence"] == pytest.approx(0.5)
    await review_all(memory, reviewing)
    assert await memory.sql.fetchval("SELECT count(*) FROM judges") > 0, "it happened by itself"
    taught = replace(memory, extracting=replace(memory.extracting, bench=Bench(database)))
    await taught.save(
        Find(content="we decided to keep shard 99 on Postgres", confidence=0.5),
        Find(content="maybe lunch later with colleague 99", confidence=0.5),
    )
    good = await memory.atom("we decided to keep shard 99 on Postgres")
    bad = await memory.atom("maybe lunch later with colleague 99")
    assert good["confidence"] > 0.6
    assert bad["confidence"] < 0.4
    assert (good["status"], bad["status"]) == ("active", "candidate")
    assert (good["raw_confidence"], bad["raw_confidence"]) == (0.5, 0.5), "the extractor's own is kept"


async def test_the_worth_of_what_was_learned_is_told(memory: Memory, reviewing: Reviewing, database: Database) -> None:
    await review_all(memory, reviewing)
    await teach(database)
    state = await standing(database)
    assert (state.reviews, state.taught) == (24, 24)
    (count,) = state.accepted
    assert (count.type, count.extractor, count.accepted, count.rejected) == ("decision", "steered", 12, 12)
    assert state.judge is not None
    report = state.judge.judge.report
    assert report.before is not None
    assert report.after is not None
    assert report.after.brier < report.before.brier
    weights = await memory.sql.fetchval("SELECT weights FROM judges ORDER BY id DESC LIMIT 1")
    assert b"lunch" not in weights
    assert b"Postgres" not in weights


async def test_it_is_taught_after_each_ten_reviews_and_few_judges_are_kept(
    memory: Memory, reviewing: Reviewing, database: Database
) -> None:
    await memory.save(*(Find(content=text, confidence=0.5) for text in [*GOOD, *BAD]))
    ids = [found["id"] for found in await memory.atoms()]
    for row in ids[: TEACH_EVERY - 1]:
        await accept(reviewing, [row])
    assert await memory.sql.fetchval("SELECT count(*) FROM judges") == 0
    await reject(reviewing, [ids[-1]])
    assert await memory.sql.fetchval("SELECT reviews FROM judges") == TEACH_EVERY
    for _ in range(7):
        await teach(database)
    assert await memory.sql.fetchval("SELECT count(*) FROM judges") == 5


async def test_a_corrected_type_is_a_lesson(memory: Memory, reviewing: Reviewing, database: Database) -> None:
    await memory.save(Find(content=GOOD[0]))
    (found,) = await memory.atoms()
    await edit(reviewing, found["id"], Wording(type=AtomType.IDEA))
    await teach(database)
    state = await standing(database)
    assert state.judge is not None
    assert state.judge.judge.weights


async def test_an_atom_judged_several_times_is_one_lesson_and_few_lessons_move_nothing(
    memory: Memory, reviewing: Reviewing, database: Database
) -> None:
    await memory.save(*(Find(content=text, confidence=0.5) for text in [*GOOD[:3], BAD[0]]))
    ids = [found["id"] for found in await memory.atoms()]
    for _ in range(TEACH_EVERY):
        await accept(reviewing, ids)
        await reject(reviewing, ids[:1])
    assert await memory.sql.fetchval("SELECT count(*) FROM atom_reviews") > TEACH_EVERY
    assert await memory.sql.fetchval("SELECT count(*) FROM judges") == 0
    await teach(database)
    state = await standing(database)
    assert (state.reviews, state.taught) == (4, 4)
    assert state.judge is not None
    report = state.judge.judge.report
    assert (report.reviews, report.right) == (4, 3)
    assert state.judge.judge.use == "taught by 4 atoms; used from 20 on"
    taught = replace(memory, extracting=replace(memory.extracting, bench=Bench(database)))
    await taught.save(Find(content="we decided to keep shard 99 on Postgres", confidence=0.5))
    assert (await memory.atom("we decided to keep shard 99 on Postgres"))["confidence"] == pytest.approx(0.5)
