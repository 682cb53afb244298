"""What the judge looks at: an atom's words, hashed, and a handful of plain signs."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

from winnow.domain.rules.words import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from winnow.domain.judge import AtomAsFound

BUCKETS = 1 << 16
"""Fewer than a language has words, so that several share each. Who has a list of words can tell which ones a bucket may
be of; which of them was said, or who said it, it does not tell."""

_READ_CHARACTERS = 1_000
_MOST_WORDS = 80
_LEAST, _MOST = 0.01, 0.99
_WORDS_SCALE, _TYPED_WORDS_SCALE, _PAIRS_SCALE = 1.6, 1.0, 0.8
_OPENING = 0.7
# What all atoms share weighs little: verdicts on one kind must not move the others.
_ALL, _EXTRACTOR, _LOG_ODDS = 0.05, 0.1, 0.05
_SIGN, _TYPED_SIGN = 0.2, 0.4
_LENGTHS = (4, 8, 14, 25, 45)

_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("digits", re.compile(r"\d")),
    ("asks", re.compile(r"\?")),
    ("link", re.compile(r"\bhttps?://|\bwww\.", re.IGNORECASE)),
    ("code", re.compile(r"`|\w\(\)|::|\w_\w|[{}<>]|->|--\w")),
    (
        "modal",
        re.compile(r"\b(?:should|must|could|would|may|might|can|shall|нужно|надо|должен|можно)\b", re.IGNORECASE),
    ),
    ("negation", re.compile(r"\b(?:not|no|never|нет|не)\b|n['\u2019]t\b", re.IGNORECASE)),
    ("first person", re.compile(r"\b(?:i|we|i['\u2019]\w+|we['\u2019]\w+|я|мы)\b", re.IGNORECASE)),
    ("second person", re.compile(r"\b(?:you|your|вы|ты|вам|тебе)\b", re.IGNORECASE)),
    ("past", re.compile(r"\b(?:was|were|did|had|\w{3,20}ed|\w{2,20}(?:ал|ил|ела|ала|ила|али|или))\b", re.IGNORECASE)),
)


def log_odds(confidence: float) -> float:
    """Of a confidence, which is kept away from 0 and 1."""
    bounded = min(_MOST, max(_LEAST, confidence))
    return math.log(bounded / (1 - bounded))


def features(atom: AtomAsFound) -> dict[int, float]:
    """The bucket of each thing that is to be seen in the atom, with its value. Same atom, same features, anywhere."""
    found: dict[int, float] = {}
    for name, value in _named(atom):
        bucket = crc32(name.encode("utf-8", "surrogatepass")) % BUCKETS
        found[bucket] = found.get(bucket, 0.0) + value
    return found


def _named(atom: AtomAsFound) -> Iterator[tuple[str, float]]:
    kind, text = atom.type.value, f"{atom.content}"[:_READ_CHARACTERS]
    yield "all", _ALL
    yield f"type {kind}", 1.0
    yield f"extractor {atom.extractor}", _EXTRACTOR
    yield f"type and extractor {kind} {atom.extractor}", 0.5
    yield "log odds", log_odds(atom.confidence) * _LOG_ODDS
    words = tokens(text)[:_MOST_WORDS]
    yield from _of_words(words, kind)
    signs = [name for name, pattern in _SIGNS if pattern.search(text)]
    signs.append(f"length {sum(len(words) > limit for limit in _LENGTHS)}")
    for sign in signs:
        yield f"sign {sign}", _SIGN
        yield f"sign {sign} {kind}", _TYPED_SIGN


def _of_words(words: Sequence[str], kind: str) -> Iterator[tuple[str, float]]:
    """A long text's words weigh less each, so that it does not speak louder than a short one."""
    if not words:
        return
    once = dict.fromkeys(words)
    share = 1 / math.sqrt(len(once))
    for word in once:
        yield f"word {word}", _WORDS_SCALE * share
        yield f"word {word} {kind}", _TYPED_WORDS_SCALE * share
    pairs = dict.fromkeys(pairwise(words))
    for one, other in pairs:
        yield f"pair {one} {other}", _PAIRS_SCALE / math.sqrt(len(pairs))
    yield f"first {words[0]} {kind}", _OPENING
