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

    from winnow.domain.messages import Details

VOTES = "votes"
"""The factor of those who voted on what is said."""
BY_MODEL = "model"
EARLIER = "earlier score"

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
_SERVICE = 0.0
_STICKER = 0.02
_WITHOUT_WORDS = 0.1
_BOT = -0.3
_POLL = 0.15
_REACTION = 0.04
_MOST_REACTIONS = 0.2
_ONE_VOTE = 0.05
_MOST_VOTES = 0.25

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
class ScoreRules:
    """The thresholds between the classes.

    Attributes:
        signal_from: at or above it, a message is worth reading and extracting from.
        weak_from: at or above it, and below `signal_from`, a message is kept for its neighbours' sake; below: noise.
    """

    signal_from: float = 0.5
    weak_from: float = 0.2

    def kind_of(self, importance: float) -> MessageKind:
        """The class of a message that matters so much."""
        if importance >= self.signal_from:
            return MessageKind.SIGNAL
        return MessageKind.WEAK if importance >= self.weak_from else MessageKind.NOISE


RULES = ScoreRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`importance` is 0 to 1 and the sum of the named `factors`, clipped; `kind` follows from it by the thresholds."""

    importance: float
    kind: MessageKind
    factors: Mapping[str, float]


def score(text: str, author: str, details: Details | None = None, rules: ScoreRules = RULES) -> Score:
    """How much `text`, said by `author`, matters; looks at its first 20,000 characters and at no other message.

    Of what else its source says of it (`details`) it takes bots, service messages, media, polls and reactions; that it
    was said elsewhere first makes it neither more nor less.
    """
    return _summed(_factors(text[:EXAMINED_CHARACTERS], author, details or {}), rules)


def with_votes(importance: float, factors: Mapping[str, float] | None, votes: int, rules: ScoreRules = RULES) -> Score:
    """The score of a message that so many more people are for than against; bounded either way.

    `importance` is what a message without `factors` was stored with.
    """
    kept = {name: value for name, value in (factors or {EARLIER: importance}).items() if name != VOTES}
    raised = max(-_MOST_VOTES, min(_MOST_VOTES, votes * _ONE_VOTE))
    return _summed(kept | {VOTES: round(raised, 3)} if votes else kept, rules)


def model_score(importance: float, rules: ScoreRules = RULES) -> Score:
    """The score that a model gave, 0 to 1."""
    return _summed({BY_MODEL: round(importance, 3)}, rules)


def _factors(examined: str, author: str, details: Details) -> dict[str, float]:
    alone = _only_factor(examined, author, details)
    factors = dict([alone]) if alone is not None else _factors_of_words(examined)
    if details.get("bot"):
        factors["bot"] = _BOT
    if reactions := details.get("reactions"):
        factors["reactions"] = round(min(_MOST_REACTIONS, _REACTION * reactions), 3)
    if details.get("media") == "poll":
        factors["poll"] = _POLL
    return factors


def _factors_of_words(examined: str) -> dict[str, float]:
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
    return factors


def _only_factor(text: str, author: str, details: Details) -> tuple[str, float] | None:
    """The one thing to say about a message that says nothing itself; None for every other."""
    if not text.strip() or "service" in details or details.get("media") == "sticker":
        return _nobody_said(details)
    if is_bot_line(text, author):
        return "bot or queue line", _NOISE
    if vote_of(text) is not None and len(_WORD.findall(text)) <= _SHORT_WORDS:
        return "vote", _VOTE
    if len(text) <= _ACKNOWLEDGEMENT_CHARACTERS and _ACKNOWLEDGING.fullmatch(text):
        return "acknowledgement", _ACKNOWLEDGEMENT
    return _wordless(text)


def _nobody_said(details: Details) -> tuple[str, float]:
    if "service" in details:
        return "service message", _SERVICE
    if details.get("media") == "sticker":
        return "sticker", _STICKER
    return ("media without words", _WITHOUT_WORDS) if "media" in details else ("blank", _EMPTY)


def _wordless(text: str) -> tuple[str, float] | None:
    without_links = _URL.sub(" ", text)
    if len(without_links) < len(text) and not _WORD.search(without_links):
        return "link alone", _LINK_ALONE
    if len(_LETTER.findall(text[:200])) < _MIN_LETTERS:
        return "no words", _NOISE
    return None


def _summed(factors: dict[str, float], rules: ScoreRules) -> Score:
    importance = round(min(1.0, max(0.0, sum(factors.values()))), 3)
    return Score(importance=importance, kind=rules.kind_of(importance), factors=factors)
