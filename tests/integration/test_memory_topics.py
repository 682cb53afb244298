"""A topic is known again by its terms, and keeps its name and identity while it grows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from plugins.remembering import Find

if TYPE_CHECKING:
    from plugins.remembering import Memory

TERMS = {"postgres": 1.0, "vacuum": 0.8, "replica": 0.6}


async def topics(memory: Memory) -> dict[str, set[str]]:
    rows = await memory.sql.fetch("SELECT name, terms::text AS terms FROM topics ORDER BY id")
    return {row["name"]: set(json.loads(row["terms"])) for row in rows}


async def test_another_name_with_the_same_terms_is_the_same_topic(memory: Memory) -> None:
    await memory.save(Find(content="we vacuum at night", topic="vacuum"), terms={"vacuum": TERMS})
    more = TERMS | {"autovacuum": 0.7}
    await memory.save(Find(content="replicas lag", topic="replica lag"), terms={"replica lag": more})
    assert await topics(memory) == {"vacuum": {*TERMS, "autovacuum"}}
    assert await memory.sql.fetchval("SELECT count(DISTINCT topic_id) FROM atoms") == 1
    assert await memory.sql.fetchval("SELECT max(topics) FROM extraction_runs") == 1


@pytest.mark.parametrize(
    ("first", "other", "terms"),
    [("vacuum", "lunch", {"pizza": 1.0, "vacuum": 0.05}), ("release 2.4", "release 2.5", TERMS)],
)
async def test_other_terms_or_another_number_are_another_topic(
    memory: Memory, first: str, other: str, terms: dict[str, float]
) -> None:
    await memory.save(Find(content="we vacuum at night", topic=first), terms={first: TERMS})
    await memory.save(Find(content="something else", topic=other), terms={other: terms})
    assert list(await topics(memory)) == [first, other]


async def test_a_name_that_is_known_stands_for_itself(memory: Memory) -> None:
    await memory.save(Find(content="we vacuum at night", topic="vacuum"), terms={"vacuum": TERMS})
    await memory.save(Find(content="we vacuum by day", topic="vacuum"), terms={"vacuum": {"noise": 1.0}})
    await memory.save(Find(content="no terms at all", topic="vacuum"))
    assert list(await topics(memory)) == ["vacuum"]


async def test_a_word_that_every_topic_has_leads_to_none(memory: Memory) -> None:
    for number, word in enumerate(("turtle", "syntax", "mailing", "syntactic", "editor", "framing")):
        name = f"{word} of json-ld"
        terms = {"json-ld": 1.0, word: 0.6, f"{word}s": 0.5}
        await memory.save(Find(content=f"we talk about {word} {number}", topic=name), terms={name: terms})
    assert len(await topics(memory)) == 6
    again = {"json-ld": 1.0, "turtle": 0.8, "turtles": 0.4}
    await memory.save(Find(content="turtles again", topic="json-ld"), terms={"json-ld": again})
    assert len(await topics(memory)) == 6
