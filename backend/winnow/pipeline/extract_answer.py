"""Reads what a language model answered, item by item: one that cannot be used does not lose the others."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from winnow.domain.broken_json import NotJson, read_json
from winnow.domain.knowledge import AtomType, LinkType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_ATOMS = 40
MOST_CONFIDENCE = 0.95
"""Models are surer than they are right."""
UNSAID_CONFIDENCE = 0.5
TITLE_CHARACTERS = 160
CONTENT_CHARACTERS = 2000
TOPIC_CHARACTERS = 80
REASON_CHARACTERS = 300
QUOTE_CHARACTERS = 4000
MOST_QUOTES = 8
MOST_TOPICS = 12
MOST_LINKS = 200
_PERCENT = 100
_DIGITS = 9
_KEPT_INVISIBLES = "\u200c\u200d"
_REFERENCE = re.compile(r"\s*([nk]?)\s*(\d{1,6})\s*", re.IGNORECASE)
_TYPES = {one.value: one for one in AtomType}
_LINKS = {one.value: one for one in LinkType}


class NotUsable(ValueError):
    """The answer cannot be used; the message says why, in our words: it is shown to the model, and to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenQuote:
    """Words that are said to be those of a message; None: it is not said of which one."""

    number: int | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAtom:
    """An atom as the model gave it; `name` is what its links call it."""

    name: str
    type: AtomType
    title: str
    content: str
    confidence: float
    topic: str | None
    quotes: tuple[GivenQuote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLink:
    """A link as the model gave it; `source` and `target` are names of atoms, `n1` or `k1`."""

    source: str
    target: str
    type: LinkType
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What could be used of an answer.

    Attributes:
        atoms: at most 40, the surest ones, in the order of the answer.
        links: between names that may be unknown.
        topics: names with the numbers of messages.
        dropped: what could not be used, counted by why.
        cut: its end was missing.
    """

    atoms: tuple[GivenAtom, ...] = ()
    links: tuple[GivenLink, ...] = ()
    topics: tuple[tuple[str, tuple[int, ...]], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    cut: bool = False


def read_answer(text: str) -> Given:
    """Everything of the answer that can be used.

    Raises:
        NotUsable: it is no JSON, has another form, or nothing of what it holds can be used.
    """
    try:
        read = read_json(text)
    except NotJson as error:
        raise NotUsable(f"it is no JSON of the schema: {error}") from error
    answer = {"atoms": read.value} if isinstance(read.value, list) else read.value
    if not isinstance(answer, dict) or not isinstance(answer.get("atoms"), list):
        raise NotUsable('it has no list "atoms"')
    dropped = Counter[str]()
    atoms = list(_atoms(answer["atoms"], dropped))
    if answer["atoms"] and not atoms:
        reasons = ", ".join(sorted(dropped))
        raise NotUsable(f"none of its atoms can be used ({reasons})")
    return Given(
        atoms=_surest(atoms, dropped),
        links=tuple(_links(answer.get("links"), dropped)),
        topics=tuple(_topics(answer.get("topics"), dropped)),
        dropped=dict(dropped),
        cut=read.cut,
    )


def clean(text: object, most: int, *, lines: bool = False) -> str:
    """Text that can be stored and shown: of at most so many characters, nothing invisible, in one line unless told."""
    if not isinstance(text, str):
        return ""
    kept = "".join(char if _is_shown(char) else _instead(char) for char in text[: most * 4])
    words = "\n".join(" ".join(line.split()) for line in kept.splitlines()) if lines else " ".join(kept.split())
    words = words.strip()
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in _KEPT_INVISIBLES


def _instead(char: str) -> str:
    """White space stays some; what is invisible goes."""
    if char == "\n":
        return char
    return " " if char.isspace() or unicodedata.category(char) == "Cc" else ""


def _atoms(given: list[Any], dropped: Counter[str]) -> Iterator[GivenAtom]:
    for place, one in enumerate(given, start=1):
        if not isinstance(one, dict):
            dropped["an atom that is no object"] += 1
            continue
        type_ = _TYPES.get(_key(one.get("type")))
        if type_ is None:
            dropped["an unknown type of atom"] += 1
            continue
        title, content = clean(one.get("title"), TITLE_CHARACTERS), clean(one.get("content"), CONTENT_CHARACTERS)
        if not any(map(str.isalnum, content or title)):
            dropped["an atom without words"] += 1
            continue
        yield GivenAtom(
            name=_reference(one.get("id")) or f"n{place}",
            type=type_,
            title=title or clean(content, TITLE_CHARACTERS),
            content=content or title,
            confidence=_confidence(one.get("confidence")),
            topic=clean(one.get("topic"), TOPIC_CHARACTERS) or None,
            quotes=tuple(_quotes(one.get("evidence"))),
        )


def _quotes(given: object) -> Iterator[GivenQuote]:
    for one in given[:MOST_QUOTES] if isinstance(given, list) else ():
        said = one if isinstance(one, dict) else {"quote": one}
        words = said.get("quote")
        if isinstance(words, str) and words.strip():
            yield GivenQuote(number=_number(said.get("message")), words=words.strip()[:QUOTE_CHARACTERS])


def _surest(atoms: list[GivenAtom], dropped: Counter[str]) -> tuple[GivenAtom, ...]:
    if len(atoms) > MOST_ATOMS:
        dropped["more atoms than a window may have"] += len(atoms) - MOST_ATOMS
    kept = sorted(range(len(atoms)), key=lambda place: -atoms[place].confidence)[:MOST_ATOMS]
    return tuple(atoms[place] for place in sorted(kept))


def _links(given: object, dropped: Counter[str]) -> Iterator[GivenLink]:
    for one in given[:MOST_LINKS] if isinstance(given, list) else ():
        said = one if isinstance(one, dict) else {}
        type_ = _LINKS.get(_key(said.get("type")))
        source, target = _reference(said.get("from")), _reference(said.get("to"))
        if type_ is None or source is None or target is None:
            dropped["a link that says not what it joins, or how"] += 1
        else:
            yield GivenLink(
                source=source, target=target, type=type_, reason=clean(said.get("reason"), REASON_CHARACTERS)
            )


def _topics(given: object, dropped: Counter[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for place, one in enumerate(given if isinstance(given, list) else ()):
        name = clean(one.get("name"), TOPIC_CHARACTERS) if isinstance(one, dict) else ""
        if not any(map(str.isalnum, name)) or place >= MOST_TOPICS:
            dropped["a topic without a name, or one too many"] += 1
            continue
        numbers = one.get("messages")
        found = map(_number, numbers[:200] if isinstance(numbers, list) else ())
        yield name, tuple(number for number in found if number is not None)


def _key(value: object) -> str:
    return value.strip().casefold().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""


def _reference(value: object) -> str | None:
    """The name of an atom: `n1` for "n1", "N 1", "1" and 1."""
    found = _REFERENCE.fullmatch(str(value)) if isinstance(value, (str, int)) and value is not True else None
    return f"{found[1].lower() or 'n'}{int(found[2])}" if found else None


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**_DIGITS:
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal() and len(value) <= _DIGITS:
        return int(value)
    return value if isinstance(value, int) else None


def _confidence(value: object) -> float:
    """Between 0 and 0.95; percents are read as such."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        return UNSAID_CONFIDENCE
    if 1 < number <= _PERCENT:
        number /= _PERCENT
    return min(max(number, 0.0), MOST_CONFIDENCE)
