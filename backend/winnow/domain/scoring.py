"""How much a single message matters, judged from its own words: cheap, and explainable factor by factor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from winnow.domain.rules.cues import find_cue
from winnow.domain.rules.signs import is_bot_line, parse_mark, vote_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNAL_FROM = 0.5
"""At or above: worth reading and extracting from."""
WEAK_FROM = 0.2
"""At or above, and below `SIGNAL_FROM`: kept for its neighbours' sake. Below: noise."""

EXAMINED_CHARACTERS = 20_000
_CUE_CHARACTERS = 2_000
_ACKNOWLEDGEMENT_CHARACTERS = 80
_FULL_LENGTH_WORDS = 16
_SHORT_WORDS = 4
_MIN_LETTERS = 2

_BASE = 0.36
_LENGTH = 0.24
_SHORT = -0.14
_MARK = 0.45
_CUE = 0.2
_QUESTION = 0.08
_LINK = 0.04
_CODE = 0.06
_NOISE = 0.02
_EMPTY = 0.0
_VOTE = 0.25
_ACKNOWLEDGEMENT = 0.22
_LINK_ALONE = 0.3

_URL = re.compile(r"\b(?:https?://|www\.)\S{1,2000}", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_LETTER = re.compile(r"[^\W\d_]")
_CODE_MARK = re.compile(
    r"`[^`\n]{1,200}`|\b\w{1,60}\(\)|\bv?\d{1,4}\.\d{1,4}\.\d{1,4}\b|\b[A-Z]{2,10}-\d{1,6}\b|#\d{1,6}\b"
)
_ACKNOWLEDGING = re.compile(
    r"[\s\W]*(?:"
    r"ok(?:ay|ey)?|k|kk|yes|yep|yup|yeah|ya|no|nope|sure|right|great|good|nice|cool|perfect|awesome|excellent|done|"
    r"thanks?|thx|ty|cheers|agreed?|correct|exactly|indeed|understood|noted|got it|i see|makes sense|sounds good|"
    r"will do|works for me|fine|fine by me|fine with me|no objections?|no problem|np|me too|same here|lol|haha|heh|"
    r"hi|hello|hey|morning|good morning|good evening|bye|goodbye|see you|welcome|you too|ditto|hmm+|oh|ah|wow|oops|"
    r"ок|окей|да|нет|ага|угу|ладно|хорошо|понял|поняла|понятно|принято|согласен|согласна|спасибо|пасиб|отлично|"
    r"супер|класс|привет|всем привет|доброе утро|пока|лол|хаха"
    r")(?:[\s\W]+(?:all|everyone|everybody|guys|folks|there|thanks?|then|so much|a lot|you|too|all set|"
    r"\w{1,20}))?[\s\W]*",
    re.IGNORECASE,
)


class MessageKind(StrEnum):
    """What a message is good for."""

    SIGNAL = "signal"
    WEAK = "weak"
    NOISE = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`importance` is 0 to 1 and the sum of the named `factors`, clipped; `kind` follows from it by the thresholds."""

    importance: float
    kind: MessageKind
    factors: Mapping[str, float]


def score(text: str, author: str) -> Score:
    """How much `text`, said by `author`, matters; looks at its first 20,000 characters and at no other message."""
    examined = text[:EXAMINED_CHARACTERS]
    alone = _only_factor(examined, author)
    if alone is not None:
        return _summed(dict([alone]))
    words = len(_WORD.findall(_URL.sub(" ", examined)))
    factors = {"said something": _BASE, "length": round(_LENGTH * min(1.0, words / _FULL_LENGTH_WORDS), 3)}
    head = examined[:_CUE_CHARACTERS]
    if words < _SHORT_WORDS:
        factors["short"] = _SHORT
    if parse_mark(head) is not None:
        factors["explicit mark"] = _MARK
    elif (cue := find_cue(head)) is not None:
        factors[f"sounds like {cue.type}"] = _CUE
    if "?" in head:
        factors["question mark"] = _QUESTION
    if _URL.search(head):
        factors["link"] = _LINK
    if _CODE_MARK.search(head):
        factors["names code or a ticket"] = _CODE
    return _summed(factors)


def _only_factor(text: str, author: str) -> tuple[str, float] | None:
    """The one thing to say about a message that says nothing itself; None for every other."""
    if not text.strip():
        return "blank", _EMPTY
    if is_bot_line(text, author):
        return "bot or queue line", _NOISE
    if vote_of(text) is not None and len(_WORD.findall(text)) <= _SHORT_WORDS:
        return "vote", _VOTE
    if len(text) <= _ACKNOWLEDGEMENT_CHARACTERS and _ACKNOWLEDGING.fullmatch(text):
        return "acknowledgement", _ACKNOWLEDGEMENT
    return _wordless(text)


def _wordless(text: str) -> tuple[str, float] | None:
    without_links = _URL.sub(" ", text)
    if len(without_links) < len(text) and not _WORD.search(without_links):
        return "link alone", _LINK_ALONE
    if len(_LETTER.findall(text[:200])) < _MIN_LETTERS:
        return "no words", _NOISE
    return None


def _summed(factors: dict[str, float]) -> Score:
    importance = round(min(1.0, max(0.0, sum(factors.values()))), 3)
    if importance >= SIGNAL_FROM:
        kind = MessageKind.SIGNAL
    elif importance >= WEAK_FROM:
        kind = MessageKind.WEAK
    else:
        kind = MessageKind.NOISE
    return Score(importance=importance, kind=kind, factors=factors)
