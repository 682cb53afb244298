"""Words that weigh nothing, and words that weigh everything, when two statements are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

# Without them a statement says the same. Few: "will", "was" and "we" say when and who.
_FILLERS_TEXT = """
a an the so well ok okay oh hey hi please pls just really very actually basically simply quite that there here am
is are be do does anyway imo imho btw
же ну вот ведь просто вообще так то это пожалуйста уж давай как-бы короче ладно ок
"""
FILLERS: AbstractSet[str] = frozenset(_FILLERS_TEXT.split())
# What turns a statement into its contrary, or bounds it.
_LIMITS_TEXT = """
not no never none nobody nothing neither nor without unless except only until till if instead hardly barely stop
avoid against before after either all any some every each more less than over under
не ни нет нельзя без никогда никто ничего ничто кроме только если пока вместо до после все всё любой каждый больше
меньше чем над под против
"""
LIMITS: AbstractSet[str] = frozenset(_LIMITS_TEXT.split())
# Beside these, what is moved means something else: from here to there.
_DIRECTIONS_TEXT = """
and or both to from into onto in on off up down out by with for at of
и или оба к от из с со в во на по за для через
"""
DIRECTIONS: AbstractSet[str] = frozenset(_DIRECTIONS_TEXT.split())
NUMBERS: Mapping[str, str] = {
    word: str(number)
    for number, words in {
        0: "zero ноль",
        1: "one first once один одна одно первый первая первое",
        2: "two second twice два две второй вторая второе",
        3: "three third три третий третья третье",
        4: "four fourth четыре четвёртый четвертый",
        5: "five fifth пять пятый",
        6: "six sixth шесть шестой",
        7: "seven seventh семь седьмой",
        8: "eight eighth восемь восьмой",
        9: "nine ninth девять девятый",
        10: "ten tenth десять десятый",
        11: "eleven одиннадцать",
        12: "twelve двенадцать",
        15: "fifteen пятнадцать",
        20: "twenty двадцать",
        30: "thirty тридцать",
        40: "forty сорок",
        50: "fifty пятьдесят",
        60: "sixty шестьдесят",
        90: "ninety девяносто",
        100: "hundred сто",
        1000: "thousand тысяча",
    }.items()
    for word in words.split()
}
# What people put before a statement to say what kind it is.
LABELS = (
    "resolved",
    "resolution",
    "decision",
    "decided",
    "action",
    "todo",
    "question",
    "problem",
    "issue",
    "answer",
    "решение",
    "решили",
    "задача",
    "вопрос",
    "ответ",
    "проблема",
)
OPINIONS = (
    r"i (?:think|guess|believe|suppose)(?: that)?",
    r"(?:in my opinion|to be honest)",
    r"(?:я )?(?:думаю|считаю|полагаю),? что",
    r"(?:по-моему|мне кажется)",
)
