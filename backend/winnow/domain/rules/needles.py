"""What a text must hold for a pattern to be found in it: a cheap look before the dear one.

A pattern's needles are strings one of which stands in every text that it matches. They are read off the pattern: of
things in a row any one will do, so the most telling is taken; of alternatives each gives its own. Four letters of each
(three, where it has no more) are looked up among all stretches of so many letters of the text, once for all patterns
together (the trick of the trigram index: Russ Cox, "Regular Expression Matching with a Trigram Index", 2012).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (3, 4)
_QUANTIFIER = re.compile(r"[?*+]\??|\{(\d*)(?:,\d*)?\}\??")
_ZERO_WIDTH = frozenset({r"\b", r"\B", "^", "$"})
_WORD = re.compile(r"[^\W\d_]+")
_COMMON_TEXT = """
have that this with from what when your them they their there here would could should will been were just then also
"""
_COMMON = frozenset(_COMMON_TEXT.split())
_PLAIN_ENOUGH = 4

Needles = frozenset[str] | None
"""None: nothing can be told."""


def needles(pattern: str) -> Needles:
    """One of them stands in every text, casefolded, that the pattern matches whatever the case.

    Knows groups, alternatives, classes, quantifiers, looks ahead and behind: what the cue tables are written in.
    """
    found, end = _Parser(pattern).alternatives(0)
    return found if end == len(pattern) else None


class _Parser:
    """Reads a pattern from left to right; every method tells where it stopped."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def alternatives(self, start: int) -> tuple[Needles, int]:
        every: set[str] | None = set()
        while True:
            found, start = self._row(start)
            every = None if every is None or found is None else every | found
            if start >= len(self._pattern) or self._pattern[start] == ")":
                return (None if every is None else frozenset(every)), start
            start += 1  # the bar

    def _row(self, start: int) -> tuple[Needles, int]:
        """Things in a row; the most telling one's needles."""
        offers: list[frozenset[str]] = []
        run = ""
        while start < len(self._pattern) and self._pattern[start] not in "|)":
            literal, inner, width, start = self._thing(start)
            least, start = self._times(start)
            if width == 0:
                continue
            if literal and least == 1:
                run += literal
                continue
            if literal and least > 1:
                run += literal
            if run:
                offers.append(frozenset({run}))
            run = ""
            if inner is not None and least:
                offers.append(inner)
        if run:
            offers.append(frozenset({run}))
        offers = [offer for offer in offers if all(_key(one) for one in offer)]
        return max(offers, key=_telling, default=None), start

    def _thing(self, start: int) -> tuple[str, Needles, int, int]:
        """A literal, or a group's needles; its width, of which only 0 matters; and where it ends."""
        sign = self._pattern[start]
        if sign == "(":
            return self._group(start)
        if sign == "[":
            end = self._pattern.index("]", start + 2)
            return "", None, 1, end + 1
        if sign == "\\":
            both = self._pattern[start : start + 2]
            plain = not both[1].isalnum()
            return (both[1] if plain else ""), None, int(both not in _ZERO_WIDTH), start + 2
        if sign in _ZERO_WIDTH:
            return "", None, 0, start + 1
        return ("" if sign == "." else sign.casefold()), None, 1, start + 1

    def _group(self, start: int) -> tuple[str, Needles, int, int]:
        opening = re.compile(r"\((?:\?(?:P<\w+>|[:=!]|<[=!]))?").match(self._pattern, start)
        begins = start + 1 if opening is None else opening.end()
        inner, end = self.alternatives(begins)
        looks = self._pattern[begins - 1] in "=!"
        return "", (None if looks else inner), 0 if looks else 1, end + 1

    def _times(self, start: int) -> tuple[int, int]:
        """How often a thing must stand at least (2: it goes on after that), and where its quantifier ends."""
        match = _QUANTIFIER.match(self._pattern, start)
        if match is None:
            return 1, start
        if match.group()[0] in "?*":
            return 0, match.end()
        if match.group()[0] == "+":
            return 2, match.end()
        return (2 if int(match.group(1) or 0) else 0), match.end()


def _key(needle: str) -> str:
    """The letters that a needle is looked up by: a telling word's first ones, else its own, spaces and all."""
    words = [word for word in _WORD.findall(needle) if len(word) >= WIDTHS[0]]
    plain = [word for word in words if word not in _COMMON]
    best = max(plain or words, key=len, default=needle)
    return best[: WIDTHS[-1]] if len(best) >= WIDTHS[0] else ""


def _telling(offer: frozenset[str]) -> tuple[int, int]:
    rare = min(min(len(_longest_plain(one)), 2 * _PLAIN_ENOUGH) for one in offer)
    return rare, -len(offer)


def _longest_plain(needle: str) -> str:
    return max((word for word in _WORD.findall(needle) if word not in _COMMON), key=len, default="")


@dataclass(frozen=True, slots=True)
class Sieve:
    """Which of many patterns may be found in a text."""

    by_key: tuple[dict[str, int], ...]
    always: int

    @classmethod
    def of(cls, patterns: Sequence[Sequence[str]]) -> Sieve:
        """For patterns that are given by their alternatives."""
        by_key: tuple[dict[str, int], ...] = tuple({} for _ in WIDTHS)
        always = 0
        for number, alternatives in enumerate(patterns):
            for alternative in alternatives:
                found = needles(alternative)
                if found is None:
                    always |= 1 << number
                    continue
                for needle in found:
                    key = _key(needle)
                    known = by_key[WIDTHS.index(len(key))]
                    known[key] = known.get(key, 0) | 1 << number
        return cls(by_key, always)

    def candidates(self, text: str) -> int:
        """A bit for each pattern that may match; the others do not."""
        folded, found = text.casefold(), self.always
        for width, by_key in zip(WIDTHS, self.by_key, strict=True):
            stretches = {folded[place : place + width] for place in range(len(folded) - width + 1)}
            for key in by_key.keys() & stretches:
                found |= by_key[key]
        return found
