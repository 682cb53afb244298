"""Both arms of a search add up by weight; neither can take away what the other has found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.fusion import fuse

scores = st.dictionaries(st.integers(0, 20), st.floats(0.001, 100), max_size=10)
similarities = st.dictionaries(st.integers(0, 20), st.floats(-1, 1), max_size=10)


@pytest.mark.parametrize(
    ("text", "vector", "fused"),
    [
        ({}, {}, {}),
        ({"a": 4.0, "b": 1.0}, {}, {"a": 1.0, "b": 0.25}),
        ({}, {"a": 0.9, "b": 0.5, "c": 0.7}, {"a": 0.4, "b": 0.0, "c": 0.2}),
        ({}, {"a": 0.3}, {"a": 0.4}),
        ({"a": 2.0, "b": 1.0}, {"b": 0.8, "c": 0.2}, {"a": 1.0, "b": 0.9, "c": 0.0}),
        ({"a": 1.0}, {"a": -0.5, "b": -0.5}, {"a": 1.4, "b": 0.4}),
    ],
)
def test_known_fusions(text: dict[str, float], vector: dict[str, float], fused: dict[str, float]) -> None:
    assert fuse(text, vector, vector_weight=0.4) == pytest.approx(fused)


@given(scores, similarities, st.floats(0, 10))
def test_everything_found_is_there_within_bounds(
    text: dict[int, float], vector: dict[int, float], weight: float
) -> None:
    fused = fuse(text, vector, vector_weight=weight)
    assert fused.keys() == text.keys() | vector.keys()
    assert all(0 <= score <= 1 + weight + 1e-9 for score in fused.values())


@given(scores, similarities)
def test_without_weight_the_words_alone_rank(text: dict[int, float], vector: dict[int, float]) -> None:
    fused = fuse(text, vector, vector_weight=0)
    ranked = sorted(text, key=lambda key: text[key])
    assert [fused[key] for key in ranked] == sorted(fused[key] for key in ranked)
