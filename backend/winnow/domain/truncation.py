"""Cutting a text that a model finds too long, where it does the least harm."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.7
SHORTEST_CHARACTERS = 50
# Where a text may end, best first; looked for in the last quarter of what is kept.
_BORDERS = (re.compile(r".*(?:[.!?…]|\n)(?=\s)", re.DOTALL), re.compile(r".*\S(?=\s)", re.DOTALL))


def shortened(text: str) -> str | None:
    """About the first 70 % of the text, up to a sentence's or at least a word's end; None when it is short enough.

    A text of 50 characters or less is not too long for any model: then something else is wrong with it.
    """
    if len(text) <= SHORTEST_CHARACTERS:
        return None
    return _up_to_a_border(text, max(int(len(text) * SHARE), 1))


def cut_to(text: str, budget: int, *, tokens: Callable[[str], int]) -> str:
    """The longest beginning of at most `budget` tokens, up to a sentence's or at least a word's end; all if it fits.

    Args:
        text: any.
        budget: at least 1.
        tokens: how many a text is; a longer beginning never has fewer. At least one character is always kept.
    """
    if tokens(text) <= budget:
        return text
    fitting = bisect_right(range(1, len(text)), budget, key=lambda length: tokens(text[:length]))
    return _up_to_a_border(text, max(fitting, 1))


def _up_to_a_border(text: str, most: int) -> str:
    """The beginning of at most `most` characters (fewer than the text has), ended at the best border near its end."""
    least = most * 3 // 4
    for border in _BORDERS:
        if (found := border.match(text[least : most + 1])) and found.group().strip():
            return text[:least] + found.group()
    return text[:most]
