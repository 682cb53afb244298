"""What people do with atoms: accept, reject, edit, merge, supersede, close; whole or not at all, safe to repeat."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import EmbedJob, Kind, Lane
from winnow.domain.knowledge import AtomStatus, AtomType
from winnow.domain.memory import CLOSABLE, REPLACEABLE
from winnow.domain.messages import storable
from winnow.errors import AtomNotFound, InvalidInput, ReviewRefused
from winnow.pipeline.teach import teach_if_due
from winnow.storage import reviews as stored
from winnow.storage.superseding import apply_superseding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from winnow.storage.engine import Database
    from winnow.storage.reviews import JudgedAtom
    from winnow.storage.unit_of_work import UnitOfWork, UnitsOfWork

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 1000
MOST_TITLE_CHARACTERS = 300
MOST_CONTENT_CHARACTERS = 10_000
MOST_REASON_CHARACTERS = 500
ACCEPTED = {"accept", "edit"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewing:
    """What reviewing needs. `by` is who reviews."""

    units: UnitsOfWork
    database: Database
    by: str = "somebody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """The atoms as they are now, and which of them this changed."""

    atoms: Mapping[int, JudgedAtom]
    changed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What to change of an atom; None: it stays."""

    title: str | None = None
    content: str | None = None
    type: AtomType | None = None
    topic: str | None = None


@dataclass(slots=True)
class _Held:
    """Atoms that nobody else writes, in an open transaction; `changed` are those that this one has."""

    work: UnitOfWork
    atoms: Mapping[int, JudgedAtom]
    changed: list[int] = field(default_factory=list)


async def accept(tools: Reviewing, ids: Sequence[int]) -> Reviewed:
    """These atoms are right: what was hidden is found from now on. Rejected ones come back.

    Raises:
        AtomNotFound, ReviewRefused: of one of them; then nothing is changed.
    """
    async with _holding(tools, ids) as held:
        new = [one.id for one in _unmerged(held) if one.status != AtomStatus.ACTIVE or one.verdict not in ACCEPTED]
        hidden = [row for row in new if held.atoms[row].status != AtomStatus.ACTIVE]
        await stored.write_verdict(held.work, new, "accept", AtomStatus.ACTIVE.value, tools.by)
        await apply_superseding(held.work, hidden)
        held.changed += new
    return await _done(tools, held, "accepted", taught=True)


async def reject(tools: Reviewing, ids: Sequence[int]) -> Reviewed:
    """These atoms are wrong, and are never found again, however often they are said. What they superseded holds again.

    Raises:
        AtomNotFound, ReviewRefused: of one of them; then nothing is changed.
    """
    async with _holding(tools, ids) as held:
        new = [one.id for one in _unmerged(held) if one.status != AtomStatus.REJECTED]
        await stored.write_verdict(held.work, new, "reject", AtomStatus.REJECTED.value, tools.by)
        await stored.free_superseded(held.work, new)
        held.changed += new
    return await _done(tools, held, "rejected", taught=True)


async def edit(tools: Reviewing, atom_id: int, wording: Wording, *, reason: str = "") -> Reviewed:
    """Gives an atom other words, type or topic; the words it had stay as a past version. What was hidden is found.

    Raises:
        AtomNotFound, ReviewRefused: it is merged, or another atom has these words.
        InvalidInput: the words are blank or too long.
    """
    wording = _checked(wording)
    async with _holding(tools, [atom_id]) as held:
        (atom,) = _unmerged(held)
        type_ = (wording.type or AtomType(atom.type)).value
        title, content = wording.title or atom.title, wording.content or atom.content
        reworded = (type_, title, content) != (atom.type, atom.title, atom.content)
        refiled = wording.topic is not None and wording.topic != atom.topic
        if reworded:
            if twin := await stored.twin_of(held.work, atom_id, type_, content):
                raise ReviewRefused(f"atom {twin} says just that; merge {atom_id} into it instead")
            await stored.write_verdict(held.work, [atom_id], "edit", AtomStatus.ACTIVE.value, tools.by)
            await stored.write_words(
                held.work, atom, type_=type_, title=title, content=content, by=tools.by, reason=_short(reason)
            )
        elif refiled:
            await stored.write_verdict(held.work, [atom_id], "accept", AtomStatus.ACTIVE.value, tools.by)
        if reworded and atom.status != AtomStatus.ACTIVE:
            await apply_superseding(held.work, [atom_id])
        if refiled and wording.topic is not None:
            topic_id = await stored.file_under(held.work, atom_id, wording.topic)
            held.work.promise(EmbedJob(Kind.TOPICS, (topic_id,)), Lane.LIVE)
        held.changed += [atom_id] * (reworded or refiled)
    return await _done(tools, held, "edited", taught=True)


async def merge(tools: Reviewing, lost: int, kept: int) -> Reviewed:
    """One atom lives on in another: what proves it, its links, and what it superseded.

    Raises:
        AtomNotFound, ReviewRefused: they are one, of different types, or one is merged or the other rejected.
    """
    async with _holding(tools, [lost, kept]) as held:
        one, other = held.atoms[lost], held.atoms[kept]
        if lost == kept:
            raise ReviewRefused(f"atom {lost} cannot be merged into itself")
        if one.merged_into != kept:
            _require_unmerged([one, other])
            if one.type != other.type:
                raise ReviewRefused(
                    f"atom {lost} is of type {one.type}, and {kept} of type {other.type}; edit the type of one first"
                )
            if other.status == AtomStatus.REJECTED:
                raise ReviewRefused(f"atom {kept} was rejected; accept it first, or merge it into {lost}")
            await held.work.fetch("insert_reviews", [lost], "merge", tools.by)
            await held.work.fetch("merge_atom", lost, kept)
            if one.status == AtomStatus.ACTIVE != other.status:
                await held.work.fetch("judge_atoms", [kept], AtomStatus.ACTIVE.value, tools.by)
            held.changed += [lost, kept]
    return await _done(tools, held, "merged", taught=True)


async def supersede(tools: Reviewing, older: int, newer: int, *, reason: str = "") -> Reviewed:
    """A decision or requirement holds until another took its place; it stays, and is shown with what replaced it.

    Raises:
        AtomNotFound, ReviewRefused: they are one, of other or different types, hidden, or would supersede each other.
    """
    async with _holding(tools, [older, newer]) as held:
        old, new = held.atoms[older], held.atoms[newer]
        _require_replaceable(old, new)
        if old.superseded_by != newer:
            now = datetime.now(UTC)
            await held.work.fetch("reopen_atoms", [older])
            at = max(new.said_at or now, old.said_at or new.said_at or now)
            if not await stored.supersede(held.work, older, newer, _short(reason), at):
                raise ReviewRefused(f"atom {newer} cannot take the place of {older}")
            held.changed.append(older)
    return await _done(tools, held, "superseded")


async def close(tools: Reviewing, ids: Sequence[int], *, reason: str = "") -> Reviewed:
    """Questions, problems, blockers, risks or actions that came to an end; they are open no more.

    Raises:
        AtomNotFound, ReviewRefused: of one of them; then nothing is changed.
    """
    async with _holding(tools, ids) as held:
        for one in _unmerged(held):
            if one.type not in CLOSABLE:
                raise ReviewRefused(f"atom {one.id} is of type {one.type}; only {_listed(CLOSABLE)} can be closed")
        held.changed += [row.id for row in await held.work.fetch("close_atoms", list(held.atoms), _short(reason))]
    return await _done(tools, held, "closed")


async def reopen(tools: Reviewing, ids: Sequence[int]) -> Reviewed:
    """What was closed is open again; what was superseded holds again.

    Raises:
        AtomNotFound, ReviewRefused: of one of them; then nothing is changed.
    """
    async with _holding(tools, ids) as held:
        _unmerged(held)
        held.changed += [row.id for row in await held.work.fetch("reopen_atoms", list(held.atoms))]
    return await _done(tools, held, "reopened")


async def approve_version(tools: Reviewing, atom_id: int, version: int) -> Reviewed:
    """A proposed wording becomes the atom's; the one it had stays as a past one.

    Raises:
        AtomNotFound: there is no such atom, or no such version.
        ReviewRefused: it is not proposed (any more), or another atom has these words.
    """
    async with _holding(tools, [atom_id]) as held:
        (atom,) = _unmerged(held)
        found = await _version(held.work, atom_id, version)
        if found.state != "current":
            if found.state != "proposed":
                raise ReviewRefused(
                    f"version {version} of atom {atom_id} is {found.state}; only proposed ones are decided"
                )
            if twin := await stored.twin_of(held.work, atom_id, found.type, found.content):
                raise ReviewRefused(f"atom {twin} says just that; merge {atom_id} into it, or reject the version")
            await held.work.fetch("approve_version", atom_id, version, tools.by)
            await held.work.fetch("judge_atoms", [atom_id], atom.status, tools.by)
            held.changed.append(atom_id)
    return await _done(tools, held, "version_approved")


async def reject_version(tools: Reviewing, atom_id: int, version: int) -> Reviewed:
    """A proposed wording is not wanted, and is not proposed again.

    Raises:
        AtomNotFound: there is no such atom, or no such version.
        ReviewRefused: it is the current wording, or a past one.
    """
    async with _holding(tools, [atom_id]) as held:
        _unmerged(held)
        found = await _version(held.work, atom_id, version)
        if found.state not in {"proposed", "rejected"}:
            raise _decided(atom_id, version, found.state)
        if await held.work.fetch("reject_version", atom_id, version, tools.by):
            held.changed.append(atom_id)
    return await _done(tools, held, "version_rejected")


@asynccontextmanager
async def _holding(tools: Reviewing, ids: Sequence[int]) -> AsyncIterator[_Held]:
    """The atoms, held; what is changed of them is promised to the embedders."""
    if not ids:
        raise InvalidInput("say which atoms")
    if len(ids) > MOST_AT_ONCE:
        raise InvalidInput(f"at most {MOST_AT_ONCE:,} atoms at once")
    async with tools.units.begin() as work:
        await stored.hold_atoms(work)
        held = _Held(work, await stored.atoms_to_judge(work, ids))
        if missing := [row for row in ids if row not in held.atoms]:
            raise AtomNotFound(f"there is no atom {missing[0]}")
        yield held
        held.atoms = await stored.atoms_to_judge(work, ids)
        found = tuple(row for row in held.changed if held.atoms[row].status == AtomStatus.ACTIVE)
        work.promise(EmbedJob(Kind.ATOMS, found), Lane.LIVE)


async def _done(tools: Reviewing, held: _Held, what: str, *, taught: bool = False) -> Reviewed:
    if held.changed:
        log.info("review.done", what=what, atoms=len(held.changed))
        if taught:
            await teach_if_due(tools.database)
    return Reviewed(atoms=held.atoms, changed=tuple(held.changed))


def _unmerged(held: _Held) -> list[JudgedAtom]:
    _require_unmerged(held.atoms.values())
    return list(held.atoms.values())


def _require_unmerged(atoms: Iterable[JudgedAtom]) -> None:
    for one in atoms:
        if one.status == AtomStatus.MERGED:
            raise ReviewRefused(f"atom {one.id} was merged already: it lives on in {one.merged_into}")


def _require_replaceable(old: JudgedAtom, new: JudgedAtom) -> None:
    if old.id == new.id:
        raise ReviewRefused(f"atom {old.id} cannot take its own place")
    _require_unmerged([old, new])
    for one in (old, new):
        if one.type not in REPLACEABLE:
            raise ReviewRefused(f"atom {one.id} is of type {one.type}; only {_listed(REPLACEABLE)} are superseded")
        if one.status != AtomStatus.ACTIVE:
            raise ReviewRefused(f"atom {one.id} is {one.status}; accept it first")
    if old.type != new.type:
        raise ReviewRefused(f"atom {old.id} is of type {old.type}, and {new.id} of type {new.type}")
    if new.superseded_by == old.id:
        raise ReviewRefused(f"atom {old.id} has taken the place of {new.id}; reopen {new.id} first")


def _decided(atom_id: int, version: int, state: str) -> ReviewRefused:
    return ReviewRefused(f"version {version} of atom {atom_id} is {state}; only proposed ones are decided")


async def _version(work: UnitOfWork, atom_id: int, version: int) -> stored.VersionState:
    found = await stored.version_of(work, atom_id, version)
    if found is None:
        raise AtomNotFound(f"atom {atom_id} has no version {version}")
    return found


def _checked(wording: Wording) -> Wording:
    checked = replace(
        wording,
        title=_words("title", wording.title, MOST_TITLE_CHARACTERS),
        content=_words("content", wording.content, MOST_CONTENT_CHARACTERS),
        topic=_words("topic", wording.topic, MOST_TITLE_CHARACTERS),
    )
    if checked == Wording():
        raise InvalidInput("say what to change: the title, the content, the type or the topic")
    return checked


def _words(name: str, given: str | None, most: int) -> str | None:
    if given is None:
        return None
    words = storable(given).strip()
    if not words:
        raise InvalidInput(f"the {name} may not be blank")
    if len(words) > most:
        raise InvalidInput(f"the {name} has {len(words):,} characters; at most {most:,} are kept")
    return words


def _short(reason: str) -> str:
    return storable(reason).strip()[:MOST_REASON_CHARACTERS]


def _listed(types: Iterable[AtomType]) -> str:
    *most, last = sorted(f"{one.value}s" for one in types)
    return f"{', '.join(most)} and {last}"
