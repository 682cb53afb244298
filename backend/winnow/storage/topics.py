"""Topics as stored: known again by name or by their salient terms, made where missing; their terms grow with them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from winnow.domain.messages import storable
from winnow.domain.topics import Spread, grown_terms, match_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.domain.knowledge import Extraction
    from winnow.storage.unit_of_work import UnitOfWork

# Of a topic, the terms that another must share one of, to be looked at; and how many are.
_TELLING_TERMS = 6
_MOST_LOOKED_AT = 50
# How many topics, the latest, tell which terms are said everywhere.
_COUNTED_TOPICS = 200
_DIGITS = re.compile(r"\d+")


async def save_topics(work: UnitOfWork, extraction: Extraction) -> dict[str, int]:
    """The id of the topic that each name of the extraction stands for.

    A new name whose terms are those of a known topic stands for that: its identity stays when it grows.
    """
    names = {atom.topic for atom in extraction.atoms if atom.topic} | set(extraction.message_topics.values())
    if not names:
        return {}
    known = {row.name: int(row.id) for row in await work.fetch("topics_by_name", sorted(names))}
    meant = {name: name for name in names}
    spread = await _spread(work, extraction.terms)
    for name in sorted(names - known.keys()):
        if terms := extraction.terms.get(name):
            meant[name] = await _known_by_terms(work, name, terms, spread) or name
    wanted = sorted(set(meant.values()))
    await work.fetch("upsert_topics", [name for name in wanted if name not in known])
    ids = {row.name: int(row.id) for row in await work.fetch("topics_by_name", wanted)}
    await _grow(work, {meant[name]: terms for name, terms in extraction.terms.items() if name in meant}, spread)
    return {name: ids[other] for name, other in meant.items()}


async def _spread(work: UnitOfWork, found: Mapping[str, Mapping[str, float]]) -> Spread:
    terms = sorted({storable(term) for terms in found.values() for term in terms})
    rows = await work.fetch("spread_of_terms", terms, _COUNTED_TOPICS) if terms else []
    return Spread(rows[0].topics if rows else 0, {row.term: row.having for row in rows})


async def _known_by_terms(work: UnitOfWork, name: str, terms: Mapping[str, float], spread: Spread) -> str | None:
    telling = sorted(terms, key=lambda term: (-terms[term], term))[:_TELLING_TERMS]
    rows = await work.fetch("topics_by_terms", [storable(term) for term in telling], _MOST_LOOKED_AT)
    numbers = _DIGITS.findall(name)
    # "Release 2.4" and "Release 2.5" are two, whatever is said of them.
    known = {row.name: json.loads(row.terms) for row in rows if _DIGITS.findall(row.name) == numbers}
    return match_topic(terms, known, spread)


async def _grow(work: UnitOfWork, found: Mapping[str, Mapping[str, float]], spread: Spread) -> None:
    """Only where other terms are the telling ones by now: to write a topic costs more than it is worth otherwise."""
    if not found:
        return
    rows = await work.fetch("terms_of_topics", sorted(found))
    grown = {}
    for row in rows:
        old = json.loads(row.terms)
        new = grown_terms(old, found[row.name], spread)
        if new.keys() != old.keys():
            grown[row.id] = json.dumps({storable(term): weight for term, weight in new.items()})
    if grown:
        await work.fetch("write_terms", list(grown), list(grown.values()))
