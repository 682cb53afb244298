"""JSON as models write it: in a fence, with a comma too many, cut off in the middle."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

MOST_CHARACTERS = 4_000_000
_BEGINNING = re.compile(r"[{\[]")
_CLOSING = {"{": "}", "[": "]"}
_TOKEN = re.compile(r'\s*("[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s"\[\]{},:]+)', re.DOTALL)
_ITEMS = 2
"""So deep are the lists whose items are kept: the answer itself, or a list in it."""


class NotJson(ValueError):
    """There is no JSON in it that could be read."""


@dataclass(frozen=True, slots=True)
class ReadJson:
    """What was read. `mended`: it was no JSON as it stood; `cut`: its end was missing, and with it what was begun."""

    value: object
    mended: bool = False
    cut: bool = False


def read_json(text: str) -> ReadJson:
    """The first object or list in the text; of one that is cut off, what is whole. Linear in the text's length.

    Raises:
        NotJson: there is none.
    """
    if len(text) > MOST_CHARACTERS:
        raise NotJson(f"it is longer than {MOST_CHARACTERS} characters")
    found = _BEGINNING.search(text)
    if found is None:
        raise NotJson("there is no object in it")
    start = found.start()
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return _read_broken(text, start)
    return ReadJson(value, mended=bool(text[:start].strip() or text[end:].strip()))


def _read_broken(text: str, start: int) -> ReadJson:
    mended, cut = _mended(text, start)
    try:
        return ReadJson(json.loads(mended, strict=False), mended=True, cut=cut)
    except (ValueError, RecursionError) as error:
        raise NotJson("it cannot be read as JSON") from error


def _mended(text: str, start: int) -> tuple[str, bool]:
    """From the start without commas that nothing follows, closed where it was cut off; and whether it was.

    Of what was cut off, the last whole item of a list is the last that stays.
    """
    written: list[str] = []
    open_: list[str] = []
    whole: tuple[int, tuple[str, ...]] | None = None
    place = start
    while token := _TOKEN.match(text, place):
        word, place = token.group(1), token.end()
        if word in _CLOSING:
            open_.append(word)
        elif word in _CLOSING.values():
            if not open_ or _CLOSING[open_.pop()] != word:
                break
            if written[-1] == ",":
                written.pop()
        written.append(word)
        if not open_:
            return "".join(written), False
        if word in "[]}" and open_[-1] == "[" and len(open_) <= _ITEMS:
            whole = len(written), tuple(open_)
    if whole is None:
        raise NotJson("its end is missing, and nothing in it is whole")
    kept, still_open = whole
    return "".join(written[:kept]) + "".join(_CLOSING[one] for one in reversed(still_open)), True
