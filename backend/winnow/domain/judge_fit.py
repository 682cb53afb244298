"""Logistic regression with an offset for each example, by Newton's method: a few steps, the same every time.

Nocedal and Wright, Numerical Optimization, 2nd edition, chapter 7.1 (line search Newton-CG).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

PENALTY = 1.0
"""Of a weight's square, halved: what one review can move is bounded."""
_STEPS = 30
_INNER_STEPS = 60
_CLOSE = 1e-6
_HALVINGS = 20


class _Sparse:
    """A matrix by its cells that are not 0."""

    def __init__(self, rows: Places, columns: Places, values: Floats, shape: tuple[int, int]) -> None:
        self._rows, self._columns, self._values, self._shape = rows, columns, values, shape

    def times(self, vector: Floats) -> Floats:
        return np.bincount(self._rows, self._values * vector[self._columns], minlength=self._shape[0]).astype(float)

    def transposed_times(self, vector: Floats) -> Floats:
        return np.bincount(self._columns, self._values * vector[self._rows], minlength=self._shape[1]).astype(float)


def fit(rows: Places, columns: Places, values: Floats, offsets: Floats, right: Floats, *, size: int) -> Floats:
    """The weights, one a column.

    Args:
        rows: the examples' features, cell by cell: of which example,
        columns: which feature,
        values: and how much of it.
        offsets: the log odds that each example starts from.
        right: 1 or 0 for each example.
        size: how many columns there are.
    """
    matrix = _Sparse(rows, columns, values, (len(right), size))
    weights = np.zeros(size)
    scores = offsets.copy()
    for _ in range(_STEPS):
        likely = _sigmoid(scores)
        gradient = matrix.transposed_times(likely - right) + PENALTY * weights
        if np.sqrt(_product(gradient, gradient)) < _CLOSE * max(1.0, np.sqrt(len(right))):
            break
        step = _solved(matrix, likely * (1 - likely), -gradient)
        moved = matrix.times(step)
        share, loss = 1.0, _loss(scores, right, weights)
        for _ in range(_HALVINGS):
            if _loss(scores + share * moved, right, weights + share * step) <= loss:
                break
            share /= 2
        weights = weights + share * step
        scores = scores + share * moved
    return weights


def _solved(matrix: _Sparse, curvature: Floats, wanted: Floats) -> Floats:
    """Conjugate gradients: the step for which the curvature explains the gradient."""
    step = np.zeros_like(wanted)
    left = wanted.copy()
    direction = left.copy()
    size = _product(left, left)
    stop = size * 1e-6
    for _ in range(_INNER_STEPS):
        if size <= stop:
            break
        bent = matrix.transposed_times(curvature * matrix.times(direction)) + PENALTY * direction
        share = size / _product(direction, bent)
        step += share * direction
        left -= share * bent
        following = _product(left, left)
        direction = left + (following / size) * direction
        size = following
    return step


def _loss(scores: Floats, right: Floats, weights: Floats) -> float:
    return float(np.sum(np.logaddexp(0.0, scores) - right * scores) + PENALTY / 2 * _product(weights, weights))


def _product(one: Floats, other: Floats) -> float:
    """Without BLAS, whose threads add up in an order of their own and crowd a busy machine."""
    return float(np.sum(one * other))


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -values))
