"""What a topic is known by, and known again by: its salient terms."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.background import SHARES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_TERMS = 16
SAME = 0.36
"""Topics as alike as this are one. Chosen on meetings of odd years (bench/topics.py)."""
_RAREST = 0.0008
_BESIDE = 0.05
"""What the terms beside the strongest one that two topics share must add to their likeness."""
_NEWS = 0.25
"""How much of a grown topic's terms are those found last."""


def rarity(word: str) -> float:
    """How telling a word is, about 0.5 to 1: by its share of all messages, in logarithms."""
    return math.log(SHARES.get(word, _RAREST)) / math.log(_RAREST)


@dataclass(frozen=True, slots=True)
class Spread:
    """How many topics there are, and how many have each term; what is not counted, one has."""

    topics: int
    having: Mapping[str, int]

    def telling(self, term: str) -> float:
        """How much the term tells of these topics apart: 1 where one has it, near 0 where all have."""
        having = self.having.get(term, 1)
        if self.topics <= 1 or having <= 1:
            return 1.0
        return math.log((1 + self.topics) / min(having, self.topics)) / math.log(1 + self.topics)


NOWHERE = Spread(0, {})


def spread_of(known: Iterable[Mapping[str, float]], topics: int = 0) -> Spread:
    """The spread of terms over these topics, of `topics` in all where there are more."""
    counted, number = Counter[str](), 0
    for terms in known:
        counted.update(terms.keys())
        number += 1
    return Spread(max(number, topics), counted)


def likeness(one: Mapping[str, float], other: Mapping[str, float], spread: Spread = NOWHERE) -> float:
    """The cosine of two topics' terms, those counting more that are rare and that few topics have: 0 to 1.

    0 if it comes of one term and each speaks of other things, too: a word that everybody says makes no topic.
    """
    weights = {term: rarity(term) * spread.telling(term) for term in {**one, **other}}
    parts = [one[term] * other[term] * weights[term] ** 2 for term in one if term in other]
    size = _size(one, weights) * _size(other, weights)
    if not parts or not size:
        return 0.0
    if one.keys() != other.keys() and sum(parts) - max(parts) < _BESIDE * size:
        return 0.0
    return sum(parts) / size


def match_topic(
    terms: Mapping[str, float], known: Mapping[str, Mapping[str, float]], spread: Spread | None = None
) -> str | None:
    """The name of the known topic that these terms speak of; None: it is a new one.

    `known` gives the terms of topics by their names; `spread` that of all topics, if `known` is some of them. Of
    equals, the first name in the alphabet.
    """
    spread = spread_of(known.values()) if spread is None else spread
    best, name = min(((-likeness(terms, other, spread), name) for name, other in known.items()), default=(0.0, None))
    return name if -best >= SAME else None


def grown_terms(old: Mapping[str, float], new: Mapping[str, float], spread: Spread = NOWHERE) -> dict[str, float]:
    """The terms of a topic after it was found again: what it was keeps the upper hand; the 16 weightiest stay.

    Of what was found, that counts less which other topics have, too: a topic does not drift to what is said everywhere.
    """
    if not old:
        return dict(new)
    mixed = {
        term: round((1 - _NEWS) * old.get(term, 0.0) + _NEWS * new.get(term, 0.0) * spread.telling(term), 4)
        for term in {**old, **new}
    }
    kept = sorted(mixed, key=lambda term: (-mixed[term], term))[:MOST_TERMS]
    return {term: mixed[term] for term in kept if mixed[term] > 0}


def _size(terms: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return math.sqrt(sum((weight * weights[term]) ** 2 for term, weight in terms.items()))
