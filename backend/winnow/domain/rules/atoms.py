"""Finds statements that decide, promise, complain, require or suggest, a sentence at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType
from winnow.domain.rules.cues import find_cue, pattern_of
from winnow.domain.rules.cues_en import ENGLISH_PHRASES
from winnow.domain.rules.findings import Finding, lines_after, statement
from winnow.domain.rules.grades import CHOSEN, EXPLICIT, FAIR, NOTED, STRONG
from winnow.domain.rules.questions import is_question, question_confidence
from winnow.domain.rules.reader import same_person
from winnow.domain.rules.signs import Mark, agrees
from winnow.domain.rules.titles import asked_of, settled, title_of, without_fillers
from winnow.domain.rules.words import content_words, tokens

if TYPE_CHECKING:
    from winnow.domain.rules.reader import Line, Span

MARKED: dict[Mark, AtomType] = {
    Mark.ACTION: AtomType.ACTION,
    Mark.QUESTION: AtomType.QUESTION,
    Mark.ANSWER: AtomType.ANSWER,
    Mark.PROBLEM: AtomType.PROBLEM,
    Mark.SOLUTION: AtomType.SOLUTION,
    Mark.IDEA: AtomType.IDEA,
    Mark.RISK: AtomType.RISK,
    Mark.REQUIREMENT: AtomType.REQUIREMENT,
    Mark.BLOCKER: AtomType.BLOCKER,
    Mark.INSIGHT: AtomType.INSIGHT,
}
_ASKED_FOR = frozenset({AtomType.ACTION, AtomType.IDEA})
"""What people put as a question: requests and suggestions."""
_MIN_CONTENT_WORDS = 3
_MIN_ACTION_WORDS = 2
_MIN_CHOICE_WORDS = 2
_MIN_MARKED_WORDS = 1
_MIN_TOKENS = 4
_LONG_LINE = 200
_VAGUE_WORDS = 4
_VAGUE_COST = 0.1
_ANTECEDENT_LINES = 6
_AGREEMENT_LINES = 6
_GAIN, _LOSS = 0.12, 0.2
_MAX_GAINS = 2

_VAGUE = re.compile(r"(?:that|this|it|they|those|these|he|she|which|there)\b", re.IGNORECASE)
_WHICH = re.compile(r"which\b", re.IGNORECASE)
_DOES_IT = re.compile(
    r"(?:ok(?:ay)?|yes|yeah|sure|right|agreed|alright|fine|good)?[,.!: -]{0,3}(?:so |then )?"
    r"(?:let['\u2019]?s (?:just )?(?:do (?:that|it|this|so)|go (?:for it|with (?:that|it|this))|try (?:that|it))|"
    r"go (?:for it|ahead))\b.{0,40}",
    re.IGNORECASE,
)
_TAKES_IT = re.compile(
    r"(?:(?:ok(?:ay)?|yes|yeah|sure|right|fine|agreed)[,.!: -]{1,3})?(?:(?:i['\u2019]ll|i will|"
    r"i can) (?:\w{1,12} )?(?:do|handle|take) "
    r"(?:that|it|this|so|the|an) ?(?:action|one|task)?|please do (?:that|this|so|it))\b.{0,40}",
    re.IGNORECASE,
)
_REQUESTS = re.compile(
    r"\b(?:(?:can|could|would) (?:you|someone|somebody|anyone|we)|we (?:\w{1,12} )?(?:need|have|should|could)|"
    r"need to|needs to|should|please|make sure|todo)\b",
    re.IGNORECASE,
)
_SUGGESTS = re.compile(
    r"\b(?:we|you|i|it) (?:\w{1,12} )?(?:should|could|would|might)\b|\b(?:i|we) (?:suggest|propose|prefer)|"
    r"\bproposal\b|\blet['\u2019]?s\b|"
    r"\b(?:how about|what if)\b|\bmaybe\b|\bprefer",
    re.IGNORECASE,
)
_DISAGREES = re.compile(
    r"(?:-1\b|no\b[,. ]|nope|i disagree|i don['\u2019]t (?:think|like|agree)|not sure|disagree|нет\b|не согласен)",
    re.IGNORECASE,
)
_ASSIGNS = pattern_of(
    (
        (
            r"(?P<name>[^\W\d_][\w.`\-]{1,24})(?: and [^\W\d_][\w.`\-]{1,24})? "
            r"(?:to|will|is going to|agreed to|shall|should) (?:also |then |please )?<work>\b"
        ),
    ),
    ENGLISH_PHRASES,
)


def find_statements(lines: list[Line], names: list[str]) -> list[Finding]:
    """Everything that lines say by mark or by cue, in order; `names` are the people taking part."""
    found: list[Finding] = []
    by_line: dict[int, Finding] = {}
    for line in lines:
        if line.noise or line.mark in {Mark.TOPIC, Mark.PROPOSAL, Mark.RESOLVED}:
            continue
        new = _marked(lines, line) if line.mark else _said(lines, line, names)
        if not new and line.mark is None:
            new = _taken_up(lines, line, by_line)
        for finding in new:
            by_line.setdefault(line.index, finding)
        found += new
    for finding in found:
        _weigh_reactions(lines, finding)
    return found


def _marked(lines: list[Line], line: Line) -> list[Finding]:
    if line.mark is None or len(content_words(line.text)) < _MIN_MARKED_WORDS:
        return []
    return [
        Finding(
            type=MARKED[line.mark],
            confidence=EXPLICIT,
            title=title_of(line.text),
            spans=statement(lines, line),
            line=line.index,
            speaker=line.speaker,
        )
    ]


def _said(lines: list[Line], line: Line, names: list[str]) -> list[Finding]:
    """The most telling sentence of a line; of a long line a second one too, when it is of another type."""
    candidates: list[Finding] = []
    for sentence in line.sentences:
        finding = _read(lines, line, sentence, names)
        if finding is not None:
            candidates.append(finding)
    candidates.sort(key=lambda finding: -finding.confidence)
    best = candidates[:1]
    if best and len(line.text) > _LONG_LINE:
        best += [other for other in candidates[1:] if other.type is not best[0].type and other.spans != best[0].spans][
            :1
        ]
    return best


def _read(lines: list[Line], line: Line, sentence: Span, names: list[str]) -> Finding | None:
    text = sentence.text
    if len(tokens(text)) < _MIN_TOKENS or _TAKES_IT.fullmatch(text) or _DOES_IT.fullmatch(text):
        return None
    asked = text.rstrip("\"')] ").endswith("?")
    cue = find_cue(text)
    if cue is not None and line.vote is not None:
        return None  # a remark on somebody else's proposal
    if cue is not None and (not asked or (cue.type in _ASKED_FOR and cue.confidence >= FAIR)):
        kind, confidence = cue.type, cue.confidence
    elif asked and is_question(text):
        kind, confidence = AtomType.QUESTION, question_confidence(text)
    elif not asked and _assigned(text, names):
        kind, confidence = AtomType.ACTION, STRONG
    else:
        return None
    return _finding(lines, line, sentence, kind, confidence)


def _finding(lines: list[Line], line: Line, sentence: Span, kind: AtomType, confidence: float) -> Finding | None:
    """The finding, unless it says too little to stand alone."""
    said = content_words(sentence.text)
    if len(said) < _least_words(kind, confidence):
        return None
    opening = without_fillers(sentence.text)
    if _VAGUE.match(opening) and not (kind is AtomType.QUESTION and _WHICH.match(opening)):
        if len(said) < _VAGUE_WORDS:
            return None
        confidence -= _VAGUE_COST
    title = title_of(sentence.text, promised_by=line.speaker if line.sure else None)
    if kind is AtomType.ACTION and line.addressee:
        title = asked_of(line.addressee, title)
    return Finding(
        type=kind,
        confidence=confidence,
        title=title,
        spans=statement(lines, line, sentence),
        line=line.index,
        speaker=line.speaker,
    )


def _least_words(kind: AtomType, confidence: float) -> int:
    if kind is AtomType.DECISION and confidence == CHOSEN:
        return _MIN_CHOICE_WORDS
    return _MIN_ACTION_WORDS if kind is AtomType.ACTION else _MIN_CONTENT_WORDS


def _assigned(text: str, names: list[str]) -> bool:
    """Whether the sentence opens by giving a task to somebody who takes part: `NAME to write …`."""
    match = _ASSIGNS.match(without_fillers(text))
    return match is not None and any(same_person(match.group("name"), name) for name in names)


def _taken_up(lines: list[Line], line: Line, by_line: dict[int, Finding]) -> list[Finding]:
    """What "let's do that" and "I'll do that" mean, told from the lines before."""
    decides, takes = _DOES_IT.match(line.text), _TAKES_IT.match(line.text)
    if not decides and not takes:
        return []
    for earlier in reversed(lines[max(0, line.index - _ANTECEDENT_LINES) : line.index]):
        if earlier.span.message.conversation != line.span.message.conversation:
            continue
        if earlier.noise or earlier.mark is not None or len(content_words(earlier.text)) < _MIN_CONTENT_WORDS:
            continue
        known = by_line.get(earlier.index)
        if known is not None and takes and known.type is AtomType.ACTION:
            known.support.append(line.span)
            known.title = asked_of(line.speaker, known.title) if line.sure else known.title
            known.confidence = max(known.confidence, STRONG + _GAIN / 2)
            return []
        fits = (_SUGGESTS if decides else _REQUESTS).search(earlier.text) and not _VAGUE.match(
            without_fillers(earlier.text)
        )
        if fits and (known is None or known.type in {AtomType.IDEA, AtomType.DECISION}):
            return [_adopted(lines, earlier, line, AtomType.DECISION if decides else AtomType.ACTION, known)]
    return []


def _adopted(lines: list[Line], suggestion: Line, line: Line, kind: AtomType, known: Finding | None) -> Finding:
    if known is not None:
        known.confidence = 0.0  # it lives on as what it became
    wanted = _SUGGESTS if kind is AtomType.DECISION else _REQUESTS
    sentence = next((part.text for part in suggestion.sentences if wanted.search(part.text)), suggestion.text)
    return Finding(
        type=kind,
        confidence=FAIR + _GAIN / 2,
        title=title_of(sentence),
        spans=statement(lines, suggestion),
        support=[line.span],
        line=suggestion.index,
        speaker=line.speaker,
    )


def _weigh_reactions(lines: list[Line], finding: Finding) -> None:
    """Others' agreement makes a suggestion surer, and an idea that two agree to a decision; dissent takes away."""
    if finding.type not in {AtomType.IDEA, AtomType.DECISION} or finding.confidence >= EXPLICIT:
        return
    agreeing: dict[str, Line] = {}
    sure = finding.confidence >= NOTED
    last = max(span.position for span in finding.spans)
    for line in lines_after(lines, lines[finding.line], _AGREEMENT_LINES):
        if line.mark is not None:
            break
        if line.noise or line.span.position <= last or line.speaker == finding.speaker or line.continues:
            continue
        if (line.vote or 0) > 0 or (line.vote is None and agrees(line.text)):
            agreeing.setdefault(line.speaker, line)
        elif _DISAGREES.match(line.text):
            finding.confidence -= _LOSS
            break
    finding.confidence += _GAIN * min(len(agreeing), _MAX_GAINS)
    if finding.type is AtomType.IDEA and len(agreeing) >= _MAX_GAINS and sure:
        finding.type, finding.title = AtomType.DECISION, settled(finding.title)
        finding.support += [line.span for line in agreeing.values()]
