"""Words and tokens: what counts as a content word, and how alike two statements are."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_WORD = re.compile(r"[^\W_]+(?:['\u2019\-.@/][^\W_]+){0,6}")
_REMEMBERED_CHARACTERS = 2_000
_URL = re.compile(r"\b(?:https?://|www\.)\S{1,2000}", re.IGNORECASE)

_STOP_WORDS_TEXT = """
a about above actually after again against ago ah all almost already also although always am an and another any
anybody anyone anything anyway are aren't around as at away back basically be because been before behind being below
best better between both but by came can can't cannot come comes coming could couldn't day days did didn't different
do does doesn't doing don't done down during each either else enough er etc even ever every everybody everyone
everything exactly far feel few fine first folks for from further gave get gets getting give given go goes going
gone good got great guess guy guys had hadn't happen has hasn't have haven't having he hear hello her here hers hey
hi him his hm hmm hold how however i i'd i'll i'm i've idea if in instead into is isn't it it'd it'll it's its
itself just keep kind knew know known last later least left less let let's lets like likely little long look looking
looks lot made make makes making many may maybe me mean means might mine more most much must my myself near need
needed needs never new next nice no nobody none nope nor not nothing now of off oh ok okay old on once one ones only
onto or other others our ours out over own part people per perhaps place point possible possibly pretty probably put
question quite rather real really right said same saw say saying says see seem seems seen she should shouldn't show
since so some somebody someone something sometimes somewhat soon sorry sort still stuff such sure take taken takes
talk talking tell than thank thanks that that'd that's the their them then there there's these they they'd they'll
they're they've thing things think thinking this those though thought through time times to today together told
tomorrow too took toward tried try trying two um under until up upon us use used uses using very via want wanted
wants was wasn't way ways we we'd we'll we're we've week well went were weren't what what's whatever when where
whether which while who whole whom whose why will with within without won't wonder word work working works would
wouldn't yeah year years yep yes yesterday yet you you'd you'll you're you've your yours а без более бы был была
были было быть в вам вас ведь весь во вообще вот все всё всегда всего всех вы где да даже два для до его ее её если
есть ещё еще ж же за здесь и из или им их к как какая какой когда кто ли либо лучше меня мне может можно мой мы на
над надо нас наш не него нее неё нет ни никто них но ну о об один он она они оно от очень по под после потом потому
почему при про просто с сам сейчас себя со сразу так также такая такой там тебя тем то тогда того тоже только том
тот ты у уже хорошо хоть чего чем через что чтобы чуть эта эти это этого этой этом этот я
"""
STOP_WORDS: AbstractSet[str] = frozenset(_STOP_WORDS_TEXT.split())

_COMMON_WORDS_TEXT = """
able account agree agreed answer anybody area aren ask asked asking bit book bunch call called cases case change
changed changes chat check clear close comment comments couple course create data default discuss discussion doing
easy email example examples explain fact file files find fixed follow form general group hard help helps hope hours
huge image important include info issue issues language less line link list longer main match message messages
meeting minute minutes month months move name names number numbers option options order page pass phone pick plan
please problem problems proposal question questions read reading reason reply report run running section send sense
sent set sentence shall short side simple simply single situation solution something speak spec start started state
step support talking test tests text thinking thought topic true type types understand update user users value
values version vote wait week weeks word words world write writing wrong время вопрос день дела дело делать есть
знаю лишь люди много надо нужно ответ понимаю проблема работа работает раз сделать скажите сказать сколько смысл
спасибо стоит хотя человек
"""
COMMON_WORDS: AbstractSet[str] = frozenset(_COMMON_WORDS_TEXT.split())
"""Words too common in any team's chat to name a topic by."""


def tokens(text: str) -> tuple[str, ...]:
    """The words of a text, casefolded; links are left out."""
    return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else _tokens(text)


def _tokens(text: str) -> tuple[str, ...]:
    if "://" in text or "www." in text or "WWW." in text:
        text = _URL.sub(" ", text)
    return tuple(_WORD.findall(text.casefold().replace("\u2019", "'")))


_remembered = lru_cache(maxsize=256)(_tokens)
"""The rules ask for the same words again and again while they read a window."""


def content_words(text: str) -> list[str]:
    """The words that say what a text is about: no stop words, no single characters."""
    return [word for word in tokens(text) if word not in STOP_WORDS and len(word) > 1]


def overlap(one: AbstractSet[str], other: AbstractSet[str]) -> float:
    """Dice's coefficient of two word sets, 0 to 1; 0 when either is empty."""
    if not one or not other:
        return 0.0
    return 2 * len(one & other) / (len(one) + len(other))
