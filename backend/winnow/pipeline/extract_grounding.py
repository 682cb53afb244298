"""From what a model answered to knowledge: numbers become ids, quotes places in messages, names links."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from winnow.domain.folding import fold
from winnow.domain.knowledge import Claim, Evidence, ExtractedAtom, ExtractedLink, Extraction, LinkToKnown
from winnow.pipeline.extract_answer import MOST_ATOMS, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from winnow.domain.knowledge import KnownAtom, LinkType
    from winnow.pipeline.extract_answer import Given, GivenAtom, GivenQuote
    from winnow.pipeline.extract_prompt import Sheet, Shown

EVIDENCE_CHARACTERS = 2000
CLAIM_CHARACTERS = 500
# A quote that is not where it is said to be is looked for elsewhere only if it is no common word.
_TELLING_WORDS = 2
_TELLING_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class Grounded:
    """What an answer came to, and what of it could not be used, counted by why."""

    extraction: Extraction
    dropped: Counter[str]


def ground_answer(given: Given, sheet: Sheet) -> Grounded:
    """The answer as knowledge of the messages on the sheet."""
    dropped = Counter(given.dropped)
    names = _names_of_topics(sheet)
    topics: dict[int, str] = {}
    for name, numbers in given.topics:
        for number in numbers:
            if number in sheet.new:
                topics.setdefault(sheet.new[number].message.id, _topic(name, names))
    atoms: list[ExtractedAtom] = []
    places: dict[str, int] = {}
    twins: dict[tuple[str, str], int] = {}
    for one in given.atoms:
        atom = _atom(one, sheet, names, topics, dropped)
        place = twins.setdefault((atom.type, fold(atom.content).text), len(atoms))
        places.setdefault(one.name, place)
        if place == len(atoms):
            atoms.append(atom)
        else:
            atoms[place] = _together(atoms[place], atom)
            dropped["an atom that was said already"] += 1
    for atom in atoms:
        for evidence in atom.evidence if atom.topic else ():
            topics.setdefault(evidence.message_id, str(atom.topic))
    links, to_known = _links(given, atoms, places, sheet, dropped)
    extraction = Extraction(atoms=tuple(atoms), links=links, links_to_known=to_known, message_topics=topics)
    return Grounded(extraction, dropped)


def joined(parts: Sequence[Extraction]) -> Extraction:
    """What was found in the parts of a window, in their order: at most 40 atoms, the surest ones."""
    atoms = [atom for part in parts for atom in part.atoms]
    kept = sorted(sorted(range(len(atoms)), key=lambda place: -atoms[place].confidence)[:MOST_ATOMS])
    place_of = {place: index for index, place in enumerate(kept)}
    links: list[ExtractedLink] = []
    to_known: list[LinkToKnown] = []
    before = 0
    for part in parts:
        links += [replace(link, source=before + link.source, target=before + link.target) for link in part.links]
        to_known += [replace(link, source=before + link.source) for link in part.links_to_known]
        before += len(part.atoms)
    return Extraction(
        atoms=tuple(atoms[place] for place in kept),
        links=tuple(
            replace(link, source=place_of[link.source], target=place_of[link.target])
            for link in links
            if link.source in place_of and link.target in place_of
        ),
        links_to_known=tuple(
            replace(link, source=place_of[link.source]) for link in to_known if link.source in place_of
        ),
        message_topics={message: name for part in reversed(parts) for message, name in part.message_topics.items()},
    )


def proven_in(extraction: Extraction, ids: Iterable[int]) -> Extraction:
    """The atoms whose evidence is all in these messages, without links."""
    wanted = set(ids)
    return Extraction(
        atoms=tuple(
            atom
            for atom in extraction.atoms
            if atom.evidence and wanted.issuperset(evidence.message_id for evidence in atom.evidence)
        ),
        message_topics={message: name for message, name in extraction.message_topics.items() if message in wanted},
    )


def _names_of_topics(sheet: Sheet) -> dict[str, str]:
    """The offered names by how they may be written."""
    return {fold(shown).text.strip(): name for shown, name in sheet.topics.items()}


def _topic(name: str, names: dict[str, str]) -> str:
    """The name as it was offered, or as it was written first."""
    return names.setdefault(fold(name).text.strip(), name)


def _atom(
    given: GivenAtom, sheet: Sheet, names: dict[str, str], topics: dict[int, str], dropped: Counter[str]
) -> ExtractedAtom:
    found = [_evidence(quote, sheet) for quote in given.quotes]
    dropped["a quote that is in no new message"] += found.count(None)
    evidence = tuple(dict.fromkeys(one for one in found if one is not None))
    topic = _topic(given.topic, names) if given.topic else None
    return ExtractedAtom(
        type=given.type,
        title=given.title,
        content=given.content,
        confidence=given.confidence,
        evidence=evidence,
        topic=topic or next((topics[one.message_id] for one in evidence if one.message_id in topics), None),
        claims=() if evidence else _claims(given.quotes, sheet),
    )


def _evidence(quote: GivenQuote, sheet: Sheet) -> Evidence | None:
    """Where the quote is: in the message that is named, else word for word in another new one.

    What is context proves nothing.
    """
    named = sheet.new.get(quote.number or 0)
    if named is not None and (found := _found(quote.words, named)):
        return found
    if len(quote.words.split()) < _TELLING_WORDS and len(quote.words) < _TELLING_CHARACTERS:
        return None
    others = (one for one in sheet.new.values() if one is not named)
    return next((found for one in others if (found := _found(quote.words, one, whole=True))), None)


def _found(words: str, shown: Shown, *, whole: bool = False) -> Evidence | None:
    span = shown.passage.find(words, whole=whole)
    if span is None or not _is_telling(shown.passage.text[slice(*span)], shown.passage.text):
        return None
    start, end = shown.masked.original_span(*span)
    end = min(end, start + EVIDENCE_CHARACTERS)
    return Evidence(message_id=shown.message.id, start=start, end=end, quote=shown.message.text[start:end])


def _is_telling(words: str, text: str) -> bool:
    """Whether the words say more than that a small word was said: two words, a longer one, or the whole message."""
    enough = len(words.split()) >= _TELLING_WORDS or len(words) >= _TELLING_CHARACTERS or not words.isascii()
    return enough or len(words) * 2 >= len(text.strip())


def _claims(quotes: tuple[GivenQuote, ...], sheet: Sheet) -> tuple[Claim, ...]:
    """What an atom without evidence rests on: the messages it names; all new ones, where it names none."""
    claims: dict[Claim, None] = {}
    for quote in quotes:
        if (named := sheet.new.get(quote.number or 0)) is not None:
            claims[Claim(message_id=named.message.id, quote=clean(quote.words, CLAIM_CHARACTERS))] = None
    if claims:
        return tuple(claims)
    words = clean(quotes[0].words, CLAIM_CHARACTERS) if quotes else ""
    return tuple(Claim(message_id=one.message.id, quote=words) for one in sheet.new.values())


def _together(one: ExtractedAtom, other: ExtractedAtom) -> ExtractedAtom:
    """The same said twice: all evidence, and the higher confidence."""
    evidence = tuple(dict.fromkeys(one.evidence + other.evidence))
    return replace(
        one,
        evidence=evidence,
        claims=() if evidence else tuple(dict.fromkeys(one.claims + other.claims)),
        confidence=max(one.confidence, other.confidence),
        topic=one.topic or other.topic,
    )


def _links(
    given: Given, atoms: Sequence[ExtractedAtom], places: dict[str, int], sheet: Sheet, dropped: Counter[str]
) -> tuple[tuple[ExtractedLink, ...], tuple[LinkToKnown, ...]]:
    links: dict[tuple[int, int, LinkType], ExtractedLink] = {}
    to_known: dict[tuple[int, int, LinkType], LinkToKnown] = {}
    for link in given.links:
        source, target = places.get(link.source), places.get(link.target)
        known: KnownAtom | None = sheet.known.get(link.target)
        if source is not None and known is not None:
            to_known[source, known.id, link.type] = LinkToKnown(
                source=source,
                atom_id=known.id,
                type=link.type,
                confidence=atoms[source].confidence,
                reason=link.reason,
            )
        elif source is not None and target is not None and source != target:
            links[source, target, link.type] = ExtractedLink(
                source=source,
                target=target,
                type=link.type,
                confidence=min(atoms[source].confidence, atoms[target].confidence),
                reason=link.reason,
            )
        else:
            dropped["a link to an atom that is not there, or to itself"] += 1
    return tuple(links.values()), tuple(to_known.values())
