"""What differs between two wordings, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import groupby

# Comparing takes time by the square: of longer texts only what begins and ends alike is told.
MOST_WORDS = 1_500
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class Change(StrEnum):
    """What became of some words."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Piece:
    """Words in a row that share a fate. All but the added ones make up the old text, all but the removed the new."""

    change: Change
    text: str


def word_diff(old: str, new: str) -> tuple[Piece, ...]:
    """How the old text becomes the new one; of what was replaced, the removed words come before the added ones."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    middle_before, middle_after = before[head : len(before) - tail], after[head : len(after) - tail]
    pieces = [Piece(Change.SAME, "".join(before[:head]))]
    pieces += _between(middle_before, middle_after)
    pieces.append(Piece(Change.SAME, "".join(before[len(before) - tail :])))
    return _joined(pieces)


def _alike(one: list[str], other: list[str]) -> int:
    """How many words both begin with."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _between(before: list[str], after: list[str]) -> list[Piece]:
    if max(len(before), len(after)) > MOST_WORDS:
        return [Piece(Change.REMOVED, "".join(before)), Piece(Change.ADDED, "".join(after))]
    pieces = []
    for change, first, end, first_new, end_new in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if change == "equal":
            pieces.append(Piece(Change.SAME, "".join(before[first:end])))
        else:
            pieces.append(Piece(Change.REMOVED, "".join(before[first:end])))
            pieces.append(Piece(Change.ADDED, "".join(after[first_new:end_new])))
    return pieces


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Without empty ones, and with neighbours of one sort as one."""
    there = [piece for piece in pieces if piece.text]
    return tuple(
        Piece(change, "".join(piece.text for piece in row))
        for change, row in groupby(there, key=lambda one: one.change)
    )
