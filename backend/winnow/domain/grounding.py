"""Finds the words that somebody quoted in the text they are said to be from."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from winnow.domain.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.domain.folding import Folded

LEAST_SHARE = 3, 4
"""Of the quote's words, in order."""
MOST_LENGTH = 4, 3
"""Of the place they are found at, in the quote's words: a third more."""
MOST_WORDS = 200
"""A longer quote is found as it is written or not at all."""
# Part of a word is found only if it cannot be there by chance.
_LEAST_PART = 8
_MOST_PLACES = 100
_MOST_CHARACTERS = 10_000
_MOST_STARTS = 64

_MARKS = "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"
_LETTER = re.compile(rf"[\w{_MARKS}]")
_WORD = re.compile(rf"[\w{_MARKS}]+(?:['.\-][\w{_MARKS}]+)*")
# Scripts that do not set spaces between words: a word may end anywhere.
_RUNS_ON = re.compile("[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\U0010ffff]")
_WRAPPING = " \"'.[]()*_"
_NEGATIONS = frozenset((
    "no", "not", "never", "none", "nobody", "nothing", "cannot", "without", "neither", "nor",
    "не", "нет", "ни", "никогда", "никто", "ничего", "без", "нельзя",
))  # fmt: skip


def ground(quote: str, text: str) -> tuple[int, int] | None:
    """Where in the text the quote is, as start and end in code points; None: it is not there.

    As it is written; else but for case, form of characters and white space; else at least three quarters of its words
    in order, at a place at most a third longer, where numbers and negations are the same ones, and no name is missing.
    Time is linear in the text's length, whatever is in it.
    """
    return Passage(text).find(quote)


@dataclass(frozen=True)
class _Word:
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Read:
    """The words of a text; beside each the same word if it is weighty, else nothing; and each of them once."""

    words: list[str]
    weights: list[str]
    vocabulary: frozenset[str]


@dataclass
class Passage:
    """A text that several quotes are looked for in."""

    text: str

    @cached_property
    def _folded(self) -> Folded:
        return fold(self.text)

    @cached_property
    def _words(self) -> list[_Word]:
        return _words_of(self._folded.text)

    @cached_property
    def _read(self) -> _Read:
        words = [word.text for word in self._words]
        return _Read(words, [word if _is_weighty(word) else "" for word in words], frozenset(words))

    def find(self, quote: str, *, whole: bool = False) -> tuple[int, int] | None:
        """As `ground`; with `whole` all words of the quote must be there as they stand in it."""
        quote = quote.strip()
        if not _says_something(quote):
            return None
        if (start := _place(quote, self.text)) is not None:
            return start, start + len(quote)
        folded = fold(quote).text.strip()
        for form in dict.fromkeys((folded, folded.strip(_WRAPPING))):
            if _says_something(form) and (start := _place(form, self._folded.text)) is not None:
                span = self._folded.original_span(start, start + len(form))
                if span is not None:
                    return span
        return None if whole else self._find_most(folded, names=_names(quote))

    def _find_most(self, quote: str, *, names: list[str]) -> tuple[int, int] | None:
        """Where most words of the folded quote are, and all names."""
        wanted = [word.text for word in _words_of(quote)]
        if not 0 < len(wanted) <= MOST_WORDS:
            return None
        found = _best_stretch(wanted, self._read, names)
        if found is None:
            return None
        first, last = self._words[found[0]], self._words[found[1] - 1]
        return self._folded.original_span(first.start, last.end)


def _says_something(text: str) -> bool:
    """Whether there is a letter, a digit or a sign in it; punctuation alone proves nothing."""
    return any(char.isalnum() or char == "+" or ord(char) >= 0x2190 for char in text)  # noqa: PLR2004 - arrows, emoji


def _place(words: str, text: str) -> int | None:
    """The first place where the words are whole; else the first one, if they are long."""
    first = start = text.find(words)
    for _ in range(_MOST_PLACES):
        if start < 0:
            break
        if _is_border(text, start) and _is_border(text, start + len(words)):
            return start
        start = text.find(words, start + 1)
    return first if first >= 0 and len(words) >= _LEAST_PART else None


def _is_border(text: str, place: int) -> bool:
    """Whether no word goes on at this place."""
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if not _LETTER.match(before) or not _LETTER.match(after):
        return True
    return bool(_RUNS_ON.match(before) or _RUNS_ON.match(after))


def _words_of(text: str) -> list[_Word]:
    return [_Word(found.group(), found.start(), found.end()) for found in _WORD.finditer(text)]


def _names(quote: str) -> list[str]:
    """Words with a capital that does not come from the beginning of the sentence: who wrote MySQL meant no other."""
    words = _WORD.findall(quote[:_MOST_CHARACTERS].replace("’", "'"))
    return [
        fold(word).text
        for place, word in enumerate(words)
        if any(char.isupper() for char in (word if place else word[1:]))
    ]


def _best_stretch(wanted: list[str], read: _Read, names: list[str]) -> tuple[int, int] | None:
    """The stretch of the words, first and behind the last, with the most of the wanted ones in order, and all names."""
    least = -(-len(wanted) * LEAST_SHARE[0] // LEAST_SHARE[1])
    most = len(wanted) * MOST_LENGTH[0] // MOST_LENGTH[1]
    if sum(word in read.vocabulary for word in wanted) < least:
        return None
    words, weighty = read.words, Counter(filter(_is_weighty, wanted))
    best: tuple[int, int, int, int] | None = None
    for start in _starts(wanted, words, least=least, length=most):
        for shared, end in _growth(wanted, words, start, start + most):
            rank = (-shared, end - start, start, end)
            if shared < least or (best is not None and rank >= best):
                continue
            if Counter(filter(None, read.weights[start:end])) == weighty and not set(names).difference(
                words[start:end]
            ):
                best = rank
    return None if best is None else best[2:]


def _starts(wanted: list[str], words: list[str], *, least: int, length: int) -> list[int]:
    """Where a stretch of this length shares at least so many words in any order, the most promising first."""
    of_quote, here = Counter(wanted), Counter[str]()
    shared, found = 0, []
    for start in range(1 - length, len(words)):
        entering = start + length - 1
        if entering < len(words) and (word := words[entering]) in of_quote:
            here[word] += 1
            shared += here[word] <= of_quote[word]
        if start >= 0:
            if shared >= least and words[start] in of_quote:
                found.append((-shared, start))
            if (word := words[start]) in of_quote:
                shared -= here[word] <= of_quote[word]
                here[word] -= 1
    return [start for _, start in sorted(found)[:_MOST_STARTS]]


def _growth(wanted: list[str], words: list[str], start: int, most: int) -> Iterator[tuple[int, int]]:
    """How many wanted words are in order from the start up to each end at which there is one more.

    The longest common subsequence with a bit for each wanted word: Hyyrö, "Bit-parallel LCS-length computation
    revisited" (2004).
    """
    places: dict[str, int] = {}
    for place, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(wanted)) - 1
    row, shared = everything, 0
    for end in range(start, min(most, len(words))):
        used = row & places.get(words[end], 0)
        row = (row + used | row - used) & everything
        if (now := len(wanted) - row.bit_count()) > shared:
            shared = now
            yield shared, end + 1


def _is_weighty(word: str) -> bool:
    """Whether it turns a sentence into another one: a number, a version, a negation."""
    return word in _NEGATIONS or word.endswith("n't") or any(char.isdigit() for char in word)
