"""What a window is about: explicit marks first, else a term people keep returning to, else nothing."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from winnow.domain.rules.signs import Mark, parse_mark
from winnow.domain.rules.titles import topic_name
from winnow.domain.rules.words import COMMON_WORDS, STOP_WORDS, tokens

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from winnow.domain.knowledge import Window
    from winnow.domain.rules.reader import Line

_HEAD = 2_000
_MIN_PHRASE_MESSAGES = 3
_MIN_WORD_MESSAGES = 4
_MIN_PHRASE_SHARE, _MIN_WORD_SHARE = 0.15, 0.3
_MIN_TERM_LETTERS = 4
_MAX_TERM_LETTERS = 30
_COUNTED_TOKENS = 80


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


def salient_topic(lines: list[Line], taken: dict[int, str], names: list[str]) -> dict[int, str]:
    """A name for the positions without a marked topic, from the first to the last mention of their salient term."""
    counted = [line for line in lines if line.span.position not in taken and not line.noise and line.vote is None]
    positions = {line.span.position for line in counted}
    people = {word for name in names for word in tokens(name)}
    name, places = _salient_term(counted, people, len(positions))
    if name is None:
        return {}
    first, last = min(places), max(places)
    return {position: name for position in positions if first <= position <= last}


def _salient_term(lines: list[Line], people: set[str], messages: int) -> tuple[str | None, set[int]]:
    """The two-word phrase most messages share, else the word; with the positions it is said at."""
    phrases: dict[tuple[str, ...], set[int]] = {}
    speakers: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        words = tokens(line.text)[:_COUNTED_TOKENS]
        terms = {(word,) for word in words} | set(pairwise(words))
        for term in terms:
            if all(map(_is_term, term)) and people.isdisjoint(term):
                phrases.setdefault(term, set()).add(line.span.position)
                speakers.setdefault(term, set()).add(line.speaker)
    for size, least in (
        (2, max(_MIN_PHRASE_MESSAGES, _MIN_PHRASE_SHARE * messages)),
        (1, max(_MIN_WORD_MESSAGES, _MIN_WORD_SHARE * messages)),
    ):
        counts = Counter(
            {
                term: len(at)
                for term, at in phrases.items()
                if len(term) == size and len(at) >= least and len(speakers[term]) > 1
            }
        )
        if counts:
            best = max(counts, key=lambda term: (counts[term], term))
            name = " ".join(best)
            return name[0].upper() + name[1:], phrases[best]
    return None, set()


def _is_term(word: str) -> bool:
    return (
        _MIN_TERM_LETTERS <= len(word) <= _MAX_TERM_LETTERS
        and word.isalpha()
        and word not in STOP_WORDS
        and word not in COMMON_WORDS
    )


def _last_time(window: Window) -> datetime | None:
    return window.context[-1].sent_at if window.context else None
