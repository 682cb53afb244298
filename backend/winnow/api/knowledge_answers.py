"""Knowledge in the shapes that the API and `--json` show; needs no web framework."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from winnow.api import knowledge_schemas as schemas
from winnow.api.answers import atom_out
from winnow.domain.word_diff import word_diff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.storage.reading import AtomCounts, AtomPage, AtomRecord
    from winnow.storage.reading_in_full import AtomInFull, VersionRecord
    from winnow.storage.reading_topics import TopicInFull

CURRENT, PAST = "current", "past"


def page_out(page: AtomPage) -> schemas.AtomsOut:
    """A page of atoms."""
    return schemas.AtomsOut(
        items=[atom_out(atom) for atom in page.items], next_cursor=page.next.token() if page.next else None
    )


def open_page_out(page: AtomPage, counts: AtomCounts) -> schemas.OpenPageOut:
    """A page of what is open."""
    now = datetime.now(UTC)
    return schemas.OpenPageOut(
        items=[open_out(atom, now) for atom in page.items],
        next_cursor=page.next.token() if page.next else None,
        total=counts.total,
    )


def open_out(atom: AtomRecord, now: datetime) -> schemas.OpenOut:
    """Something open, with who said it and for how long it has been."""
    return schemas.OpenOut(**dict(atom_out(atom)), asked_by=asked_by(atom), days_open=days_open(atom, now))


def asked_by(atom: AtomRecord) -> str | None:
    """Who said its first words."""
    authors = [quote.author for quote in atom.evidence] or [claim.author for claim in atom.claims]
    return (authors[0] or None) if authors else None


def days_open(atom: AtomRecord, now: datetime) -> int | None:
    """Whole days since it was said."""
    return max((now - atom.said_at).days, 0) if atom.said_at else None


def counts_out(counts: AtomCounts) -> schemas.AtomCountsOut:
    """How many there are."""
    return schemas.AtomCountsOut(total=counts.total, types=dict(counts.types), statuses=dict(counts.statuses))


def topic_out(topic: TopicInFull) -> schemas.TopicInFullOut:
    """A topic."""
    return schemas.TopicInFullOut(**asdict(topic))


def atom_in_full_out(found: AtomInFull) -> schemas.AtomInFullOut:
    """An atom with all that is known of it."""
    return schemas.AtomInFullOut(
        **dict(atom_out(found.atom)),
        conversations=[schemas.ConversationOut(**asdict(talk)) for talk in found.conversations],
        versions=versions_out(found.atom, found.versions),
        run=schemas.FoundByOut(**asdict(found.run)) if found.run else None,
        reviews=[schemas.ReviewOut(**asdict(review)) for review in found.reviews],
    )


def versions_out(atom: AtomRecord, versions: Sequence[VersionRecord]) -> list[schemas.VersionOut]:
    """Wordings with what changed: past and current ones against the one before, others against the current one."""
    out, before = [], None
    for version in versions:
        kept = version.state in {CURRENT, PAST}
        old = before if kept else (atom.title, atom.content)
        if old is None:
            old = (version.title, version.content)
        if kept:
            before = (version.title, version.content)
        values = {name: value for name, value in asdict(version).items() if name != "atom_id"}
        out.append(
            schemas.VersionOut(
                **values,
                title_changes=_pieces(old[0], version.title),
                content_changes=_pieces(old[1], version.content),
            )
        )
    return out


def _pieces(old: str, new: str) -> list[schemas.PieceOut]:
    return [schemas.PieceOut(change=piece.change, text=piece.text) for piece in word_diff(old, new)]
