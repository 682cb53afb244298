"""What a window is about: explicit marks first, else terms that its people keep returning to, else nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from winnow.domain.rules.signs import Mark, parse_mark
from winnow.domain.rules.titles import topic_name
from winnow.domain.rules.words import COMMON_WORDS, STOP_WORDS, tokens
from winnow.domain.topics import match_topic, rarity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from winnow.domain.knowledge import Window
    from winnow.domain.rules.reader import Line

_HEAD = 2_000
_LEAST_MESSAGES = 3
_PHRASE_MESSAGES, _WORD_MESSAGES = 2, 3
_PHRASE_SHARE, _WORD_SHARE = 0.12, 0.25
_MIN_LETTERS, _MAX_LETTERS = 3, 30
_COUNTED_TOKENS = 80
_TERMS = 12
_NAME_WEIGHT = 2.0
_PHRASE_BONUS = 1.5
_TELLING = 0.6
_PLURAL = 4


def topic_mark(text: str) -> str | None:
    """The topic a message announces (`Topic: …` on any of its first lines); None when it announces none."""
    found = None
    for line in text[:_HEAD].splitlines():
        mark = parse_mark(line)
        if mark is not None and mark[0] is Mark.TOPIC:
            found = topic_name(line[mark[1] :]) or found
    return found


def running_topics(window: Window, lifetime: timedelta) -> dict[int, str]:
    """The marked topic at each message's position; a silence longer than `lifetime` ends it."""
    named: dict[int, str] = {}
    topic, last = window.topic, _last_time(window)
    for position, message in enumerate(window.messages):
        if last is not None and message.sent_at - last > lifetime:
            topic = None
        topic = topic_mark(message.text) or topic
        if topic and (name := topic_name(topic)):
            named[position] = name
        last = message.sent_at
    return named


@dataclass(slots=True)
class _Said:
    """Who said a word or a phrase, at which positions, and how it is written there."""

    places: set[int] = field(default_factory=set)
    speakers: set[str] = field(default_factory=set)
    written: str = ""


@dataclass(slots=True)
class TopicsFound:
    """The topic's name at each position that has one, and the terms of each, by name."""

    names: dict[int, str]
    terms: dict[str, dict[str, float]]


def find_topics(window: Window, lines: Sequence[Line], names: Iterable[str], lifetime: timedelta) -> TopicsFound:
    """Topics by mark, and of each conversation without one by its salient terms; with the terms of them all."""
    found = TopicsFound(running_topics(window, lifetime), {})
    people = {_folded(word) for name in names for word in tokens(name)}
    groups: defaultdict[str | int, list[Line]] = defaultdict(list)
    for line in lines:
        if not line.noise and line.vote is None:
            marked = found.names.get(line.span.position)
            groups[line.span.message.conversation if marked is None else marked].append(line)
    for group, said in groups.items():
        counted = _counted(said, people)
        terms = _terms(counted)
        if isinstance(group, str):
            found.terms[group] = _with_name(terms, group)
        elif (name := _name(window, counted, terms, len({line.span.position for line in said}))) is not None:
            found.names |= {line.span.position: name for line in said}
            found.terms[name] = terms
    return found


def _counted(lines: Sequence[Line], people: set[str]) -> dict[tuple[str, ...], _Said]:
    """Words and phrases of two that may tell what is talked about, plurals as one with their singular."""
    counted: defaultdict[tuple[str, ...], _Said] = defaultdict(_Said)
    for line in lines:
        words = tokens(line.text)[:_COUNTED_TOKENS]
        folded = [_folded(word) if _is_term(word) else "" for word in words]
        kept: list[tuple[str, ...]] = [(one,) for one in folded if one and one not in people]
        kept += [pair for pair in pairwise(folded) if all(pair) and people.isdisjoint(pair) and pair[0] != pair[1]]
        for term in kept:
            said = counted[term]
            said.places.add(line.span.position)
            said.speakers.add(line.speaker)
        for word, one in zip(words, folded, strict=True):
            if one in {"", word} or (one,) not in counted:
                continue
            counted[one,].written = word
    return counted


def _terms(counted: Mapping[tuple[str, ...], _Said]) -> dict[str, float]:
    """The weightiest words, each by how many messages hold it and how rare it is elsewhere; the first weighs 1."""
    weights = {term[0]: len(said.places) * rarity(term[0]) ** 2 for term, said in counted.items() if len(term) == 1}
    kept = sorted(weights, key=lambda term: (-weights[term], term))[:_TERMS]
    return {term: round(weights[term] / weights[kept[0]], 3) for term in kept}


def _with_name(terms: Mapping[str, float], name: str) -> dict[str, float]:
    """A marked topic's own words count twice."""
    words = {_folded(word) for word in tokens(name) if _is_term(word)}
    weights = {
        term: terms.get(term, 0.0) + _NAME_WEIGHT * (term in words) for term in {**terms, **dict.fromkeys(words)}
    }
    most = max(weights.values(), default=1.0)
    kept = sorted(weights, key=lambda term: (-weights[term], term))[:_TERMS]
    return {term: round(weights[term] / most, 3) for term in kept}


def _name(
    window: Window, counted: Mapping[tuple[str, ...], _Said], terms: Mapping[str, float], messages: int
) -> str | None:
    """A topic's name: one the channel has already, if its words are said here, else the term that says most."""
    if messages < _LEAST_MESSAGES:
        return None
    best: tuple[str, ...] = ()
    most = 0.0
    for term, said in counted.items():
        if len(said.speakers) < 2 or not _is_salient(len(term), len(said.places), messages):  # noqa: PLR2004 - two people
            continue
        telling = max(rarity(word) for word in term)
        weight = len(said.places) * telling**2 * (_PHRASE_BONUS if len(term) > 1 else 1.0)
        if telling >= _TELLING and (weight, term) > (most, best):
            best, most = term, weight
    if not best:
        return None
    known = {name: {_folded(word): 1.0 for word in tokens(name) if _is_term(word)} for name in window.topics}
    if (again := match_topic(dict(terms), known)) is not None:
        return again
    name = " ".join(counted[word,].written or word if len(best) == 1 else word for word in best)
    return name[0].upper() + name[1:]


def _is_salient(size: int, places: int, messages: int) -> bool:
    if size > 1:
        return places >= max(_PHRASE_MESSAGES, _PHRASE_SHARE * messages)
    return places >= max(_WORD_MESSAGES, _WORD_SHARE * messages)


def _folded(word: str) -> str:
    """Without an English plural's s."""
    if len(word) > _PLURAL and word[-1] == "s" and word[-2] not in "sui":
        return word[:-1]
    return word


def _is_term(word: str) -> bool:
    return (
        _MIN_LETTERS <= len(word) <= _MAX_LETTERS
        and word.replace("-", "").isalpha()
        and word not in STOP_WORDS
        and word not in COMMON_WORDS
    )


def _last_time(window: Window) -> datetime | None:
    return window.context[-1].sent_at if window.context else None
