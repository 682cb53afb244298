"""What a topic is known by, and known again by: its salient terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from winnow.domain.background import SHARES

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TERMS = 16
SAME = 0.42
"""Topics as alike as this are one. Chosen on meetings of odd years (bench/topics.py)."""
_RAREST = 0.0008
_NEWS = 0.25
"""How much of a grown topic's terms are those found last."""


def rarity(word: str) -> float:
    """How telling a word is, about 0.5 to 1: by its share of all messages, in logarithms."""
    return math.log(SHARES.get(word, _RAREST)) / math.log(_RAREST)


def likeness(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The cosine of two topics' terms, rare ones counting more: 0 to 1."""
    if len(one) > len(other):
        one, other = other, one
    shared = sum(weight * other[term] * rarity(term) ** 2 for term, weight in one.items() if term in other)
    size = _size(one) * _size(other)
    return shared / size if size else 0.0


def match_topic(terms: Mapping[str, float], known: Mapping[str, Mapping[str, float]]) -> str | None:
    """The name of the known topic that these terms speak of; None: it is a new one.

    `known` gives the terms of topics by their names. Of equals, the first name in the alphabet.
    """
    best, name = min(((-likeness(terms, other), name) for name, other in known.items()), default=(0.0, None))
    return name if -best >= SAME else None


def grown_terms(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    """The terms of a topic after it was found again: what it was keeps the upper hand; the 16 weightiest stay."""
    if not old:
        return dict(new)
    mixed = {term: round((1 - _NEWS) * old.get(term, 0.0) + _NEWS * new.get(term, 0.0), 4) for term in {**old, **new}}
    kept = sorted(mixed, key=lambda term: (-mixed[term], term))[:MOST_TERMS]
    return {term: mixed[term] for term in kept if mixed[term] > 0}


def _size(terms: Mapping[str, float]) -> float:
    return math.sqrt(sum((weight * rarity(term)) ** 2 for term, weight in terms.items()))
