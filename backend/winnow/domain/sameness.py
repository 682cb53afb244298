"""Whether two statements say the same; in doubt they do not.

Nothing is merged because it is likely: a number, a version, a negation or a name that differs is another statement,
however alike the rest. A vector may bring two statements together; the words decide (docs/adr/0028).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from winnow.domain.sameness_words import DIRECTIONS, FILLERS, LABELS, LIMITS, NUMBERS, OPINIONS

# Of the cosine of two statements' vectors: from here on, words that differ by their ending only count as the same.
ALIKE = 0.9
# Of the words of the longer one: what a longer wording of the same must share with the shorter.
MOSTLY = 2 / 3
# Of all words, what a refinement must share with what it refines, where the extractor says that it does.
PARTLY = 0.6
_LEAST_WORDS = 4
_LEAST_PREFIX = 4
_TELLING_WORDS = 3
MOST_CHARACTERS = 4000

_LINK = r"(?:https?://|www\.)[^\s<>]{1,2000}"
_QUOTED = r"`[^`\n]{1,300}`|\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”|«[^»\n]{1,300}»"
_WORD = r"[@#]?[^\W_](?:[\w]|['’.\-/@:+#](?=[^\W_])|(?<=\d),(?=\d{3}(?!\d)))*(?:\+\+|\#(?!\w))?"
_SIGN = r"[-−](?=\d)|[<>≤≥=≠+%$€£₽±~]"
_TOKEN = re.compile(
    f"(?P<link>{_LINK})|(?P<quoted>{_QUOTED})|(?P<word>{_WORD})|(?P<sign>{_SIGN})|"
    r"(?P<end>[.!?…:;\n])|(?P<other>[^\w\s])"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_INSIDE = re.compile(r"[./@:_#+]|^[@#]")
_LABEL = re.compile(
    rf"[*_#]{{0,3}}(?:[qa]\s?:|(?:{'|'.join(LABELS)})[*_]{{0,3}}(?:\s?:|\s[-–—]\s))[*_]{{0,3}}\s*", re.IGNORECASE
)
_OPINION = re.compile(rf"\b(?:{'|'.join(OPINIONS)})\b[,]?\s*", re.IGNORECASE)
_SHORT_FORMS = (("n't", ("not",)), ("'ll", ("will",)), ("'ve", ("have",)), ("'re", ()), ("'m", ()), ("'s", ()))
_IRREGULAR = {"can't": ("can", "not"), "cannot": ("can", "not"), "won't": ("will", "not"), "shan't": ("shall", "not")}
# Endings that turn who does into who suffers, or into the contrary: such words are two.
_TURNING = re.compile(r"(?:ed|en|ing|ers?|ors?|ees?|able|ible|less|ful|ся|сь|[внтм]ы[йехм]|вш\w+|ющ\w+|ящ\w+)$")


class Verdict(StrEnum):
    """What a new statement is to an old one.

    CHANGED: the same said more fully, more briefly or in another order; a person, or a rule, says which wording holds.
    """

    SAME = "same"
    CHANGED = "changed"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Wording:
    """A statement's words in order, without fillers, casefolded.

    `hard` are those that never stand for others: numbers, signs, negations and limits, quoted words, links. `names` are
    words written as names are; a word that is one in either of two statements counts as one in both.
    """

    words: tuple[str, ...]
    hard: frozenset[str]
    names: frozenset[str]


def verdict(old: str, new: str, *, likeness: float = 0.0, one_topic: bool = False, refines: bool = False) -> Verdict:
    """What `new` is to `old`, two statements of one type.

    Args:
        old: what is known.
        new: what was found.
        likeness: the cosine of their vectors, where it is known.
        one_topic: both are filed under one topic; else a likely change is none.
        refines: the extractor says that the new one refines the old one.
    """
    if folded(old) == folded(new):
        return Verdict.SAME
    one, other = wording(old), wording(new)
    if not one.words or not other.words or _marks(one, other) != _marks(other, one):
        return Verdict.DIFFERENT
    if _equal(one, other, likeness):
        return Verdict.SAME
    if (one_topic and _reworded(one, other)) or (refines and _shared(one, other) >= PARTLY):
        return Verdict.CHANGED
    return Verdict.DIFFERENT


def adds_only(old: str, new: str) -> bool:
    """Whether the new wording says all that the old one does, in its order, and nothing else is turned round."""
    one, other = wording(old), wording(new)
    return _marks(one, other) == _marks(other, one) and _is_within(one.words, other.words)


def folded(text: str) -> str:
    """The text with all forms of a letter made one, and of white space; without the full stop at its end."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".!… ")


def telling_words(text: str) -> str:
    """The words that a twin of this statement is looked up by, longest first; at most three, at least one if any."""
    longest = sorted(dict.fromkeys(wording(text).words), key=lambda word: (-len(word), word))
    return " ".join(longest[:_TELLING_WORDS])


@lru_cache(maxsize=2048)
def wording(text: str) -> Wording:
    """A statement as it is compared. Of a very long one the first 4,000 characters."""
    text = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).replace("’", "'")
    text = text.strip()
    if label := _LABEL.match(text):
        text = text[label.end() :]
    text = _OPINION.sub("", text)
    shouted = text == text.upper()
    words: list[str] = []
    hard: set[str] = set()
    names: set[str] = set()
    begins = True
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match.group()
        if kind == "end":
            begins = True
            continue
        if kind == "other" and unicodedata.category(token) != "So":  # an emoji may say the contrary, a comma does not
            continue
        if kind == "word":
            found = _read(token)
            words += found
            hard.update(word for word in found if word in LIMITS or any(map(str.isdigit, word)))
            if found and _is_name(token, begins=begins, shouted=shouted):
                names.update(found)
        else:
            word = token.rstrip(".,;:!?)") if kind == "link" else token
            words.append(word)
            hard.add(word)
        begins = False
    return Wording(tuple(words), frozenset(hard), frozenset(names))


def _read(token: str) -> list[str]:
    """The words of one token, casefolded; none of a filler."""
    low = token.casefold()
    if low in _IRREGULAR:
        return [word for word in _IRREGULAR[low] if word not in FILLERS]
    for ending, instead in _SHORT_FORMS:
        if low.endswith(ending) and len(low) > len(ending):
            return [word for word in (low[: -len(ending)], *instead) if word not in FILLERS]
    if _THOUSANDS.fullmatch(low):
        low = low.replace(",", "")
    if len(low) > 1 and low[0] == "v" and low[1].isdigit():
        low = low[1:]
    low = NUMBERS.get(low, low)
    return [] if low in FILLERS else [low]


def _is_name(token: str, *, begins: bool, shouted: bool) -> bool:
    if _INSIDE.search(token):
        return True
    if shouted or not any(map(str.isupper, token)):
        return False
    return any(map(str.isupper, token[1:])) or not (begins or len(token) == 1)


def _marks(one: Wording, other: Wording) -> Counter[str]:
    telling = one.hard | one.names | other.hard | other.names
    return Counter(word for word in one.words if word in telling)


def _equal(one: Wording, other: Wording, likeness: float) -> bool:
    if len(one.words) != len(other.words):
        return False
    fixed = one.hard | one.names | other.hard | other.names
    return all(
        left == right
        or (left not in fixed and right not in fixed and _same_word(left, right, by_ending=likeness >= ALIKE))
        for left, right in zip(one.words, other.words, strict=True)
    )


def _same_word(one: str, other: str, *, by_ending: bool) -> bool:
    if _singular(one) == _singular(other):
        return True
    shared = next((place for place, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), None)
    prefix = min(len(one), len(other)) if shared is None else shared
    alike = prefix >= _LEAST_PREFIX and prefix >= MOSTLY * max(len(one), len(other))
    return by_ending and alike and not (_TURNING.search(one) or _TURNING.search(other))


def _singular(word: str) -> str:
    """Without the s of plural and third person; Russian endings say who does what to whom, and stay."""
    if not word.isascii() or len(word) < _LEAST_PREFIX or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word.removesuffix("s")


def _reworded(one: Wording, other: Wording) -> bool:
    """The shorter one's words are the longer one's but for some; or all are, in another order, where that is harmless.

    Beside a name, a number or a preposition it may not be: "not A but B", "from A to B".
    """
    short, long = sorted((one.words, other.words), key=len)
    if len(short) < _LEAST_WORDS or len(short) < MOSTLY * len(long):
        return False
    if _is_within(short, long):
        return True
    return Counter(short) == Counter(long) and not _marks(one, other) and DIRECTIONS.isdisjoint(short)


def _is_within(short: tuple[str, ...], long: tuple[str, ...]) -> bool:
    rest = iter(long)
    return all(any(_singular(word) == _singular(other) for other in rest) for word in short)


def _shared(one: Wording, other: Wording) -> float:
    """Dice's coefficient of the words."""
    left, right = set(map(_singular, one.words)), set(map(_singular, other.words))
    return 2 * len(left & right) / (len(left) + len(right))
