"""Atoms that turn out to say the same once they have vectors become one; near twins do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from plugins.pipeline import add_atom, add_messages
from plugins.remembering import Find
from winnow.domain.jobs import CompareJob, Kind
from winnow.errors import QueueUnavailable
from winnow.pipeline.compare import Comparing, compare_atoms
from winnow.pipeline.embed import Embedding, embed_rows

if TYPE_CHECKING:
    import asyncpg

    from plugins.pipeline import RecordingDispatcher, SteeredEmbedder
    from plugins.remembering import Memory
    from winnow.storage.engine import Database
    from winnow.storage.unit_of_work import UnitsOfWork

ONE, TWIN, OTHER = (
    "настройка сервера сборки занимает час",
    "настройки серверов сборки занимают час",
    "настройка сервера сборки занимает 2 часа",
)
OTHERS = [
    pair
    for line in (Path(__file__).parents[1] / "fixtures" / "near_twins.jsonl").read_text("utf-8").splitlines()
    if (pair := json.loads(line))["differ_in"]
]


@pytest.fixture
def comparing(database: Database, units: UnitsOfWork) -> Comparing:
    return Comparing(database=database, units=units)


@pytest.fixture
def alike(embedding: Embedding, embedder: SteeredEmbedder, monkeypatch: pytest.MonkeyPatch) -> Embedding:
    """An embedder for whom all texts are one."""
    monkeypatch.setattr(embedder, "vector", lambda _text: np.ones(8, dtype=np.float32))
    return embedding


async def embedded(alike: Embedding, sql: asyncpg.Connection) -> list[int]:
    ids = [row["id"] for row in await sql.fetch("SELECT id FROM atoms ORDER BY id")]
    await embed_rows(alike, Kind.ATOMS, ids)
    return ids


async def test_what_the_vectors_bring_together_and_the_words_allow_is_merged(
    memory: Memory, comparing: Comparing, alike: Embedding
) -> None:
    said = [*await memory.save(Find(content=ONE)), *await memory.save(Find(content=TWIN, confidence=0.95))]
    await memory.save(Find(content=OTHER))
    ids = await embedded(alike, memory.sql)
    assert len(ids) == 3
    assert await compare_atoms(comparing, ids) == 1
    one, twin, other = await memory.atoms()
    assert (twin["status"], twin["merged_into"], other["status"]) == ("merged", one["id"], "active")
    assert await memory.evidence(one["id"]) == said
    assert one["embedding"] is not None, "no words have changed, so nothing is embedded and compared again"
    assert await compare_atoms(comparing, ids) == 0
    await memory.save(Find(content=TWIN))
    assert len(await memory.atoms()) == 3, "the merged one is known again"


async def test_three_of_a_kind_end_in_the_first(
    comparing: Comparing, alike: Embedding, sql: asyncpg.Connection
) -> None:
    for words in (ONE, TWIN, "настройку серверами сборки занимаем час"):
        await add_atom(sql, "t", words)
    ids = await embedded(alike, sql)
    assert await compare_atoms(comparing, ids) == 2
    assert {row["merged_into"] for row in await sql.fetch("SELECT merged_into FROM atoms")} == {None, ids[0]}


async def test_hidden_superseded_and_other_types_are_left_alone(
    comparing: Comparing, alike: Embedding, sql: asyncpg.Connection
) -> None:
    first = await add_atom(sql, "t", ONE)
    for values in ({"status": "candidate"}, {"status": "rejected"}):
        await add_atom(sql, "t", f"{TWIN} {values['status']}"[: len(TWIN)] + "." * len(values["status"]), **values)
    await add_atom(sql, "t", TWIN, type="idea")
    newer = await add_atom(sql, "t", f"{TWIN}!")
    await sql.execute("UPDATE atoms SET superseded_by = $2 WHERE id = $1", first, newer)
    assert await compare_atoms(comparing, await embedded(alike, sql)) == 0


async def test_no_near_twin_is_ever_merged(
    comparing: Comparing, alike: Embedding, sql: asyncpg.Connection, memory: Memory
) -> None:
    for number, pair in enumerate(OTHERS):
        topic = f"topic {number}"
        await memory.save(Find(content=pair["one"], topic=topic))
        await memory.save(Find(content=pair["other"], topic=topic))
    before = await memory.atoms()
    assert {found["content"] for found in before} == {pair[side] for pair in OTHERS for side in ("one", "other")}
    assert await sql.fetchval("SELECT count(*) FROM atom_versions") == 0
    await compare_atoms(comparing, await embedded(alike, sql))
    assert {found["status"] for found in await memory.atoms()} == {"active"}


async def test_new_vectors_are_promised_to_be_compared_once(
    embedding: Embedding, dispatcher: RecordingDispatcher, sql: asyncpg.Connection
) -> None:
    told = replace(embedding, dispatcher=dispatcher)
    ids = [await add_atom(sql, "t", words) for words in (ONE, OTHER)]
    await embed_rows(told, Kind.ATOMS, ids)
    await embed_rows(told, Kind.MESSAGES, await add_messages(sql, ["no atom"]))
    assert dispatcher.jobs == [CompareJob(tuple(ids))]
    dispatcher.error = QueueUnavailable()
    await embed_rows(told, Kind.ATOMS, [await add_atom(sql, "t", TWIN)])
    assert await sql.fetchval("SELECT count(*) FROM atoms WHERE embedding IS NULL") == 0, "it is embedded all the same"
