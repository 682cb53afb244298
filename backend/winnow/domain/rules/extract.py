"""From a window to its knowledge by rules alone: read, find, link, choose."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType, Evidence, ExtractedAtom, ExtractedLink, Extraction
from winnow.domain.rules.atoms import find_statements
from winnow.domain.rules.ballots import find_votes
from winnow.domain.rules.calibration import MAPS, calibrated
from winnow.domain.rules.grades import CANDIDATE, EXPLICIT, FLOOR, NOTED
from winnow.domain.rules.links import find_links
from winnow.domain.rules.reader import read_lines
from winnow.domain.rules.topics import find_topics
from winnow.domain.rules.voted import find_voted
from winnow.domain.rules.words import tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from winnow.domain.knowledge import Window
    from winnow.domain.rules.findings import Finding, FoundLink
    from winnow.domain.rules.reader import Line, Span

TOPIC_LIFETIME = timedelta(hours=3)
"""A silence longer than this ends a marked topic: the next meeting begins without one."""
MAX_EVIDENCE_CHARACTERS = 2_000
_MAX_ATOMS = 40
_LEAST_ATOMS, _MESSAGES_PER_ATOM = 5, 3
_TYPE_SHARE = {
    AtomType.QUESTION: 10,
    AtomType.ANSWER: 10,
    AtomType.IDEA: 10,
    AtomType.REQUIREMENT: 16,
    AtomType.INSIGHT: 12,
    AtomType.RISK: 12,
    AtomType.PROBLEM: 8,
}
"""At most one atom of the type in so many messages (and two in any window): the surest ones stay."""
_LINES_OF_A_MESSAGE = 2
"""What is written at length holds more than its messages tell."""
_LEAST_OF_TYPE = 2
_LEAST_CANDIDATES, _CANDIDATES_PER_ATOM = 2, 2
_GIVES_WAY = frozenset({AtomType.DECISION, AtomType.IDEA, AtomType.ACTION, AtomType.REQUIREMENT})


def extract_by_rules(window: Window, maps: Mapping[AtomType, tuple[float, float]] = MAPS) -> Extraction:
    """Topics, atoms and links of `window.messages`; pure, deterministic, never raises, linear in the text's length.

    What is less sure is among the atoms, too: it is for whoever stores them to hide it. `maps` are the calibration's.
    """
    lines = read_lines(window)
    names = _names(window, lines)
    topics = find_topics(window, lines, names, TOPIC_LIFETIME)
    found = _said_once(find_votes(lines) + find_voted(lines), find_statements(lines, names))
    added, links = find_links(lines, found)
    kept, merged_into = _merged(found + added)
    kept = _chosen(kept, max(len(window.messages), len(lines) // _LINES_OF_A_MESSAGE))
    kept.sort(key=lambda finding: (finding.position, finding.spans[0].start))
    return Extraction(
        atoms=tuple(_atom(finding, topics.names, maps) for finding in kept),
        links=_links(links, kept, merged_into),
        message_topics={window.messages[position].id: name for position, name in sorted(topics.names.items())},
        terms=topics.terms,
    )


def _names(window: Window, lines: list[Line]) -> list[str]:
    authors = [message.author for message in (*window.context, *window.messages)]
    return list(dict.fromkeys(name for name in [*authors, *(line.speaker for line in lines)] if name))


def _said_once(voted: list[Finding], said: list[Finding]) -> list[Finding]:
    """A line that people voted on is what they voted on: the same line's reading by its words gives way to it."""
    lines = {finding.line: finding for finding in voted}
    kept = []
    for finding in said:
        vote = lines.get(finding.line)
        if vote is None or finding.type not in _GIVES_WAY:
            kept.append(finding)
        elif finding.type is AtomType.DECISION:
            vote.confidence = max(vote.confidence, finding.confidence)
    return voted + kept


def _merged(found: list[Finding]) -> tuple[list[Finding], dict[int, Finding]]:
    """One finding for each statement of a type, twins' evidence added; and by identity what each one became."""
    kept: dict[tuple[AtomType, str], Finding] = {}
    became: dict[int, Finding] = {}
    for finding in sorted(found, key=lambda finding: -finding.confidence):
        key = (finding.type, " ".join(tokens(finding.content)) or finding.content.casefold())
        twin = kept.setdefault(key, finding)
        if twin is not finding:
            twin.support += finding.spans + finding.support
        became[id(finding)] = twin
    return list(kept.values()), became


def _chosen(found: list[Finding], messages: int) -> list[Finding]:
    """The surest findings, no more than a reader would note down; and some candidates, the surest first."""
    limit = min(_MAX_ATOMS, _LEAST_ATOMS + messages // _MESSAGES_PER_ATOM)
    chosen: list[Finding] = []
    candidates: list[Finding] = []
    counts: dict[AtomType, int] = {}
    for finding in sorted(found, key=lambda finding: (-finding.confidence, finding.line)):
        share = _TYPE_SHARE.get(finding.type)
        full = share is not None and counts.get(finding.type, 0) >= max(_LEAST_OF_TYPE, messages // share)
        if finding.confidence < FLOOR:
            break
        crowded = finding.confidence < EXPLICIT and (full or len(chosen) >= limit)
        if finding.confidence < NOTED or crowded:
            candidates.append(finding)
            continue
        counts[finding.type] = counts.get(finding.type, 0) + 1
        chosen.append(finding)
    for finding in candidates[: max(_LEAST_CANDIDATES, _CANDIDATES_PER_ATOM * len(chosen))]:
        finding.confidence = min(finding.confidence, CANDIDATE)
        chosen.append(finding)
    asked = {id(finding) for finding in chosen}
    return [one for one in chosen if one.question is None or id(one.question) in asked][:_MAX_ATOMS]


def _links(links: list[FoundLink], kept: list[Finding], became: dict[int, Finding]) -> tuple[ExtractedLink, ...]:
    place = {id(finding): index for index, finding in enumerate(kept)}
    made: dict[tuple[int, int], ExtractedLink] = {}
    for link in links:
        source = place.get(id(became.get(id(link.source))))
        target = place.get(id(became.get(id(link.target))))
        if source is not None and target is not None and source != target:
            made.setdefault(
                (source, target),
                ExtractedLink(source=source, target=target, type=link.type, confidence=round(link.confidence, 2)),
            )
    return tuple(made[pair] for pair in sorted(made))


def _atom(finding: Finding, topics: Mapping[int, str], maps: Mapping[AtomType, tuple[float, float]]) -> ExtractedAtom:
    return ExtractedAtom(
        type=finding.type,
        title=finding.title,
        content=finding.content,
        confidence=round(calibrated(finding.type, finding.confidence, maps), 2),
        evidence=_evidence(finding),
        topic=topics.get(finding.position),
    )


def _evidence(finding: Finding) -> tuple[Evidence, ...]:
    """One piece of evidence a message, its own words first, in the order of the talk."""
    first: dict[int, Span] = {}
    for span in finding.spans + finding.support:
        first.setdefault(span.position, span)
    evidence = []
    for span in sorted(first.values(), key=lambda span: span.position):
        end = min(span.end, span.start + MAX_EVIDENCE_CHARACTERS)
        evidence.append(
            Evidence(message_id=span.message.id, start=span.start, end=end, quote=span.message.text[span.start : end])
        )
    return tuple(evidence)
