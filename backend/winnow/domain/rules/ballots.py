"""Proposals and what became of them: a proposal that was resolved or mostly voted for is one decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.findings import Finding, statement
from winnow.domain.rules.grades import EXPLICIT, FAIR
from winnow.domain.rules.signs import Mark, agrees
from winnow.domain.rules.titles import title_of
from winnow.domain.rules.words import content_words, overlap, tokens

if TYPE_CHECKING:
    from winnow.domain.rules.reader import Line, Span

ACCEPTED = 0.7
_PER_VOTE = 0.03
_ENOUGH_VOTES = 2
_COUNTED_VOTES = 5
_HALF_VOTE = 0.5
_SAME_TEXT = 0.5
_REACH_LINES = 60
_AGREEING_REACH_LINES = 6
_MIN_WORDS = 2
_MAX_OPEN = 12


@dataclass(slots=True)
class _Ballot:
    line: Line
    spans: list[Span]
    words: frozenset[str]
    votes: dict[str, float] = field(default_factory=dict)

    def positives(self) -> int:
        return sum(vote >= _HALF_VOTE for vote in self.votes.values())

    def accepted(self) -> bool:
        against = sum(vote < 0 for vote in self.votes.values())
        return self.positives() >= _ENOUGH_VOTES and self.positives() > 2 * against


def find_votes(lines: list[Line]) -> list[Finding]:
    """Decisions from PROPOSAL, votes and RESOLVED; an idea for each proposal that was not (yet) accepted."""
    found: list[Finding] = []
    open_ballots: list[_Ballot] = []
    for line in lines:
        if line.mark is Mark.PROPOSAL:
            found += _opened(open_ballots, _ballot(lines, line))
        elif line.mark is Mark.RESOLVED:
            found += _resolved(lines, line, open_ballots)
        elif line.mark is Mark.TOPIC:
            found += [_outcome(ballot) for ballot in open_ballots]
            open_ballots.clear()
        elif open_ballots:
            _count(line, open_ballots[-1])
    return found + [_outcome(ballot) for ballot in open_ballots]


def _ballot(lines: list[Line], line: Line) -> _Ballot:
    spans = statement(lines, line)
    return _Ballot(line, spans, frozenset(content_words(" ".join(span.text for span in spans))))


def _opened(open_ballots: list[_Ballot], new: _Ballot) -> list[Finding]:
    """Puts a proposal to the vote; an earlier wording of it that was not accepted is withdrawn."""
    open_ballots[:] = [old for old in open_ballots if old.accepted() or overlap(old.words, new.words) < _SAME_TEXT]
    closed = [_outcome(open_ballots.pop(0))] if len(open_ballots) >= _MAX_OPEN else []
    open_ballots.append(new)
    return closed


def _count(line: Line, ballot: _Ballot) -> None:
    distance = line.index - ballot.line.index
    if line.vote is not None and distance <= _REACH_LINES:
        ballot.votes[line.speaker] = line.vote
    elif not line.noise and distance <= _AGREEING_REACH_LINES and agrees(line.text):
        ballot.votes.setdefault(line.speaker, 1.0)


def _resolved(lines: list[Line], line: Line, open_ballots: list[_Ballot]) -> list[Finding]:
    """The decision a RESOLVED line states, with the proposal it accepts."""
    spans = statement(lines, line)
    words = frozenset(content_words(" ".join(span.text for span in spans)))
    bare = len(words) < _MIN_WORDS and len(tokens(line.text)) <= _MIN_WORDS
    accepted = [b for b in open_ballots if overlap(b.words, words) >= _SAME_TEXT] or (open_ballots[-1:] if bare else [])
    if bare and not accepted:
        return []
    best = max(accepted, key=lambda ballot: overlap(ballot.words, words), default=None)
    if best is not None:
        open_ballots[:] = [ballot for ballot in open_ballots if ballot not in accepted]
    own, support = (spans, best.spans if best else []) if not bare or best is None else (best.spans, spans)
    return [
        Finding(
            type=AtomType.DECISION,
            confidence=EXPLICIT,
            title=title_of(own[0].text),
            spans=own,
            support=support,
            line=line.index,
            speaker=line.speaker,
        )
    ]


def _outcome(ballot: _Ballot) -> Finding:
    """A proposal without a RESOLVED line: decided when most voted for it, else an idea."""
    accepted = ballot.accepted()
    confidence = ACCEPTED + _PER_VOTE * min(ballot.positives(), _COUNTED_VOTES) if accepted else FAIR
    return Finding(
        type=AtomType.DECISION if accepted else AtomType.IDEA,
        confidence=round(confidence, 2),
        title=title_of(ballot.spans[0].text),
        spans=ballot.spans,
        line=ballot.line.index,
        speaker=ballot.line.speaker,
    )
