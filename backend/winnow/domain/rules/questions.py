"""Tells real questions from greetings, tags, housekeeping and rhetoric."""

from __future__ import annotations

import re

from winnow.domain.rules.grades import CANDIDATE
from winnow.domain.rules.titles import without_fillers
from winnow.domain.rules.words import content_words, tokens

ASKED = 0.5
_MIN_TOKENS = 5
_MIN_CONTENT_WORDS = 2

_ASKING = re.compile(
    r"(?:what|why|how|when|where|who|whom|which|whose|is|are|was|were|do|does|did|can|could|should|would|will|"
    r"shall|has|have|"
    r"isn['\u2019]t|aren['\u2019]t|don['\u2019]t|doesn['\u2019]t|didn['\u2019]t|can['\u2019]t|couldn['\u2019]t|"
    r"shouldn['\u2019]t|"
    r"wouldn['\u2019]t|may|must|am|any(?:one|body)|does|in (?:what|which)|for (?:what|which)|to what|on what|"
    r"question|one question|quick question|the question is|my question is|so what|"
    r"что|как|почему|зачем|когда|где|куда|откуда|кто|какой|какая|какие|какое|сколько|чей|можно ли|есть ли|нужно ли|"
    r"а что|а как|а где|подскажите|кто-нибудь|кто-то|у кого)\b",
    re.IGNORECASE,
)
_HOUSEKEEPING = re.compile(
    r"\b(?:any (?:other|more|further)? ?(?:comments?|questions?|objections?|concerns?|thoughts?|volunteers?|"
    r"opinions?|changes|updates?|business|feedback|topics?)|"
    r"(?:hear|see) (?:me|you|us)\b|who(?:['\u2019]s| is| can| wants to| will)? ?scrib|can (?:you|someone|somebody|"
    r"anyone) scribe|scrib(?:e|ing)\b|move on\b|shall we (?:start|begin|continue|proceed|close)|"
    r"on the (?:call|phone|bridge|line)|next (?:item|topic)|anything else|anyone else|anybody else|"
    r"are you (?:there|back|ok|muted)|is (?:that|this) (?:ok|okay|right|correct|clear|fair)\b|"
    r"how are you|what(?:['\u2019]s| is) up|who(?:['\u2019]s| is) (?:that|this|here|next)|does (?:that|"
    r"this) (?:make sense|work for|sound)|make sense|sound (?:good|ok|reasonable)|"
    r"are we (?:done|good|ready|ok)|is (?:everyone|everybody|anyone|anybody) (?:ok|fine|here|happy|ready|against|"
    r"opposed)|agenda|"
    r"did (?:you|i|we) (?:say|mean|miss|lose)|what (?:did|do) you (?:say|mean)|you know|who (?:cares|knows)|"
    r"why not\b|how (?:come|so)\b|"
    r"should we (?:push|move|table|postpone|discuss|go (?:on|over|through)|take|bring|continue|vote|start)|"
    r"shall we|anyone objects?|are you (?:on|at|still|asking|ok|saying)|want to (?:go over|talk about|take us|"
    r"introduce|speak)|do you (?:want|have (?:time|anything|a minute)|mind)|you want to|sorry|say that again|"
    r"(?:can|could|would) (?:you|we) (?:please )?(?:repeat|go (?:over|through|back)|take us|talk (?:about|"
    r"through)|move|start|wait|hold|discuss|do (?:a )?straw)|"
    r"как дела|как ты|все ли|всем привет|меня слышно)\b",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"(?:,|\.{2,3}|\u2026|-)\s{0,3}(?:right|ok|okay|no|yes|correct|huh|eh|yeah|да|нет|так|верно)\s{0,3}\?\W{0,3}$",
    re.IGNORECASE,
)
_ANAPHORIC = re.compile(
    r"(?:is|was|does|did|can|could|would|will|should|has|why (?:is|does|do|would)|how (?:is|does|do|would)|"
    r"what (?:is|does|do|about)|isn['\u2019]t|doesn['\u2019]t) (?:that|this|it|he|she|they|those|these)\b",
    re.IGNORECASE,
)
_ANAPHORIC_WORDS = 4


def is_question(sentence: str) -> bool:
    """A question somebody could answer with knowledge, long enough to be understood alone."""
    if len(tokens(sentence)) < _MIN_TOKENS or _HOUSEKEEPING.search(sentence):
        return False
    said = len(content_words(sentence))
    opening = without_fillers(sentence)
    return said >= (_ANAPHORIC_WORDS if _ANAPHORIC.match(opening) else _MIN_CONTENT_WORDS)


def question_confidence(sentence: str) -> float:
    """How sure it is a question: one built as such stands alone, a statement with a question mark needs an answer."""
    opening = without_fillers(sentence)
    return ASKED if _ASKING.match(opening) and not _TAG.search(sentence) else CANDIDATE
