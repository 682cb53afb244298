"""What is kept of a message while others may answer it: whom it speaks to, what it asks, and its telling words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.rules.words import COMMON_WORDS, STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_CHARACTERS = 1000
_FEW_LETTERS = 2
_NO_NAMES = STOP_WORDS | COMMON_WORDS

_WORD = re.compile(r"[^\W_]{3,60}(?:['\u2019\-.@/_][^\W_]{1,60}){0,6}")
_URL = re.compile(r"\b(?:https?://|www\.)\S{1,2000}")
_ADDRESS = re.compile(r"[\s>]{0,3}@?([^\s,:;]{1,32})(?: ([^\s,:;]{1,32}))?\s{0,2}[,:;]")
_FIRST = re.compile(r"[\s>]{0,3}@?([^\s,:;!?]{3,32})")
_PIECE = re.compile(r"[^\s,:;!?()@\"']{4,32}")
_GREETING = re.compile(
    r"[\s\W]{0,5}(?:hi|hello|hey|hiya|morning|good (?:morning|evening|afternoon|day)|greetings|yo|any(?:one|body)|"
    r"(?:does|can|is|has) any(?:one|body)|is there any(?:one|body)|"
    r"привет\w{0,9}|здравствуй\w{0,3}|добр(?:ый|ое|ого) (?:день|вечер|утро|дня)|доброе утро|всем|подскажите|кто-нибудь|"
    r"коллеги|ребята)\b"
)
_EVERYBODY = re.compile(
    r"\b(?:any(?:one|body)|some(?:one|body)|guys|folks|everyone|all|кто-нибудь|кто-то|у кого|ребята|коллеги|всем)\b"
)
_ACKNOWLEDGING = re.compile(
    r"[\s\W]{0,5}(?:ok(?:ay)?|yes|yep|yeah|no|nope|thanks?|thx|ty|cool|great|nice|right|ah+|oh|lol|haha|hmm+|sure|"
    r"i see|да|нет|спасибо|ок|ага|понял|поняла|ясно|хорошо|точно)\b"
)


@dataclass(slots=True, eq=False)
class Heard:
    """A message as it is remembered.

    Attributes:
        id: of the message.
        author: who said it, by an identity.
        at: when, in seconds.
        to: whom it speaks to by name, or None; `mentions`: whom it names in passing, where it speaks to nobody.
        words: its telling words, without names.
        length: how many words it has, two-letter ones not counted.
        place: its number in the memory, set there.
        votes: whether it is but a vote, and `on` what, once that is known.
    """

    id: int
    author: str
    at: float
    to: str | None
    mentions: str | None
    words: frozenset[str]
    length: int
    asks: bool
    greets: bool
    calls_everybody: bool
    acknowledges: bool
    votes: bool
    place: int = 0
    on: Heard | None = field(default=None, repr=False)


def names_of(name: str) -> list[str]:
    """What people may write for a name, casefolded: all of it, its first word, that without what IRC puts behind."""
    whole = " ".join(name.casefold().split())
    first = whole.partition(" ")[0]
    bare = first.rstrip("_`|^")
    return [one for one in dict.fromkeys((whole, first, bare)) if len(one) >= _FEW_LETTERS]


def hear(message_id: int, author: str, at: float, text: str, names: Mapping[str, str], *, votes: bool) -> Heard:
    """Reads the first 1,000 characters of a message; `names` are of those who have spoken, casefolded, by who it is."""
    head = text[:READ_CHARACTERS].casefold()
    to, asks = _addressee(head, author, names), "?" in head
    found = _WORD.findall(_URL.sub(" ", head) if "://" in head or "www." in head else head)
    return Heard(
        id=message_id,
        author=author,
        at=at,
        to=to,
        mentions=_mentioned(head, author, names) if to is None else None,
        words=frozenset(found).difference(STOP_WORDS, names),
        length=len(found),
        asks=asks,
        greets=_GREETING.match(head) is not None,
        calls_everybody=asks and _EVERYBODY.search(head) is not None,
        acknowledges=_ACKNOWLEDGING.match(head) is not None,
        votes=votes,
    )


def _addressee(head: str, author: str, names: Mapping[str, str]) -> str | None:
    """Who is named at the beginning: `nick: …`, `@nick …`, `ok nick, …`, `First Last, …`, or `nick …`."""
    found = None
    if address := _ADDRESS.match(head):
        first, second = address.groups()
        found = names.get(first) if second is None else names.get(f"{first} {second}") or names.get(second)
    if found is None and (first_word := _FIRST.match(head)) and first_word[1] not in _NO_NAMES:
        found = names.get(first_word[1])
    return None if found == author else found


def _mentioned(head: str, author: str, names: Mapping[str, str]) -> str | None:
    for piece in _PIECE.findall(head):
        if (found := names.get(piece.rstrip("."))) is not None and found != author and piece not in _NO_NAMES:
            return found
    return None
