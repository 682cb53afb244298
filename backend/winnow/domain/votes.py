"""Acknowledgements are votes on what they answer: `+1`, `agreed`, a thumb."""

from __future__ import annotations

import re

from winnow.domain.rules.signs import agrees, vote_of

_HEAD_CHARACTERS = 200
_SHORT_WORDS = 5
_DISAGREEING = re.compile(
    r"[\s\W]{0,5}(?:disagree|i disagree|not agreed|i object|no way|против|я против|не согласен|не согласна)\b",
    re.IGNORECASE,
)


def vote_in(text: str) -> int:
    """1 for, -1 against, 0: it is no vote. A sign opens the text; words of agreement are all it says."""
    head = text[:_HEAD_CHARACTERS]
    ballot = vote_of(head)
    if ballot is not None and abs(ballot) <= 1:
        return (ballot > 0) - (ballot < 0)
    if "?" in head or len(head.split(None, _SHORT_WORDS)) > _SHORT_WORDS:
        return 0
    if _DISAGREEING.match(head):
        return -1
    return int(agrees(head))
