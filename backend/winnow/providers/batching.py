"""How many texts go into one request: by count and by tokens, less when a server refuses a size, and more again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES_OF_A_REQUESTS_TOKEN = 4
ASCII_CHARACTERS_OF_A_TOKEN = 3
OTHER_BYTES_OF_A_TOKEN = 2
# Characters of four bytes are the costliest.
MOST_TOKENS_OF_A_CHARACTER = 2

# After an answer that did not come in time, the size is soon felt for again: the server may have been away.
GOOD_ANSWERS_AFTER_SILENCE = 4
GOOD_ANSWERS_AFTER_REFUSAL = 32
MOST_GOOD_ANSWERS = 1024


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is, on the safe side: nearly always at least as many as its model will count.

    Three ASCII characters a token where English prose has four to five and code about three; two bytes a token of all
    else: one for each Cyrillic, Greek or Arabic letter (small models know few of their words), one and a half for a
    CJK character, two for an emoji. Only runs of digits or signs may be more; those the server refuses.
    """
    if text.isascii():
        return -(-len(text) // ASCII_CHARACTERS_OF_A_TOKEN)
    size = len(text.encode(errors="replace"))
    ascii_size = len(text.encode("ascii", errors="ignore"))
    return -(-ascii_size // ASCII_CHARACTERS_OF_A_TOKEN) - (-(size - ascii_size) // OTHER_BYTES_OF_A_TOKEN)


def surely_fits(text: str, tokens: int) -> bool:
    """Whether its length alone says that a text is at most so many `estimated_tokens`; costs nothing."""
    return len(text) * MOST_TOKENS_OF_A_CHARACTER <= tokens


def request_tokens(size_bytes: int) -> int:
    """The tokens that a text counts for in a request: a quarter of its bytes of UTF-8, as OpenAI judges them."""
    return -(-size_bytes // BYTES_OF_A_REQUESTS_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """The most that goes into one request: number of texts, and the sum of their `request_tokens`."""

    texts: int
    tokens: int


def first_portion(tokens: Sequence[int], limits: RequestLimits) -> int:
    """How many of the leading texts, of so many `tokens` each, make one request: as many as fit, and at least one.

    A text that is too large alone is still sent: only the server knows for certain, and its refusal names the reason.
    """
    total = 0
    for count, size in enumerate(tokens[: limits.texts]):
        total += size
        if count and total > limits.tokens:
            return count
    return min(len(tokens), limits.texts)


class AdaptiveLimits:
    """The size of requests that a server takes: halved by a refusal, doubled after a run of good answers.

    A number of texts that the server itself named is a ceiling that is not tried again. What it refused without one is,
    after ever longer runs (shorter again once a doubled size has proved good), for the texts may have been at fault; an
    answer that did not come in time soon is. No limit falls below one text.
    """

    def __init__(self, most: RequestLimits) -> None:
        self._ceiling = most
        self._now = most
        self._good_answers = 0
        self._needed = GOOD_ANSWERS_AFTER_SILENCE
        self._is_on_trial = False  # the size was doubled, and no run of good answers has come since

    @property
    def now(self) -> RequestLimits:
        """What the next request keeps to."""
        return self._now

    def refused(self, portion: Sequence[int], *, named: int | None) -> None:
        """A request of texts of so many tokens each was refused for its size; `named`: the texts the server takes."""
        if named is not None and named < len(portion):
            self._ceiling = replace(self._ceiling, texts=max(1, named))
            self._now = replace(self._now, texts=min(self._now.texts, self._ceiling.texts))
            return
        self._needed = min(max(GOOD_ANSWERS_AFTER_REFUSAL, 2 * self._needed), MOST_GOOD_ANSWERS)
        self._halve(portion)

    def unanswered(self, portion: Sequence[int]) -> None:
        """A request was not answered in time; one of a single text cannot be smaller."""
        if len(portion) > 1:
            self._needed = GOOD_ANSWERS_AFTER_SILENCE
            self._halve(portion)

    def answered(self, *, was_full: bool) -> None:
        """A request was answered; `was_full`: the limits kept another text out of it."""
        if not was_full or (self._now == self._ceiling and not self._is_on_trial):
            return
        self._good_answers += 1
        if self._good_answers < self._needed:
            return
        self._good_answers = 0
        if self._is_on_trial:
            self._needed = max(GOOD_ANSWERS_AFTER_SILENCE, self._needed // 2)
        self._is_on_trial = self._now != self._ceiling
        texts, tokens = 2 * self._now.texts, 2 * self._now.tokens
        self._now = RequestLimits(texts=min(texts, self._ceiling.texts), tokens=min(tokens, self._ceiling.tokens))

    def _halve(self, portion: Sequence[int]) -> None:
        """Half of what was sent; another request may have failed before, so never more than now."""
        self._good_answers = 0
        self._is_on_trial = False
        self._now = RequestLimits(
            texts=min(self._now.texts, max(1, len(portion) // 2)),
            tokens=min(self._now.tokens, max(1, sum(portion) // 2)),
        )
