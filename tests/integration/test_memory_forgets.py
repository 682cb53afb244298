"""Nobody's words outlive their message: not in titles that others' words helped to make, nor in old wordings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from plugins.pipeline import add_messages
from plugins.remembering import Find, ids_of
from winnow.domain.jobs import Lane
from winnow.domain.knowledge import AtomType, Evidence, ExtractedAtom, ExtractedLink, Extraction, LinkType
from winnow.domain.leftovers import holds, only_in
from winnow.domain.messages import Details
from winnow.pipeline import forget as forgetting
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.forget import by_ids, forget, weigh_forgetting
from winnow.pipeline.review import Wording, edit, merge
from winnow.storage.edits import Edit, apply_edits

if TYPE_CHECKING:
    import asyncpg

    from plugins.remembering import Memory
    from winnow.pipeline.review import Reviewing
    from winnow.storage.engine import Database

POSTGRES, REDIS = "We will use Postgres", "Redis it is"


async def of_several(memory: Memory, texts: list[str], content: str, title: str = "a title") -> list[int]:
    """One atom from several messages."""
    ids = await add_messages(memory.sql, texts)
    words = tuple(Evidence(message_id=row, start=0, end=len(t), quote=t) for row, t in zip(ids, texts, strict=True))
    made = ExtractedAtom(
        type=AtomType.DECISION, title=title, content=content, confidence=0.9, evidence=words, topic="storage"
    )
    memory.extractor.answer = lambda _window: Extraction(atoms=(made,))
    await extract_knowledge(memory.extracting, ids, lane=Lane.LIVE)
    return ids


async def gone(memory: Memory, database: Database, ids: list[int]) -> Any:
    """Forgets them, and the receipt is what the dry run said."""
    expected = await weigh_forgetting(database, by_ids(ids))
    done = await forget(memory.extracting.units, database, by_ids(ids))
    assert done.removed == expected.removed
    return done.removed


async def queued(sql: asyncpg.Connection) -> list[int]:
    return [row["message_id"] for row in await sql.fetch("SELECT message_id FROM extraction_queue ORDER BY 1")]


async def test_an_unproven_atom_goes_with_the_message_it_was_read_in(memory: Memory, database: Database) -> None:
    ids = await memory.save(Find(content=POSTGRES, quoted=False), Find(content=REDIS))
    assert (await gone(memory, database, ids[:1])).atoms == 1
    assert [found["content"] for found in await memory.atoms()] == [REDIS]


async def test_an_atom_with_words_of_the_removed_quote_goes_and_the_rest_is_read_again(
    memory: Memory, database: Database
) -> None:
    ids = await of_several(memory, ["let us take Postgres", "yes for the ledger"], "Postgres for the ledger")
    assert await queued(memory.sql) == []
    removed = await gone(memory, database, ids[:1])
    assert (removed.atoms, removed.evidence, removed.atoms_kept) == (1, 2, 0)
    assert await queued(memory.sql) == ids[1:]
    assert await memory.sql.fetchval("SELECT count(*) FROM extraction_runs WHERE window_hash IS NOT NULL") == 0


async def test_what_others_said_in_the_same_words_stays(memory: Memory, database: Database) -> None:
    ids = await of_several(memory, ["we take Postgres", "Postgres, agreed"], "Postgres it is")
    removed = await gone(memory, database, ids[:1])
    assert (removed.atoms, removed.atoms_kept) == (0, 1)
    assert await queued(memory.sql) == []


async def test_receipts_count_right_in_many_batches(
    memory: Memory, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BATCH_MESSAGES", 1)
    texts = ["let us take Postgres", "for the ledger", "since Tuesday", "fine"]
    ids = await of_several(memory, texts, "Postgres for the ledger since Tuesday")
    await of_several(memory, ["apples", "pears"], "apples and pears")
    removed = await gone(memory, database, ids[:3])
    assert (removed.atoms, removed.evidence, removed.messages) == (1, 4, 3)
    assert await queued(memory.sql) == ids[3:]


async def test_old_wordings_and_what_was_judged_lose_the_words(
    memory: Memory, database: Database, reviewing: Reviewing
) -> None:
    ids = await of_several(memory, ["let us take Postgres", "yes for the ledger"], "Postgres for the ledger")
    (row,) = await ids_of(memory, ["Postgres for the ledger"])
    await edit(reviewing, row, Wording(content="The ledger has a store"))
    assert (await gone(memory, database, ids[:1])).atoms == 0
    assert await memory.versions(row) == [(2, "current", "The ledger has a store")]
    assert await memory.sql.fetchval("SELECT count(*) FROM atom_reviews") == 0


async def test_what_was_merged_goes_when_its_words_go(memory: Memory, database: Database, reviewing: Reviewing) -> None:
    ids = await memory.save(Find(content=POSTGRES), Find(content="the elephant database"))
    kept, lost = await ids_of(memory, [POSTGRES, "the elephant database"])
    await merge(reviewing, lost, kept)
    removed = await gone(memory, database, ids[1:])
    assert (removed.atoms, removed.atoms_kept) == (1, 1)
    assert [found["content"] for found in await memory.atoms()] == [POSTGRES]


async def test_what_lives_on_in_an_atom_goes_with_it(memory: Memory, database: Database, reviewing: Reviewing) -> None:
    ids = await memory.save(Find(content=POSTGRES), Find(content="the elephant database"))
    kept, lost = await ids_of(memory, [POSTGRES, "the elephant database"])
    await merge(reviewing, lost, kept)
    assert (await gone(memory, database, ids)).atoms == 2


async def test_what_was_superseded_holds_again_when_its_successor_goes(memory: Memory, database: Database) -> None:
    links = tuple(ExtractedLink(source=new, target=new - 1, type=LinkType.SUPERSEDES, confidence=0.7) for new in (1, 2))
    ids = await memory.save(Find(content=POSTGRES), Find(content=REDIS), Find(content="Neither"), links=links)
    first, _, third = await ids_of(memory, [POSTGRES, REDIS, "Neither"])
    await gone(memory, database, ids[1:2])
    found = await memory.atom(POSTGRES)
    assert found["superseded_by"] == third, "what came after the one that went still holds"
    await gone(memory, database, ids[2:])
    found = await memory.atom(POSTGRES)
    assert (found["id"], found["superseded_by"], found["valid_until"]) == (first, None, None)


async def test_an_edit_takes_the_same_along(memory: Memory) -> None:
    ids = await of_several(memory, ["let us take Postgres", "yes for the ledger"], "Postgres for the ledger")
    edit_ = Edit(id=ids[0], text="let us take Redis", edited_at=datetime(2025, 6, 1, tzinfo=UTC), details=Details())
    async with memory.extracting.units.begin() as work:
        await apply_edits(work, [edit_])
    assert await memory.atoms() == []
    assert await queued(memory.sql) == ids


@pytest.mark.parametrize(
    ("removed", "remaining", "text", "left"),
    [
        (["we take Postgres"], ["agreed"], "Postgres it is", True),
        (["we take Postgres"], ["Postgres, agreed"], "Postgres it is", False),
        (["миграция базы"], ["да"], "Миграцию начать", True),
        (["at 10"], ["ok"], "meeting at 10", True),
        (["and so it is"], [], "and so it is", False),
    ],
)
def test_words_are_known_by_their_beginning(removed: list[str], remaining: list[str], text: str, *, left: bool) -> None:
    assert holds(text, only_in(removed, remaining)) is left
