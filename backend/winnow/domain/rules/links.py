"""What follows what: answers to questions, fixes of problems."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType, LinkType
from winnow.domain.rules.findings import Finding, FoundLink, lines_after, statement
from winnow.domain.rules.grades import FAIR, NOTED, STRONG
from winnow.domain.rules.reader import same_person
from winnow.domain.rules.signs import Mark
from winnow.domain.rules.titles import title_of
from winnow.domain.rules.words import content_words, tokens

if TYPE_CHECKING:
    from winnow.domain.rules.reader import Line

_ANSWER_REACH = 8
_ANSWER_TURNS = 2
_FIX_REACH = 20
_NEAR_FIX = 4
_SOLVED = 0.1
_MIN_TOKENS = 4
_MIN_CONTENT_WORDS = 2
_ANSWER_BASE = 0.36
_SAYS_YES_OR_NO, _NEXT_TURN, _SHARES_WORDS, _ADDRESSES = 0.14, 0.06, 0.1, 0.2
_REPLIES = 0.15
_TELLS_VALUE = 0.14
_AT_ONCE = timedelta(minutes=10)
_MIN_ANSWER = 0.5
_TELLING_CHARACTERS = 40
_SURE_ANSWER = 0.6
_ANSWERED = 0.12

_YES_OR_NO = re.compile(
    r"(?:yes|yeah|yep|no|nope|correct|right|exactly|not really|it depends|because|sure|да|нет|потому что)\b",
    re.IGNORECASE,
)
_STATES = re.compile(
    r"(?:it|they|there|that|now|currently|about|at|in|see|это|там|сейчас|около|в|на|с|по|см)\b|\W{0,3}\d|`",
    re.IGNORECASE,
)
_ASKS_VALUE = re.compile(
    r"\b(?:what|which|how (?:many|much|long|often|big|large)|when|where|какой|какая|какое|какие|сколько|когда|где)\b",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\d|\b[\w\-]{2,40}\.(?:ya?ml|json|toml|ini|conf|cfg|env|py|md|sql|sh)\b|`[^`]{1,60}`", re.IGNORECASE
)
_RECOVERED = re.compile(
    r"\b(?:(?:works?|working|runs?|running|passes|passing|starts|online|up|green|healthy|back) again|"
    r"(?:is|are) (?:fixed|back to normal)|fixed (?:in|by|with) \S|(?:снова|опять|вновь) (?:работа[ею]т|запускается|"
    r"проходит|отвечает)|работа[ею]т снова|(?:вс[её] )?заработал[аои]?)\b",
    re.IGNORECASE,
)
_NOT_RECOVERED = re.compile(
    r"(?:\bnot\b|n['\u2019]t\b|\bnever\b|\bif\b|\bonce\b|\buntil\b|\bwhen\b|\bfails?\b|\bне\b|\bесли\b|\bкогда\b|\?\W{0,3}$)",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"(?:thanks?|thank you|good question|i (?:also )?(?:have|had) (?:a|the same) question|not sure|no idea|"
    r"i don['\u2019]t know|sorry|"
    r"hi\b|hello|let['\u2019]?s|what\b|how\b|why\b|when\b|where\b|who\b|не знаю|\*)",
    re.IGNORECASE,
)
_ADVISES = re.compile(
    r"(?:\b(?:you (?:need|have|want|should|can|could|just|must)|try|use|run|set|check|install|add|remove|change|"
    r"replace|restart|reboot|"
    r"upgrade|downgrade|did you try|have you tried|попробуй(?:те)?|надо|нужно|поставь|удали)\b)",
    re.IGNORECASE,
)
_CONFIRMS = re.compile(
    r"\b(?:that (?:worked|fixed|did it|solved|helped)|it work(?:s|ed)(?: now)?|works now|fixed now|"
    r"it(?:['\u2019]s| is) (?:fixed|working)|(?:fixed|solved|resolved) it|(?:did|does) the trick|"
    r"(?:now|all) (?:works|good)|(?:это |всё |все )?(?:помогло|заработало|сработало)|теперь работает|починилось)\b",
    re.IGNORECASE,
)


def find_links(lines: list[Line], found: list[Finding]) -> tuple[list[Finding], list[FoundLink]]:
    """Answers and fixes that the lines around `found` give (new findings), and the links between all."""
    by_line: dict[int, Finding] = {}
    for finding in sorted(found, key=lambda finding: -finding.confidence):
        by_line.setdefault(finding.line, finding)
    new: list[Finding] = []
    links: list[FoundLink] = []
    replies: defaultdict[int | None, list[Line]] = defaultdict(list)
    for line in lines:
        replies[line.span.message.parent_id].append(line)
    for finding in found:
        if finding.type is AtomType.QUESTION:
            late = replies[finding.spans[0].message.id][:_ANSWER_REACH]
            made, link = _answer(lines, finding, by_line, late)
        elif finding.type is AtomType.PROBLEM:
            made, link = _fix(lines, finding, by_line)
        else:
            continue
        for one in made:
            by_line.setdefault(one.line, one)
        new += made
        links += link
    return new, links


def _answer(
    lines: list[Line], question: Finding, by_line: dict[int, Finding], replies: list[Line]
) -> tuple[list[Finding], list[FoundLink]]:
    """What is said next in the conversation, or replies to the question, however late."""
    turns = 0
    near = lines_after(lines, lines[question.line], _ANSWER_REACH)
    for line in near + [line for line in replies if line.index > question.line + _ANSWER_REACH]:
        known = by_line.get(line.index)
        replying = _replies(line, question)
        another = known is not None and known.type is AtomType.QUESTION and line.addressee is None
        if line.mark not in {None, Mark.ANSWER} or another:
            break
        if line.noise or line.speaker == question.speaker or len(tokens(line.text)) < _MIN_TOKENS:
            continue
        addressed = line.addressee is not None and same_person(line.addressee, question.speaker)
        turns += not line.continues and not addressed
        if turns > _ANSWER_TURNS and not addressed and not replying:
            continue
        confidence = _answers(line, question, first=turns <= 1) + _REPLIES * replying
        if confidence < _MIN_ANSWER:
            continue
        if question.confidence >= NOTED or confidence >= _SURE_ANSWER:
            question.confidence += _ANSWERED
        if known is not None:
            return [], [FoundLink(known, question, LinkType.ANSWERS, confidence)]
        answer = Finding(
            type=AtomType.ANSWER,
            confidence=confidence,
            title=title_of(_telling(line), is_answer=True),
            spans=statement(lines, line),
            line=line.index,
            speaker=line.speaker,
            question=question,
        )
        return [answer], [FoundLink(answer, question, LinkType.ANSWERS, confidence)]
    return [], []


def _replies(line: Line, finding: Finding) -> bool:
    return line.span.message.parent_id == finding.spans[0].message.id


def _telling(line: Line) -> str:
    """The first sentence, unless it is too short to tell much alone."""
    first = line.sentences[0].text
    return first if len(first) > _TELLING_CHARACTERS else line.text


def _answers(line: Line, question: Finding, *, first: bool) -> float:
    """How likely a line answers the question, 0 to about 0.9."""
    said = content_words(line.text)
    if len(said) < _MIN_CONTENT_WORDS or _NO_ANSWER.match(line.text) or line.text.rstrip().endswith("?"):
        return 0.0
    confidence = _ANSWER_BASE + first * _NEXT_TURN
    if _YES_OR_NO.match(line.text):
        confidence += _SAYS_YES_OR_NO
    elif first and _gives_value(line, question):
        confidence += _TELLS_VALUE
    if question.words.intersection(said):
        confidence += _SHARES_WORDS
    if line.addressee is not None:
        if not same_person(line.addressee, question.speaker):
            return 0.0
        confidence += _ADDRESSES
    return confidence


def _gives_value(line: Line, question: Finding) -> bool:
    """Whether a question for a value is answered at once by one."""
    asked = question.spans[0]
    if line.span.message.sent_at - asked.message.sent_at > _AT_ONCE or not _ASKS_VALUE.search(question.content):
        return False
    return _STATES.match(line.text) is not None and _VALUE.search(line.text) is not None


def _fix(lines: list[Line], problem: Finding, by_line: dict[int, Finding]) -> tuple[list[Finding], list[FoundLink]]:
    for line in lines_after(lines, lines[problem.line], _FIX_REACH):
        if line.noise:
            continue
        near = line.index - problem.line <= _NEAR_FIX and _only_open(lines, problem, line, by_line)
        shares = bool(problem.words.intersection(content_words(line.text)))
        known = by_line.get(line.index)
        if known is not None and known.type is AtomType.SOLUTION and (near or shares):
            problem.confidence += _SOLVED
            return [], [FoundLink(known, problem, LinkType.SOLVES, STRONG if shares else FAIR)]
        if known is None and (near or shares) and _recovers(line):
            problem.confidence += _SOLVED
            fix = _advice(lines, line, confirmed=shares)
            return [fix], [FoundLink(fix, problem, LinkType.SOLVES, fix.confidence)]
        addressed = line.addressee is not None and same_person(line.addressee, problem.speaker)
        addressed = addressed or (_replies(line, problem) and line.speaker != problem.speaker)
        if known is None and addressed and _ADVISES.search(line.text) and _is_advice(line):
            advice = _advice(lines, line, confirmed=_confirmed(lines, line, problem))
            return [advice], [FoundLink(advice, problem, LinkType.SOLVES, advice.confidence)]
    return [], []


def _recovers(line: Line) -> bool:
    return (
        len(content_words(line.text)) >= _MIN_CONTENT_WORDS
        and _RECOVERED.search(line.text) is not None
        and _NOT_RECOVERED.search(line.text) is None
    )


def _only_open(lines: list[Line], problem: Finding, line: Line, by_line: dict[int, Finding]) -> bool:
    """Whether no other problem of the conversation was told between the problem and the line."""
    between = lines_after(lines, lines[problem.line], line.index - problem.line - 1)
    return not any((known := by_line.get(other.index)) and known.type is AtomType.PROBLEM for other in between)


def _is_advice(line: Line) -> bool:
    return len(content_words(line.text)) >= _MIN_CONTENT_WORDS + 1 and not line.text.rstrip().endswith("?")


def _advice(lines: list[Line], line: Line, *, confirmed: bool) -> Finding:
    return Finding(
        type=AtomType.SOLUTION,
        confidence=STRONG if confirmed else FAIR - 0.05,
        title=title_of(line.text),
        spans=statement(lines, line),
        line=line.index,
        speaker=line.speaker,
    )


def _confirmed(lines: list[Line], line: Line, problem: Finding) -> bool:
    following = lines_after(lines, line, _FIX_REACH)
    return any(other.speaker == problem.speaker and _CONFIRMS.search(other.text) for other in following)
