"""What is sent and what comes back is looked at here, once, whoever the provider is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.errors import AnswerInvalid, SomeInvalid, TextRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NOT_NUMBERS = "the model's answer holds something that is not a vector of numbers"


def checked_vectors(
    vectors: Sequence[Any] | NDArray[np.float32] | Mapping[int, Any], *, expected: int
) -> NDArray[np.float32]:
    """The vectors as one float32 array of shape (expected, dimensions), fit to be stored and compared.

    Args:
        vectors: one sequence of numbers, or one-dimensional array, for each text; a mapping where the server itself
            says to which text each belongs.
        expected: how many texts were asked about.

    Raises:
        SomeInvalid: no vector for some texts, or one of another length than most, not finite, or zero; it holds the
            good ones.
        AnswerInvalid: it cannot be told which vector belongs to which text, or something in it is no vector.
    """
    if not isinstance(vectors, Mapping) and len(vectors) != expected:
        raise AnswerInvalid(f"the model answered {len(vectors)} vectors for {expected} texts")
    if not expected:
        return np.empty((0, 0), dtype=np.float32)
    by_place = vectors if isinstance(vectors, Mapping) else dict(enumerate(vectors))
    usual = _usual_length(by_place)
    places = sorted(place for place, vector in by_place.items() if len(vector) == usual)
    bad = {
        place: f"has {len(by_place[place])} numbers, most others {usual}" if place in by_place else "did not come"
        for place in sorted(set(range(expected)) - set(places))
    }
    matrix = _matrix(vectors if len(places) == len(vectors) == expected else [by_place[place] for place in places])
    useless = {places[row]: what for row, what in _useless(matrix).items()}
    if not bad and not useless:
        return matrix
    bad |= useless
    first = min(bad)
    raise SomeInvalid(
        f"the model's vector for text {first + 1} of {expected} {bad[first]}",
        good={place: matrix[row] for row, place in enumerate(places) if place not in bad},
        bad=bad,
    )


def _usual_length(by_place: Mapping[int, Any]) -> int:
    try:
        lengths = Counter(len(vector) for vector in by_place.values())
    except TypeError:
        raise AnswerInvalid(NOT_NUMBERS) from None
    usual = max(lengths, key=lambda length: (lengths[length], length), default=0)
    if not usual:
        raise AnswerInvalid("the model answered vectors without numbers")
    return usual


def _matrix(vectors: Any) -> NDArray[np.float32]:
    if isinstance(vectors, Mapping):
        vectors = [vectors[place] for place in sorted(vectors)]
    try:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is found useless
            matrix = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError):  # the cause would carry what the server wrote into the log
        raise AnswerInvalid(NOT_NUMBERS) from None
    if matrix.ndim != 2:  # noqa: PLR2004 - a vector for each text, numbers in each
        raise AnswerInvalid("the model answered nested vectors")
    return matrix


def _useless(matrix: NDArray[np.float32]) -> dict[int, str]:
    """What is wrong with rows of no use, by row."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        # In float32 on purpose: pgvector squares in float32, so what vanishes or overflows here does there, too.
        squares = np.einsum("ij,ij->i", matrix, matrix)
    rows = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
    return {int(row): "has zeros only" if squares[row] == 0 else "has numbers that are not finite" for row in rows}


def utf8_sizes(texts: Sequence[str]) -> list[int]:
    """The size of each text in bytes of UTF-8.

    Raises:
        TextRefused: a text cannot be written in UTF-8 (a lone surrogate); the message names its place.
    """
    sizes = []
    for number, text in enumerate(texts, start=1):
        try:
            sizes.append(len(text.encode()))
        except UnicodeEncodeError as error:
            where = f"character {error.start + 1} of text {number} of {len(texts)}"
            raise TextRefused(f"{where} is a lone surrogate, which no model reads") from None  # it carries the text
    return sizes
