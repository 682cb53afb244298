"""What sources tell and nobody said, counted by what happened; the names are theirs, so there is an end to them."""

from __future__ import annotations

JOINED_OR_LEFT = "joined or left"
OTHER = "other service message"

_MOST_NAMES = 100
_MOST_CHARACTERS = 40


class Happenings:
    """Reasons for what is no message: one for each kind of thing that happened, of the first hundred kinds.

    Args:
        comings_and_goings: the kinds that are one and the same in every source.
    """

    def __init__(self, comings_and_goings: frozenset[str]) -> None:
        self._comings_and_goings = comings_and_goings
        self._names: set[str] = set()

    def reason(self, name: object) -> str:
        """Why something of this kind is no message."""
        if not isinstance(name, str) or not name.isidentifier() or len(name) > _MOST_CHARACTERS:
            return OTHER
        if name in self._comings_and_goings:
            return JOINED_OR_LEFT
        if name not in self._names:
            if len(self._names) >= _MOST_NAMES:
                return OTHER
            self._names.add(name)
        return f"service message ({name})"
