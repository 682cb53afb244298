"""A word diff holds both texts whole, and says what changed and nothing else."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain import word_diff as module
from winnow.domain.word_diff import Change, Piece, word_diff

if TYPE_CHECKING:
    from collections.abc import Sequence

SAME, GONE, NEW = Change.SAME, Change.REMOVED, Change.ADDED
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(["use", "Redis", "5", "6", "not", " ", "-", "ё"])).map("".join)


def joined(pieces: Sequence[Piece], without: Change) -> str:
    return "".join(piece.text for piece in pieces if piece.change is not without)


@given(TEXTS, TEXTS)
def test_both_texts_are_in_it(old: str, new: str) -> None:
    pieces = word_diff(old, new)
    assert joined(pieces, NEW) == old
    assert joined(pieces, GONE) == new
    assert all(piece.text for piece in pieces)
    assert all(one.change != other.change for one, other in pairwise(pieces))


@given(TEXTS)
def test_what_is_equal_has_no_changes(text: str) -> None:
    assert {piece.change for piece in word_diff(text, text)} <= {SAME}


@pytest.mark.parametrize(
    ("old", "new", "pieces"),
    [
        ("", "", ()),
        ("use Redis 5", "use Redis 6", ((SAME, "use Redis "), (GONE, "5"), (NEW, "6"))),
        ("we deploy", "we do not deploy", ((SAME, "we "), (NEW, "do not "), (SAME, "deploy"))),
        ("", "new", ((NEW, "new"),)),
        ("old.", ".", ((GONE, "old"), (SAME, "."))),
    ],
)
def test_words_are_told_apart(old: str, new: str, pieces: tuple[tuple[Change, str], ...]) -> None:
    assert tuple((piece.change, piece.text) for piece in word_diff(old, new)) == pieces


def test_very_long_texts_are_compared_at_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WORDS", 3)
    pieces = word_diff("a b c d e f g", "a b X d Y f g")
    assert [(piece.change, piece.text) for piece in pieces] == [
        (SAME, "a b "), (GONE, "c d e"), (NEW, "X d Y"), (SAME, " f g"),
    ]  # fmt: skip
