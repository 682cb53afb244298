"""What is sent and what comes back is looked at here, once, whoever the provider is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from winnow.errors import AnswerInvalid, TextRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def checked_vectors(vectors: Sequence[Any] | NDArray[np.float32], *, expected: int) -> NDArray[np.float32]:
    """The vectors as one float32 array of shape (expected, dimensions), fit to be stored and compared.

    Args:
        vectors: one sequence of numbers, or one-dimensional array, for each text.
        expected: how many texts were asked about.

    Raises:
        AnswerInvalid: another count, vectors of different lengths or none, something that is no number,
            not finite, or a vector whose length is zero; the message says which.
    """
    if len(vectors) != expected:
        raise AnswerInvalid(f"the model answered {len(vectors)} vectors for {expected} texts")
    if not expected:
        return np.empty((0, 0), dtype=np.float32)
    try:
        lengths = sorted({len(vector) for vector in vectors})
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is named below
            matrix = np.asarray(vectors if len(lengths) == 1 else [], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AnswerInvalid("the model's answer holds something that is not a vector of numbers") from error
    if len(lengths) > 1:
        raise AnswerInvalid(f"the model answered vectors of different lengths: {lengths[0]} to {lengths[-1]} numbers")
    if matrix.ndim != 2 or lengths == [0]:  # noqa: PLR2004 - a vector for each text, numbers in each
        raise AnswerInvalid("the model answered vectors without numbers, or nested ones")
    _refuse_useless(matrix)
    return matrix


def _refuse_useless(matrix: NDArray[np.float32]) -> None:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        # In float32 on purpose: pgvector squares in float32, so what vanishes or overflows here does there, too.
        squares = np.einsum("ij,ij->i", matrix, matrix)
    useless = np.flatnonzero(~np.isfinite(squares) | (squares == 0))
    if useless.size:
        row = int(useless[0])
        what = "zeros only" if squares[row] == 0 else "numbers that are not finite"
        raise AnswerInvalid(f"the model's vector for text {row + 1} of {len(matrix)} has {what}")


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
