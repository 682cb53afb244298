"""Knowledge as Markdown for people: a decision log, open questions, problems with their solutions; or topic by topic.

What people wrote stands in it as words, and never as markup (domain/markdown.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType
from winnow.domain.markdown import escaped
from winnow.storage.atom_filter import AtomFilter, Order
from winnow.storage.reading import AtomRecord, atoms_by_id, list_atoms
from winnow.storage.reading_topics import list_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from winnow.storage.atom_filter import Place
    from winnow.storage.engine import Database
    from winnow.storage.reading import QuoteRecord

PAGE = 100
QUOTES = 3
QUOTE_CHARACTERS = 600
LAST = 2**53
ENDS = " .,:;!?…\n\t"


class Sections(StrEnum):
    """What Markdown is ordered by."""

    TYPE = "type"
    TOPIC = "topic"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A heading, and the atoms below it; `only` leaves out those that stand elsewhere."""

    title: str
    types: tuple[AtomType, ...] = ()
    only: frozenset[str] = frozenset()


OPEN, DONE, ALONE = "open", "done", "alone"
QUESTIONS = (AtomType.QUESTION,)
PROBLEMS = (AtomType.PROBLEM, AtomType.BLOCKER)
BY_TYPE = (
    _Section(title="Decision log", types=(AtomType.DECISION, AtomType.REQUIREMENT)),
    _Section(title="Open questions", types=QUESTIONS, only=frozenset({OPEN})),
    _Section(title="Questions and answers", types=QUESTIONS, only=frozenset({DONE})),
    _Section(title="Unsolved problems", types=PROBLEMS, only=frozenset({OPEN})),
    _Section(title="Problems and solutions", types=PROBLEMS, only=frozenset({DONE})),
    _Section(title="Actions", types=(AtomType.ACTION,)),
    _Section(title="Ideas", types=(AtomType.IDEA,)),
    _Section(title="Risks", types=(AtomType.RISK,)),
    _Section(title="Insights and patterns", types=(AtomType.INSIGHT, AtomType.PATTERN)),
    _Section(title="Other answers and solutions", types=(AtomType.ANSWER, AtomType.SOLUTION), only=frozenset({ALONE})),
)


async def as_markdown(database: Database, chosen: AtomFilter, *, by: Sections) -> AsyncIterator[tuple[str, int]]:
    """The document, piece by piece, each with how many atoms it holds."""
    yield f"# What is known\n\nWritten by Winnow, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.\n", 0
    written = 0
    pieces = _by_type(database, chosen) if by is Sections.TYPE else _by_topic(database, chosen)
    async for text, atoms in pieces:
        written += atoms
        yield text, atoms
    if not written:
        yield "\nNothing is known that fits.\n", 0


async def _by_type(database: Database, chosen: AtomFilter) -> AsyncIterator[tuple[str, int]]:
    for section in BY_TYPE:
        types = tuple(one for one in section.types if not chosen.types or one in chosen.types)
        if types:
            async for piece in _section(database, replace(chosen, types=types), f"## {section.title}", section.only):
                yield piece


async def _by_topic(database: Database, chosen: AtomFilter) -> AsyncIterator[tuple[str, int]]:
    before = LAST
    while topics := await list_topics(database, before=before, limit=PAGE):
        for topic in topics:
            if chosen.topic_id in {None, topic.id}:
                of_topic = replace(chosen, topic_id=topic.id)
                async for piece in _section(database, of_topic, f"## {escaped(topic.name)}", typed=True):
                    yield piece
        before = topics[-1].id
    if chosen.topic_id is None:
        async for piece in _section(database, replace(chosen, no_topic=True), "## Without a topic", typed=True):
            yield piece


async def _section(
    database: Database, wanted: AtomFilter, heading: str, only: frozenset[str] = frozenset(), *, typed: bool = False
) -> AsyncIterator[tuple[str, int]]:
    """The heading, if there is something to stand below it, and each atom in the order it was said."""
    after: Place | None = None
    wanted = replace(wanted, open=wanted.open or OPEN in only)
    while True:
        page = await list_atoms(database, wanted, order=Order.OLDEST, after=after, limit=PAGE)
        atoms = [atom for atom in page.items if _belongs(atom, only)]
        replies = await atoms_by_id(database, sorted({reply for atom in atoms for reply in atom.replies}))
        if atoms:
            entries = "".join(_entry(atom, replies, typed=typed) for atom in atoms)
            yield (f"\n{heading}\n" if heading else "") + entries, len(atoms)
            heading = ""
        after = page.next
        if after is None:
            return


def _belongs(atom: AtomRecord, only: frozenset[str]) -> bool:
    if DONE in only:
        return atom.closed_at is not None or atom.superseded or bool(atom.replies)
    return ALONE not in only or not atom.is_reply


def _entry(atom: AtomRecord, replies: Mapping[int, AtomRecord], *, typed: bool) -> str:
    title = escaped(atom.title)
    shown = f"~~{title}~~" if atom.superseded else title
    day = f"{atom.said_at:%Y-%m-%d} · " if atom.said_at else ""
    kind = f"{atom.type} · " if typed or atom.type in {AtomType.REQUIREMENT, AtomType.BLOCKER} else ""
    lines = [f"\n### {day}{kind}{shown}\n", f"\n{_remark(atom, topic=not typed)}\n"]
    if not _same(atom.content, atom.title) and not any(_same(atom.content, quote.quote) for quote in atom.evidence):
        lines.append(f"\n{escaped(atom.content)}\n")
    lines += [_quote(quote) for quote in atom.evidence[:QUOTES]]
    if len(atom.evidence) > QUOTES:
        lines.append(f"\nand {len(atom.evidence) - QUOTES:,} more that say so\n")
    if atom.superseded:
        lines.append(f"\n**Superseded** {_day(atom.valid_until)}{_by(atom)}\n")
    if atom.closed_at:
        because = f": {escaped(atom.closed_because)}" if atom.closed_because else ""
        lines.append(f"\n**Closed** {_day(atom.closed_at)}{because}\n")
    for reply in (replies[identity] for identity in atom.replies if identity in replies):
        lines.append(f"\n**{reply.type.capitalize()}:** {escaped(reply.title)}\n")
        lines += [_quote(quote) for quote in reply.evidence[:1]]
    return "".join(lines)


def _same(one: str, other: str) -> bool:
    """Whether two texts differ in their ends at most: in a full stop, say."""
    return one.strip(ENDS).casefold() == other.strip(ENDS).casefold()


def _remark(atom: AtomRecord, *, topic: bool) -> str:
    parts = [f"topic: {escaped(atom.topic)}"] if topic and atom.topic else []
    if atom.status != "active":
        parts.append(atom.status)
    parts.append(f"found by {escaped(atom.extractor)}, confidence {atom.confidence:.0%}")
    return f"*{' · '.join(parts)}* (atom {atom.id})"


def _by(atom: AtomRecord) -> str:
    by = f" by: {escaped(atom.superseded_by_title)} (atom {atom.superseded_by})" if atom.superseded_by_title else ""
    return by + (f", because {escaped(atom.superseded_because)}" if atom.superseded_because else "")


def _quote(quote: QuoteRecord) -> str:
    words = quote.quote if len(quote.quote) <= QUOTE_CHARACTERS else f"{quote.quote[: QUOTE_CHARACTERS - 1]}…"
    author, channel = escaped(quote.author) or "somebody", escaped(quote.channel_title or quote.channel)
    return f"\n> “{escaped(words)}”  \n> — {author}, {channel}, {quote.sent_at:%Y-%m-%d %H:%M} UTC\n"


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""
