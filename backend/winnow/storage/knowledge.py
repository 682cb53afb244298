"""What an extraction found, as stored: one commit for all of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomStatus, LinkType
from winnow.domain.memory import MemoryRules
from winnow.errors import RunLost
from winnow.storage.messages import score_columns
from winnow.storage.recall import recall
from winnow.storage.superseding import apply_superseding
from winnow.storage.topics import save_topics
from winnow.storage.versions import propose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from winnow.domain.knowledge import ExtractedAtom, Extraction
    from winnow.storage.messages import StoredScore
    from winnow.storage.recall import Recalled
    from winnow.storage.unit_of_work import UnitOfWork

CHANGED_MEANWHILE = "a message that it quotes was changed or removed meanwhile; its messages are read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedExtraction:
    """Ids of what a run's commit wrote, new or grown; `unproven` counts new atoms without words that prove them."""

    atom_ids: tuple[int, ...]
    topic_ids: tuple[int, ...]
    links: int
    unproven: int = 0


@dataclass(slots=True)
class _Saving:
    """One commit: what it writes, by which rules, and what it knows so far.

    `confidences` are of the atoms by place, `said` when their words were said, `ids` the atoms they became (None: what
    has neither words nor a message is nothing), `revealed` those known ones that were hidden until now.
    """

    work: UnitOfWork
    run_id: int
    extraction: Extraction
    rules: MemoryRules
    confidences: Sequence[float]
    topics: Mapping[str, int] = field(default_factory=dict)
    said: list[datetime | None] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    unproven: int = 0
    revealed: list[int] = field(default_factory=list)

    @property
    def atoms(self) -> Sequence[ExtractedAtom]:
        return self.extraction.atoms


async def save_extraction(
    work: UnitOfWork,
    run_id: int,
    extraction: Extraction,
    scores: Sequence[StoredScore] = (),
    *,
    rules: MemoryRules | None = None,
    confidences: Sequence[float] | None = None,
) -> SavedExtraction:
    """Writes all that a run found, and takes its messages off the queue, inside the caller's transaction.

    What is known already grows; what is new is active, or hidden when it is below the cut or has no words to prove it.
    The order of locks: `sql/knowledge.sql`.

    Args:
        work: the transaction.
        run_id: the run that found it.
        extraction: what it found.
        scores: stored where a message still has none.
        rules: of what is hidden, and which wordings replace others.
        confidences: of the atoms, as judged; None: as the extractor gave them.

    Raises:
        RunLost: somebody else gave the run up, or changed or removed a message that it quotes; the caller rolls back.
    """
    given = [atom.confidence for atom in extraction.atoms] if confidences is None else confidences
    saving = _Saving(work, run_id, extraction, rules or MemoryRules(), given)
    await work.fetch("hold_knowledge", False)
    saving.topics = await save_topics(work, extraction)
    saving.said = await _check_words(saving)
    await _save_what_was_learned(saving, {score.id: score for score in scores})
    await work.fetch("hold_atoms")
    await _save_atoms(saving)
    links = await _save_links(saving)
    atom_ids = tuple(dict.fromkeys(row for row in saving.ids if row is not None))
    # The run first, then its messages: who gives a run up locks them in this order, too.
    if not await work.fetch("finish_run", run_id, len(atom_ids), len(set(saving.topics.values())), links):
        raise RunLost
    await work.fetch("dequeue_messages", run_id)
    return SavedExtraction(
        atom_ids=atom_ids,
        topic_ids=tuple(sorted(set(saving.topics.values()))),
        links=links,
        unproven=saving.unproven,
    )


async def _check_words(saving: _Saving) -> list[datetime | None]:
    """When each atom's first words were said; None of one that nothing was said of."""
    quotes = [(place, one) for place, atom in enumerate(saving.atoms) for one in atom.evidence]
    claims = [(place, one) for place, atom in enumerate(saving.atoms) if not atom.evidence for one in atom.claims]
    said: dict[int, datetime] = {}
    if quotes:
        columns = [
            list(column) for column in zip(*((q.message_id, q.start, q.end, q.quote) for _, q in quotes), strict=True)
        ]
        rows = await saving.work.fetch("check_quotes", *columns)
        if any(row.misquoted for row in rows):
            raise RunLost(CHANGED_MEANWHILE)
        for (place, _), row in zip(quotes, rows, strict=True):
            said[place] = min(said.get(place, row.sent_at), row.sent_at)
    if claims:
        ids = sorted({claim.message_id for _, claim in claims})
        moments = {row.id: row.sent_at for row in await saving.work.fetch("moments_of_messages", ids)}
        if len(moments) < len(ids):
            raise RunLost(CHANGED_MEANWHILE)
        for place, claim in claims:
            said[place] = min(said.get(place, moments[claim.message_id]), moments[claim.message_id])
    return [said.get(place) for place in range(len(saving.atoms))]


async def _save_what_was_learned(saving: _Saving, scores: Mapping[int, StoredScore]) -> None:
    topics = {message: saving.topics[name] for message, name in saving.extraction.message_topics.items()}
    ids = sorted(topics.keys() | scores.keys())
    found = [scores.get(row) for row in ids]
    await saving.work.fetch(
        "write_what_was_learned",
        ids,
        [topics.get(row) for row in ids],
        *score_columns([score.score if score else None for score in found]),
    )


async def _save_atoms(saving: _Saving) -> None:
    """The new ones, what grew, and the words of both."""
    recalled = await recall(saving.work, saving.extraction, saving.topics)
    new = [
        place
        for place, known in enumerate(recalled)
        if known.atom_id is None and known.twin is None and saving.said[place] is not None
    ]
    made = await _insert(saving, new)
    for place, known in enumerate(recalled):
        if saving.said[place] is None:
            saving.ids.append(None)
        elif known.twin is not None:
            saving.ids.append(saving.ids[known.twin])
        else:
            saving.ids.append(made[place] if known.atom_id is None else known.atom_id)
    grown = [place for place, row in enumerate(saving.ids) if row is not None and place not in made]
    await _grow(saving, grown)
    await _save_words(saving)
    for place, known in enumerate(recalled):
        if known.reworded is not None and saving.ids[place] is not None:
            await _propose(saving, place, known)


def _status(saving: _Saving, place: int) -> AtomStatus:
    if not saving.atoms[place].evidence:
        return AtomStatus.UNPROVEN
    return AtomStatus.ACTIVE if saving.confidences[place] >= saving.rules.cut else AtomStatus.CANDIDATE


async def _insert(saving: _Saving, places: Sequence[int]) -> dict[int, int]:
    """The ids of the new atoms by place."""
    if not places:
        return {}
    # In the order of what makes twins: nor does who writes atoms by hand wait for us in a circle.
    places = sorted(places, key=lambda place: (saving.atoms[place].type, saving.atoms[place].content.lower()))
    atoms = [saving.atoms[place] for place in places]
    statuses = [_status(saving, place) for place in places]
    saving.unproven = statuses.count(AtomStatus.UNPROVEN)
    rows = await saving.work.fetch(
        "insert_atoms",
        [atom.type.value for atom in atoms],
        [atom.title for atom in atoms],
        [atom.content for atom in atoms],
        [saving.confidences[place] for place in places],
        [atom.confidence for atom in atoms],
        [status.value for status in statuses],
        [saving.topics.get(atom.topic or "") for atom in atoms],
        [saving.said[place] for place in places],
        saving.run_id,
    )
    ids = {(row.type, row.content): int(row.id) for row in rows}
    if missing := [atom for atom in atoms if (atom.type.value, atom.content) not in ids]:
        # Two that differ for us and not for the index, or one that somebody wrote by hand in this moment.
        ids |= await _by_content(saving, missing)
    return {place: ids[atom.type.value, atom.content] for place, atom in zip(places, atoms, strict=True)}


async def _by_content(saving: _Saving, atoms: Sequence[ExtractedAtom]) -> dict[tuple[str, str], int]:
    types, contents = [atom.type.value for atom in atoms], [atom.content for atom in atoms]
    rows = await saving.work.fetch("atoms_by_content", types, contents)
    if len(rows) < len(atoms):
        raise RunLost
    return {(types[row.place - 1], contents[row.place - 1]): int(row.id) for row in rows}


async def _grow(saving: _Saving, places: Sequence[int]) -> None:
    if places:
        rows = await saving.work.fetch(
            "grow_atoms",
            [saving.ids[place] for place in places],
            [saving.confidences[place] for place in places],
            [saving.said[place] for place in places],
            [bool(saving.atoms[place].evidence) for place in places],
            saving.rules.cut,
        )
        saving.revealed = [row.id for row in rows]


async def _save_words(saving: _Saving) -> None:
    evidence = [
        (atom_id, one.message_id, one.start, one.end, one.quote)
        for atom_id, atom in zip(saving.ids, saving.atoms, strict=True)
        if atom_id is not None
        for one in atom.evidence
    ]
    if evidence:
        await saving.work.fetch("insert_evidence", *(list(column) for column in zip(*evidence, strict=True)))
    claims = [
        (atom_id, one.message_id, one.quote)
        for atom_id, atom in zip(saving.ids, saving.atoms, strict=True)
        if atom_id is not None and not atom.evidence
        for one in atom.claims
    ]
    if claims:
        await saving.work.fetch("insert_claims", *(list(column) for column in zip(*claims, strict=True)))


async def _propose(saving: _Saving, place: int, known: Recalled) -> None:
    await propose(
        saving.work,
        known.reworded,
        saving.atoms[place],
        confidence=saving.confidences[place],
        run_id=saving.run_id,
        rules=saving.rules,
    )


async def _save_links(saving: _Saving) -> int:
    """How many there are; of those that say that something is superseded, it is."""
    meant = await _meant(saving)
    strongest: dict[tuple[int, int, str], float] = {}
    replaced: list[tuple[int, int, str, datetime | None, bool]] = []
    ends = [(link, saving.ids[link.source], saving.ids[link.target], False) for link in saving.extraction.links] + [
        (link, saving.ids[link.source], meant.get(link.atom_id), True) for link in saving.extraction.links_to_known
    ]
    for link, source, target, named in ends:
        if source is None or target is None or source == target:  # twins may have become one atom
            continue
        key = (source, target, link.type.value)
        strongest[key] = max(link.confidence, strongest.get(key, 0.0))
        if link.type is LinkType.SUPERSEDES:
            replaced.append((source, target, link.reason, saving.said[link.source], named))
    if strongest:
        columns = zip(*(key for key in strongest), strict=True)
        await saving.work.fetch("insert_links", *(list(column) for column in columns), list(strongest.values()))
    if replaced:
        await saving.work.fetch("supersede", *(list(column) for column in zip(*replaced, strict=True)))
    await apply_superseding(saving.work, saving.revealed)
    return len(strongest)


async def _meant(saving: _Saving) -> dict[int, int]:
    """What the known atoms that were offered are by now: some may be gone, or merged."""
    offered = sorted({link.atom_id for link in saving.extraction.links_to_known})
    rows = await saving.work.fetch("atoms_meant", offered) if offered else []
    return {row.given: row.id for row in rows}
