"""Proposals that nobody marked as such: told by the votes after them, and by how they are put."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.cues import pattern_of
from winnow.domain.rules.cues_en import ENGLISH_PHRASES
from winnow.domain.rules.findings import Finding, statement
from winnow.domain.rules.signs import Mark, agrees
from winnow.domain.rules.titles import settled, title_of, without_fillers
from winnow.domain.rules.words import content_words, overlap, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.rules.reader import Line

_LOOK_BACK = 10
"""Lines of talk before a vote among which it may have its proposal."""
_VOTES_REACH = 14
"""Lines of talk after a vote in which further ones are on the same proposal."""
_WORDS_OF_AGREEMENT = 6
_AGREEMENT_REACH = 4
_HALF = 0.5
_MARKED_REACH = 60
_MIN_TOKENS, _MIN_CONTENT_WORDS = 3, 2
_LIKELY = 0.15
_ENOUGH = 2
_SAME = 0.5
_BASE, _PER_VOTE, _COUNTED = 0.3, 0.11, 4
_AGAINST = 0.16
_LIKENESS = 0.35
_MOST = 0.93
_REPLACED = 0.3
_PER_LINE = 0.05

_IMPERATIVE = pattern_of(
    (
        (
            r"(?:do not|don't|never|always|only|we (?:will|should|must|shall) (?:not )?|let's )?(?:<choose>|"
            r"<work>|accept|"
            r"add|adopt|agree|align|approve|assign|base|begin|clarify|cancel|combine|consider|continue|convert|declare|"
            r"delegate|deprecate|disable|discard|enable|ensure|establish|explain|exclude|freeze|ignore|include|"
            r"increase|"
            r"introduce|join|lower|make|maintain|map|meet|mention|modify|note|omit|pause|permit|preserve|prefer|"
            r"prohibit|"
            r"raise|record|recommend|reduce|register|restrict|retain|resolve|separate|set|simplify|specify|start|treat|"
            r"use|wait|withdraw)\b"
        ),
    ),
    ENGLISH_PHRASES,
)
_PROPOSES = re.compile(
    r"\b(?:i|we|i['\u2019]d|i would) (?:\w{1,10} )?(?:propose|suggest|move that|vote for)\b|\bhow about\b|"
    r"\blet['\u2019]?s\b|\bmy (?:proposal|suggestion)\b|\bshall we\b|\bproposed?\b|\bproposal\b|"
    r"\b(?:предлагаю|давайте|давай|может,?)\s",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"\b(?:must|should|shall|may|will|won['\u2019]t|is to be|are to be|должн\w{1,3}|нужно|надо)\b", re.IGNORECASE
)
_SHOUTED_MODAL = re.compile(r"\b(?:MUST|SHOULD|SHALL|MAY)\b")
_TALK = re.compile(
    r"(?:i\b|i['\u2019]|you\b|that\b|this\b|it\b|it['\u2019]s|yes\b|no\b|yeah|ok\b|okay|right\b|sure|thanks|"
    r"well\b|so\b|but\b|"
    r"and\b|because|hi\b|hello|http|я\b|ты\b|вы\b|это\b|да\b|нет\b|спасибо)",
    re.IGNORECASE,
)


@dataclass(slots=True, eq=False)
class _Ballot:
    """What people vote on; `for_it` and `against` are by speaker."""

    line: Line
    likeness: float
    words: frozenset[str]
    last: int
    votes: dict[str, tuple[float, Line]] = field(default_factory=dict)

    def positives(self) -> float:
        """Those for it; the one who said it counts half. Votes out of sight were counted when messages were linked."""
        own = self.line.speaker
        seen = sum(_HALF if who == own else 1.0 for who, (vote, _) in self.votes.items() if vote >= _HALF)
        return max(seen, float(self.line.span.message.votes))

    def negatives(self) -> int:
        return sum(vote < 0 for vote, _ in self.votes.values())


def find_voted(lines: Sequence[Line]) -> list[Finding]:
    """Decisions by vote: a statement that several people then vote for in the same conversation."""
    talks: defaultdict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if not line.noise:
            talks[line.span.message.conversation].append(line)
    return _findings(list(lines), [ballot for talk in talks.values() for ballot in _ballots(talk)])


def _ballots(talk: Sequence[Line]) -> list[_Ballot]:
    ballots: list[_Ballot] = []
    marked = -_MARKED_REACH - 1
    for place, line in enumerate(talk):
        if line.mark is Mark.PROPOSAL:
            marked = place
        elif line.mark in {Mark.RESOLVED, Mark.TOPIC}:
            marked = -_MARKED_REACH - 1
        if place - marked <= _MARKED_REACH:
            continue  # what is voted on says so itself
        vote = _vote(line)
        if vote is None:
            continue
        ballot = _on_open(talk, place, ballots) or _opened(talk, place, ballots)
        if ballot is not None:
            ballot.votes[line.speaker] = (vote, line)
            ballot.last = place
    return ballots + _out_of_sight(talk, ballots)


def _out_of_sight(talk: Sequence[Line], ballots: list[_Ballot]) -> list[_Ballot]:
    """Ballots on messages whose votes are in another window."""
    seen = {ballot.line.span.position for ballot in ballots}
    best: dict[int, tuple[float, Line]] = {}
    for line in talk:
        message = line.span
        if message.message.votes < _ENOUGH or message.position in seen or line.mark is not None:
            continue
        like = likeness(line)
        if like > max(_LIKELY, best.get(message.position, (0.0, line))[0]):
            best[message.position] = (like, line)
    return [_Ballot(line, like, frozenset(content_words(line.text)), line.index) for like, line in best.values()]


def _vote(line: Line) -> float | None:
    """A vote by sign; or by words that say nothing else, for a little less."""
    if line.mark is not None:
        return None
    if line.vote is not None:
        return line.vote
    if agrees(line.text) and len(line.text.split(None, _WORDS_OF_AGREEMENT)) <= _WORDS_OF_AGREEMENT:
        return 0.6
    return None


def _on_open(talk: Sequence[Line], place: int, ballots: list[_Ballot]) -> _Ballot | None:
    """The ballot that is being held, unless something more like a proposal was said since its last vote."""
    if not ballots or place - ballots[-1].last > _VOTES_REACH:
        return None
    ballot = ballots[-1]
    since = [likeness(line) for line in talk[ballot.last + 1 : place] if _vote(line) is None]
    return None if any(like >= max(_HALF, ballot.likeness) for like in since) else ballot


def _opened(talk: Sequence[Line], place: int, ballots: list[_Ballot]) -> _Ballot | None:
    """A ballot on what was said before the vote that is most like a proposal."""
    vote = talk[place]
    floor = ballots[-1].last + 1 if ballots else 0
    reach = _LOOK_BACK if vote.vote is not None else _AGREEMENT_REACH
    best, most = None, _LIKELY
    for other in range(max(floor, place - reach), place):
        line = talk[other]
        if _vote(line) is not None:
            continue
        like = likeness(line)
        weight = (
            like
            - _PER_LINE * (place - other - 1)
            + _PER_LINE * 3 * (vote.span.message.parent_id == line.span.message.id)
        )
        if weight > most:
            best, most = line, weight
    if best is None:
        return None
    ballots.append(_Ballot(best, likeness(best), frozenset(content_words(best.text)), place))
    return ballots[-1]


def likeness(line: Line) -> float:
    """How much a line is put like a proposal, below 0 to about 1."""
    text = without_fillers(line.text)
    length = len(tokens(text))
    if line.mark is not None or length < _MIN_TOKENS or len(content_words(text)) < _MIN_CONTENT_WORDS:
        return -1.0
    return _put_like_one(text) + sum(
        (
            0.2 if length > _MIN_TOKENS + 1 else 0.05,
            -0.15 * line.text.rstrip().endswith("?"),
            -0.2 * line.continues,
            -0.2 * (line.speaker != line.span.message.author),
            -0.15 * (line.addressee is not None),
        )
    )


def _put_like_one(text: str) -> float:
    """By its words: what is to be done, what must be, how it is introduced; and how people only talk."""
    like = 0.35 * (_IMPERATIVE.match(text) is not None) + 0.3 * (_PROPOSES.search(text[:300]) is not None)
    if _SHOUTED_MODAL.search(text):
        like += 0.25
    elif _MODAL.search(text):
        like += 0.1
    if _TALK.match(text):
        return like - 0.2
    return like + 0.1 * text[0].isupper()


def _findings(lines: list[Line], ballots: list[_Ballot]) -> list[Finding]:
    found = []
    for number, ballot in enumerate(ballots):
        confidence = _BASE + _PER_VOTE * min(ballot.positives(), _COUNTED) - _AGAINST * ballot.negatives()
        confidence += _LIKENESS * (ballot.likeness - _HALF)
        if any(overlap(ballot.words, later.words) >= _SAME for later in ballots[number + 1 :]):
            confidence = min(confidence, _REPLACED)
        if ballot.positives() <= 0:
            continue
        found.append(
            Finding(
                type=AtomType.DECISION,
                confidence=min(_MOST, confidence),
                title=settled(title_of(ballot.line.text)),
                spans=statement(lines, ballot.line),
                support=[line.span for vote, line in ballot.votes.values() if vote >= _HALF],
                line=ballot.line.index,
                speaker=ballot.line.speaker,
            )
        )
    return found
