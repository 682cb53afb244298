"""Only whole answers pass: as many vectors as texts, of one length, finite, and with a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.errors import AnswerInvalid, SomeInvalid, TextRefused
from winnow.providers.checking import checked_vectors, utf8_sizes

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("vectors", "expected", "reason"),
    [
        ([[1.0]], 2, "1 vectors for 2 texts"),
        ([[1.0]], 0, "1 vectors for 0 texts"),
        ([], 1, "0 vectors for 1 texts"),
        ([[1.0, 2.0], [1.0]], 2, "text 2 of 2 has 1 numbers, most others 2"),
        ([[], []], 2, "without numbers"),
        ([[[1.0]], [[2.0]]], 2, "nested"),
        ([1.0, 2.0], 2, "not a vector of numbers"),
        ([None], 1, "not a vector of numbers"),
        ([["a"]], 1, "not a vector of numbers"),
        ([[1.0, [2.0]]], 1, "not a vector of numbers"),
        ([[1.0], [NAN]], 2, "text 2 of 2 has numbers that are not finite"),
        ([[INF, 1.0]], 1, "text 1 of 1 has numbers that are not finite"),
        ([[None, 1.0]], 1, "not finite"),
        ([[1e300]], 1, "not finite"),
        ([[1e30]], 1, "not finite"),
        ([[1.0, 0.0], [0.0, 0.0]], 2, "text 2 of 2 has zeros only"),
        ([[1e-30]], 1, "zeros only"),
    ],
)
def test_an_unfit_answer_is_refused_with_its_reason(vectors: Any, expected: int, reason: str) -> None:
    with pytest.raises(AnswerInvalid, match=reason):
        checked_vectors(vectors, expected=expected)


def test_the_good_vectors_of_a_bad_answer_are_kept_with_the_reasons_of_the_others() -> None:
    with pytest.raises(SomeInvalid, match="text 2 of 5 has zeros only") as caught:
        checked_vectors({0: [1.0, 2.0], 1: [0.0, 0.0], 3: [3.0], 4: [NAN, 1.0]}, expected=5)
    assert {place: vector.tolist() for place, vector in caught.value.good.items()} == {0: [1.0, 2.0]}
    assert caught.value.bad == {
        1: "has zeros only",
        2: "did not come",
        3: "has 1 numbers, most others 2",
        4: "has numbers that are not finite",
    }


finite = st.floats(min_value=-100, max_value=100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(st.integers(1, 8).flatmap(lambda d: st.lists(st.lists(finite, min_size=d, max_size=d).filter(any), max_size=6)))
def test_a_fit_answer_keeps_its_numbers_and_order(vectors: Any) -> None:
    matrix = checked_vectors(vectors, expected=len(vectors))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == vectors


def test_arrays_are_taken_as_well_as_lists() -> None:
    given_array = np.ones((3, 4), dtype=np.float32)
    assert np.array_equal(checked_vectors(given_array, expected=3), given_array)
    assert np.array_equal(checked_vectors(list(given_array), expected=3), given_array)


@given(st.lists(st.text()))
def test_sizes_are_those_of_utf8(texts: list[str]) -> None:
    assert utf8_sizes(texts) == [len(text.encode()) for text in texts]


def test_a_lone_surrogate_is_named_by_its_place_and_the_text_is_not_shown() -> None:
    with pytest.raises(TextRefused, match="character 7 of text 2 of 2") as caught:
        utf8_sizes(["fine", "secret\ud83d"])
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__
