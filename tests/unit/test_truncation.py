"""A text that is too long is cut where it does the least harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.truncation import SHORTEST_CHARACTERS, cut_to, shortened
from winnow.providers.batching import estimated_tokens


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


def test_a_budget_is_used_up_to_the_last_sentence_that_fits() -> None:
    text = "One sentence here. " * 20
    cut = cut_to(text, 100, tokens=len)
    assert cut == text[:94]
    assert cut.endswith("here.")


def test_a_text_within_its_budget_is_left_alone() -> None:
    text = "All of it fits. "
    assert cut_to(text, len(text), tokens=len) is text
    assert cut_to("", 1, tokens=len) == ""


@given(st.text(max_size=500), st.integers(1, 200))
def test_a_text_is_cut_to_its_budget_and_not_to_much_less(text: str, budget: int) -> None:
    cut = cut_to(text, budget, tokens=estimated_tokens)
    assert text.startswith(cut)
    assert estimated_tokens(cut) <= budget or len(cut) == 1
    if cut != text:
        longest = next(n for n in range(len(text), 0, -1) if estimated_tokens(text[:n]) <= budget or n == 1)
        assert longest * 3 // 4 <= len(cut) <= longest
