"""Two wordings of one thing: what differs between them, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

# Longer texts are compared as wholes: to look for equal stretches takes time that grows with the square.
MOST_WORDS = 2000
_PIECE = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)


class Change(StrEnum):
    """What became of a stretch of the old wording."""

    KEPT = "kept"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some words that were kept, removed or added, as they were written."""

    change: Change
    words: str


def word_diff(old: str, new: str) -> list[Stretch]:
    """How the old wording became the new one.

    The stretches that were not added are the old one, those that were not removed the new one, in order.
    """
    before, after = _PIECE.findall(old), _PIECE.findall(new)
    if max(len(before), len(after)) > MOST_WORDS:
        before, after = [old], [new]
    found: list[Stretch] = []
    for same, start, end, begin, until in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        removed, added = "".join(before[start:end]), "".join(after[begin:until])
        if same == "equal":
            found.append(Stretch(Change.KEPT, removed))
            continue
        found += [Stretch(Change.REMOVED, removed)] * bool(removed) + [Stretch(Change.ADDED, added)] * bool(added)
    return found
