"""Texts without what people and models write differently: case, width, accents' form, quotation marks, white space."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# Models write typewriter quotes and hyphens for those of the text, and Russian keyboards write е for ё.
_SAME = str.maketrans(
    dict.fromkeys("‘’‚‛′`´", "'") | dict.fromkeys("“”„‟«»″‹›", '"') | dict.fromkeys("‐‑‒–—―−", "-") | {"…": "..."}
)
_YO = "ё"
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text, and for each of its characters the index of the one that it was made of."""

    text: str
    origins: list[int]

    def original_span(self, start: int, end: int) -> tuple[int, int] | None:
        """Where `text[start:end]` was made of; None: it begins or ends in the middle of a character."""
        origins = self.origins
        splits_first = start > 0 and origins[start - 1] == origins[start]
        splits_last = end < len(origins) and origins[end - 1] == origins[end]
        return None if splits_first or splits_last else (origins[start], origins[end - 1] + 1)


def fold(text: str) -> Folded:
    """The text in NFKD and without case; one space for any white space, nothing for what is invisible.

    Texts that are the same but for such things are folded alike. Linear in the text's length.
    """
    folded: list[str] = []
    origins: list[int] = []
    for place, char in enumerate(text):
        for one in _folded(char):
            if one == " " and folded and folded[-1] == " ":
                continue
            folded.append(one)
            origins.append(place)
    _put_marks_in_order(folded, origins)
    return Folded("".join(folded), origins)


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    if char.casefold() == _YO:
        return "е"
    category = unicodedata.category(char)
    if category == "Cf" or ord(char) in _VARIATION_SELECTORS:
        return ""
    if category in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    plain = char.translate(_SAME)
    return unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", plain).casefold()).translate(_SAME)


def _put_marks_in_order(folded: list[str], origins: list[int]) -> None:
    """Accents on one letter in the order of the standard, however they were typed."""
    place = 0
    while place < len(folded):
        if not unicodedata.combining(folded[place]):
            place += 1
            continue
        end = place
        while end < len(folded) and unicodedata.combining(folded[end]):
            end += 1
        order = sorted(range(place, end), key=lambda at: unicodedata.combining(folded[at]))
        folded[place:end], origins[place:end] = [folded[at] for at in order], [origins[at] for at in order]
        place = end
