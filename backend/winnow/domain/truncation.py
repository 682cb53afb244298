"""Cutting a text that a model finds too long, where it does the least harm."""

from __future__ import annotations

import re

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
    kept = text[: max(int(len(text) * SHARE), 1)]
    least = len(kept) * 3 // 4
    for border in _BORDERS:
        if (found := border.match(text[least : len(kept) + 1])) and found.group().strip():
            return text[:least] + found.group()
    return kept
