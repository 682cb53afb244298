"""Whose words are left in what was made of several people's words, once some of these are to go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from winnow.domain.rules.words import STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

_WORD = re.compile(r"[^\W_]+")
_LEAST_CHARACTERS = 3
_STEM_CHARACTERS = 5


def telling(texts: Iterable[str]) -> set[str]:
    """What the texts' words begin with, but for those that everybody uses: enough to know a word in another form."""
    words = {word for text in texts for word in _WORD.findall(text.casefold())}
    kept = {word for word in words if word not in STOP_WORDS and (len(word) >= _LEAST_CHARACTERS or word.isdigit())}
    return {word[:_STEM_CHARACTERS] for word in kept}


def only_in(removed: Iterable[str], remaining: Iterable[str]) -> set[str]:
    """What only the removed quotes say, and none of the remaining ones."""
    return telling(removed) - telling(remaining)


def holds(text: str, words: AbstractSet[str]) -> bool:
    """Whether any of these words (as `only_in` gives them) is left in a text."""
    return bool(words) and not words.isdisjoint(telling([text]))
