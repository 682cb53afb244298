"""A text that is too long is cut where it does the least harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.truncation import SHORTEST_CHARACTERS, shortened


def test_it_ends_with_a_sentence_where_one_ends_near() -> None:
    text = "One sentence here. " * 20
    cut = shortened(text)
    assert cut is not None
    assert cut.endswith("here.")
    assert text.startswith(cut)
    assert 0.5 * len(text) < len(cut) <= 0.7 * len(text) + 1


def test_without_sentences_it_ends_with_a_word() -> None:
    cut = shortened("word " * 100)
    assert cut is not None
    assert cut.endswith("word")


def test_without_words_it_ends_anywhere() -> None:
    assert shortened("x" * 100) == "x" * 70


@pytest.mark.parametrize("text", ["", "short", "x" * SHORTEST_CHARACTERS])
def test_a_short_text_is_not_cut(text: str) -> None:
    assert shortened(text) is None


@given(st.text(max_size=3000))
def test_a_cut_text_is_a_beginning_and_shorter_and_the_cutting_ends(text: str) -> None:
    for _ in range(40):
        cut = shortened(text)
        if cut is None:
            return
        assert text.startswith(cut)
        assert 0 < len(cut) < len(text)
        text = cut
    raise AssertionError(f"{len(text)} characters are left")
