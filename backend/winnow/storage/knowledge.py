"""What an extraction found, as stored: one commit for all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.errors import RunLost
from winnow.storage.messages import score_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.knowledge import Extraction
    from winnow.storage.messages import StoredScore
    from winnow.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedExtraction:
    """Ids of what a run's commit wrote, new or grown."""

    atom_ids: tuple[int, ...]
    topic_ids: tuple[int, ...]
    links: int


async def save_extraction(
    work: UnitOfWork, run_id: int, extraction: Extraction, scores: Sequence[StoredScore] = ()
) -> SavedExtraction:
    """Writes all that a run found, and takes its messages off the queue, inside the caller's transaction.

    `scores` are stored where a message still has none.

    Raises:
        RunLost: somebody else gave the run up, or changed or removed a message that it quotes; the caller rolls back.
    """
    await work.fetch("hold_knowledge", False)
    names = {atom.topic for atom in extraction.atoms if atom.topic} | set(extraction.message_topics.values())
    await work.fetch("upsert_topics", sorted(names))
    topics = {row.name: int(row.id) for row in await work.fetch("topics_by_name", sorted(names))}
    atom_ids = await _save_atoms(work, run_id, extraction, topics)
    await _save_evidence(work, extraction, atom_ids)
    links = await _save_links(work, extraction, atom_ids)
    filed = {message: topics[name] for message, name in extraction.message_topics.items()}
    await _save_what_was_learned(work, filed, {score.id: score for score in scores})
    # The run first, then its messages: who gives a run up locks them in this order, too.
    if not await work.fetch("finish_run", run_id, len(set(atom_ids)), len(topics), links):
        raise RunLost
    await work.fetch("dequeue_messages", run_id)
    return SavedExtraction(
        atom_ids=tuple(dict.fromkeys(atom_ids)), topic_ids=tuple(sorted(topics.values())), links=links
    )


async def _save_what_was_learned(
    work: UnitOfWork, topics: Mapping[int, int], scores: Mapping[int, StoredScore]
) -> None:
    ids = sorted(topics.keys() | scores.keys())
    found = [scores.get(row) for row in ids]
    await work.fetch(
        "write_what_was_learned",
        ids,
        [topics.get(row) for row in ids],
        *score_columns([score.score if score else None for score in found]),
    )


async def _save_atoms(work: UnitOfWork, run_id: int, extraction: Extraction, topics: Mapping[str, int]) -> list[int]:
    """The id of each atom. They are written in the order of what makes twins, so that runs never wait in a circle."""
    ids: dict[int, int] = {}
    for place, atom in sorted(enumerate(extraction.atoms), key=lambda item: (item[1].type, item[1].content.lower())):
        topic_id = topics.get(atom.topic or "")
        rows = await work.fetch("upsert_atom", atom.type, atom.title, atom.content, atom.confidence, topic_id, run_id)
        ids[place] = int(rows[0].id)
    return [ids[place] for place in range(len(extraction.atoms))]


async def _save_evidence(work: UnitOfWork, extraction: Extraction, atom_ids: Sequence[int]) -> None:
    rows = [
        (atom_id, evidence.message_id, evidence.start, evidence.end, evidence.quote)
        for atom_id, atom in zip(atom_ids, extraction.atoms, strict=True)
        for evidence in atom.evidence
    ]
    if rows:
        atoms, *places = (list(column) for column in zip(*rows, strict=True))
        if (await work.fetch("count_misquoted", *places))[0].number:
            raise RunLost("a message that it quotes was changed or removed meanwhile; its messages are read again")
        await work.fetch("insert_evidence", atoms, *places)


async def _save_links(work: UnitOfWork, extraction: Extraction, atom_ids: Sequence[int]) -> int:
    strongest: dict[tuple[int, int, str], float] = {}
    for link in extraction.links:
        key = (atom_ids[link.source], atom_ids[link.target], link.type.value)
        if key[0] != key[1]:  # twins may have become one atom
            strongest[key] = max(link.confidence, strongest.get(key, 0.0))
    if strongest:
        columns = zip(*(key for key in strongest), strict=True)
        await work.fetch("insert_links", *(list(column) for column in columns), list(strongest.values()))
    return len(strongest)
