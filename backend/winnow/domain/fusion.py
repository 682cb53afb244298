"""One ranking out of two: full text and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    Key = TypeVar("Key", bound=Hashable)


def fuse(text: Mapping[Key, float], vector: Mapping[Key, float], *, vector_weight: float) -> dict[Key, float]:
    """Scores of everything either arm found: full text scaled to 0..1, plus `vector_weight` times vectors scaled alike.

    Scores, not ranks: with a modest vector model, fusing ranks as equals loses what full text had found (ADR 9;
    `python -m bench search` measures the weighted scores).
    """
    best = max(text.values(), default=0.0)
    low, high = min(vector.values(), default=0.0), max(vector.values(), default=0.0)
    scores = {key: score / best for key, score in text.items()} if best > 0 else {}
    for key, score in vector.items():
        scaled = (score - low) / (high - low) if high > low else 1.0
        scores[key] = scores.get(key, 0.0) + vector_weight * scaled
    return scores
