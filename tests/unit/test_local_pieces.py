"""A text in pieces loses nothing but the spaces it was cut at, and no piece is larger than asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winnow.providers.local import pieces


@given(st.text(alphabet=" ab", max_size=60), st.integers(1, 12))
def test_pieces_are_small_and_whole(text: str, size: int) -> None:
    cut = list(pieces(text, size=size))
    assert all(len(piece) <= size for piece in cut)
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")
    assert 0 <= len(text) - len("".join(cut)) <= len(cut) - 1, "at most one space for each cut"


def test_a_short_text_is_one_piece() -> None:
    assert list(pieces("")) == [""]
    assert list(pieces("a b c")) == ["a b c"]


def test_cuts_are_at_spaces_where_there_are_any() -> None:
    assert list(pieces("one two three", size=8)) == ["one two", "three"]
    assert list(pieces("onetwothree", size=4)) == ["onet", "woth", "ree"]
