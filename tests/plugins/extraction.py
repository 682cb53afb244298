"""What an extractor may find in a window, and what of it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType, Evidence, ExtractedAtom, ExtractedLink, Extraction, LinkType

if TYPE_CHECKING:
    import asyncpg

    from winnow.domain.knowledge import Window


def atom(
    message_id: int, content: str, quote: str, *, type_: AtomType = AtomType.PROBLEM, start: int = 0
) -> ExtractedAtom:
    evidence = Evidence(message_id=message_id, start=start, end=start + len(quote), quote=quote)
    return ExtractedAtom(
        type=type_, title=content[:20], content=content, confidence=0.7, evidence=(evidence,), topic="releases"
    )


def an_atom_a_message(window: Window) -> Extraction:
    """A problem and its solution from each message."""
    atoms = [
        made
        for message in window.messages
        for made in (
            atom(message.id, f"problem {message.text}", message.text),
            atom(message.id, f"solution {message.text}", message.text, type_=AtomType.SOLUTION),
        )
    ]
    links = tuple(
        ExtractedLink(source=place + 1, target=place, type=LinkType.SOLVES, confidence=0.5)
        for place in range(0, len(atoms), 2)
    )
    topics = {message.id: "releases" for message in window.messages}
    return Extraction(atoms=tuple(atoms), links=links, message_topics=topics)


async def numbers(sql: asyncpg.Connection) -> dict[str, int]:
    tables = ("atoms", "atom_links", "atom_evidence", "topics", "extraction_queue")
    return {table: await sql.fetchval(f"SELECT count(*) FROM {table}") for table in tables}


async def left(sql: asyncpg.Connection) -> list[tuple[int, int | None, int]]:
    """What is queued: message, run, failures."""
    rows = await sql.fetch("SELECT message_id, run_id, failures FROM extraction_queue ORDER BY message_id")
    return [tuple(row) for row in rows]


NOTHING = {"atoms": 0, "atom_links": 0, "atom_evidence": 0, "topics": 0}
