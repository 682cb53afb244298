"""What is known already of what was found: each statement is new, the same as a known one, or another wording of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from winnow.domain.knowledge import AtomStatus, LinkType
from winnow.domain.sameness import Verdict, telling_words, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.knowledge import ExtractedAtom, Extraction
    from winnow.storage.unit_of_work import UnitOfWork

# Of several known atoms that say the same, the one that is found comes first.
_ORDER = {status: place for place, status in enumerate(("active", "candidate", "unproven", "merged", "rejected"))}


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a statement turned out to be.

    Attributes:
        atom_id: of the known atom that it says the same as; None: it says something new.
        twin: the place of an earlier statement of the same extraction that says the same.
        reworded: the known atom, where this is another wording of it.
    """

    atom_id: int | None = None
    twin: int | None = None
    reworded: Any = None


async def recall(work: UnitOfWork, extraction: Extraction, topics: Mapping[str, int]) -> list[Recalled]:
    """For each atom of the extraction what is known of it; for who holds the atoms."""
    atoms = extraction.atoms
    if not atoms:
        return []
    rows = await work.fetch(
        "recall",
        [atom.type.value for atom in atoms],
        [atom.content for atom in atoms],
        [telling_words(atom.content) for atom in atoms],
    )
    candidates: dict[int, list[Any]] = {}
    for row in rows:
        candidates.setdefault(row.place - 1, []).append(row)
    refined = {(link.source, link.atom_id) for link in extraction.links_to_known if link.type is LinkType.REFINES}
    found: list[Recalled] = []
    for place, atom in enumerate(atoms):
        topic = topics.get(atom.topic or "")
        known = _known(atom, topic, candidates.get(place, ()), {row for at, row in refined if at == place})
        twin = None if known.atom_id or known.reworded else _twin(atoms, place)
        found.append(known if twin is None else Recalled(twin=twin))
    return found


def _known(atom: ExtractedAtom, topic_id: int | None, rows: Sequence[Any], refined: set[int]) -> Recalled:
    reworded = None
    for row in sorted(rows, key=lambda row: (row.content.lower() != atom.content.lower(), not row.known, _rank(row))):
        said = Verdict.SAME if row.known else _said_of(atom, row, topic_id, refined)
        if said is Verdict.SAME:
            return Recalled(atom_id=row.merged_into or row.id)
        if said is Verdict.CHANGED and row.status == AtomStatus.ACTIVE and atom.evidence:
            reworded = reworded or row
    return Recalled(atom_id=reworded.id, reworded=reworded) if reworded else Recalled()


def _rank(row: Any) -> tuple[int, int]:
    return _ORDER[row.status], row.id


def _said_of(atom: ExtractedAtom, row: Any, topic_id: int | None, refined: set[int]) -> Verdict:
    one_topic = topic_id is not None and topic_id == row.topic_id
    return verdict(row.content, atom.content, one_topic=one_topic, refines=row.id in refined)


def _twin(atoms: Sequence[ExtractedAtom], place: int) -> int | None:
    mine = atoms[place]
    return next(
        (
            earlier
            for earlier, other in enumerate(atoms[:place])
            if other.type is mine.type and verdict(other.content, mine.content) is Verdict.SAME
        ),
        None,
    )
