"""Makes readable one-line summaries and topic names out of what people typed."""

from __future__ import annotations

import re

MAX_TITLE = 80
_SPACE = re.compile(r"\s+")
_URL = re.compile(r"\b(?:https?://|www\.)([^\s/?#]{1,60})\S{0,2000}", re.IGNORECASE)
_FILLER = re.compile(
    r"(?:ok(?:ay)?|yes|yeah|yep|so|well|and|but|also|right|oh|hm+|um+|uh+|alright|sure|great|good point|cool|now|"
    r"then|"
    r"anyways?|actually|basically|fyi|btw|i (?:think|guess|mean|believe|suppose|feel)(?: that)?|again|agreed|sorry|"
    r"in general|first(?: of all)?|plus|as well|true|ну|так|да|ок|итак|кстати|вообще|короче|слушай(?:те)?)"
    r"(?:[,.:;!\u2026 \-]{1,5}|$)",
    re.IGNORECASE,
)
_ANSWERING = re.compile(r"(?:yes|yeah|yep|no|nope|да|нет)\b", re.IGNORECASE)
_FIRST_PERSON = re.compile(r"I(?:['\u2019]ll| will| shall)\b", re.IGNORECASE)
_PROMISING_CLAUSE = re.compile(
    r"[,;.:\u2026\-\u2013] (?:and |but |so |then |or |ok |okay )?(?=I(?:['\u2019]ll| will| shall)\b.{12})",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"(?:can|could|would|will) you (?:please |maybe |also |then |kindly |possibly )?(?!mind)|please (?!do\b|don)",
    re.IGNORECASE,
)
_SUGGESTION = re.compile(
    r"(?:how about|what if|maybe|perhaps|i (?:suggest|propose)(?: that)?|(?:my |the )?(?:proposal|"
    r"suggestion) is(?: that| to)?),? "
    r"(?:we (?:could |should |can )?)?(?=\w)",
    re.IGNORECASE,
)
_EDGE = " \t,;:-\u2013\u2014*_>|#\u2022"
_MAX_FILLERS = 4
_MIN_LETTERS = 2


def one_line(text: str) -> str:
    """The text with every run of white space made one space, ends trimmed."""
    return _SPACE.sub(" ", text).strip()


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, cut at a word border where there is one, an ellipsis at the cut."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    border = head.rfind(" ")
    if border >= limit // 2:
        head = head[:border]
    return head.rstrip(_EDGE + ".(") + "\u2026"


def without_fillers(text: str) -> str:
    """The sentence without the small words people open with."""
    for _ in range(_MAX_FILLERS):
        match = _FILLER.match(text)
        if match is None or not text[match.end() :].strip(_EDGE + "."):
            break
        text = text[match.end() :].lstrip(_EDGE + ".\u2026")
    return text


def capitalised(text: str) -> str:
    """The text with a capital first letter, unless its first word is an address, code or has capitals of its own."""
    word = text.split(" ", 1)[0].rstrip(",.:;!?")
    plain = word.replace("'", "").replace("\u2019", "").replace("-", "")
    return text[:1].upper() + text[1:] if plain.isalpha() and plain.islower() else text


def title_of(sentence: str, *, promised_by: str | None = None, is_answer: bool = False) -> str:
    """A summary of at most 80 characters; with `promised_by`, its "I'll" becomes "NAME will"."""
    text = _URL.sub(r"\1", one_line(sentence[:2000])).strip(_EDGE)
    if not (is_answer and _ANSWERING.match(text)):
        text = without_fillers(text)
    if promised_by and (clause := _PROMISING_CLAUSE.search(text)):
        text = text[clause.end() :]
    if promised_by and (match := _FIRST_PERSON.match(text)):
        text = f"{one_line(promised_by)} will{text[match.end() :]}"
    else:
        text = capitalised(text)
    text = text.rstrip(_EDGE)
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    return shortened(text, MAX_TITLE)


def asked_of(name: str, title: str) -> str:
    """A request's title with the one it is asked of: "Can you send it?" becomes "NAME to send it"."""
    match = _REQUEST.match(title)
    if match is None:
        return title
    return shortened(f"{one_line(name)} to {title[match.end() :].rstrip('?. ')}", MAX_TITLE)


def settled(title: str) -> str:
    """A suggestion's title once it is agreed: "How about we drop it?" becomes "Drop it"."""
    match = _SUGGESTION.match(title)
    return capitalised(title[match.end() :].rstrip("? ")) if match else title


def topic_name(words: str) -> str | None:
    """A topic's name cleaned of links and ornament, at most 80 characters; None when nothing readable is left."""
    text = _URL.sub(" ", one_line(words[:1000]))
    text = one_line(text).strip(_EDGE + ".=[]<>\"'`")
    if sum(character.isalnum() for character in text) < _MIN_LETTERS:
        return None
    return shortened(text, MAX_TITLE)
