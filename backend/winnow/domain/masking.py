"""Secrets are replaced by marks before a text leaves one's own machines; where they stood is remembered."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from winnow.domain.secret_shapes import find_secrets

MARK = "[secret {}]"


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text with marks for its secrets: where each mark stands, and what of the original it stands for."""

    text: str
    original: str
    marks: tuple[tuple[int, int], ...] = ()
    secrets: tuple[tuple[int, int], ...] = ()

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        """What of the original `text[start:end]` shows; a mark of which a part is in it stands for its whole secret."""
        return self._original(start, is_end=False), self._original(end, is_end=True)

    def _original(self, place: int, *, is_end: bool) -> int:
        before = bisect_right(self.marks, (place, -1)) - 1  # the last mark that begins before this place
        if before >= 0 and place < self.marks[before][1]:
            return self.secrets[before][is_end]
        return place if before < 0 else place - self.marks[before][1] + self.secrets[before][1]


@dataclass(slots=True)
class Masking:
    """Gives the secrets of several texts their marks: the same secret the same one.

    Attributes:
        contacts: telephone numbers and e-mail addresses are secrets, too.
    """

    contacts: bool = False
    _numbers: dict[str, int] = field(default_factory=dict)

    def mask(self, text: str) -> MaskedText:
        """The text with marks instead of secrets."""
        pieces: list[str] = []
        marks: list[tuple[int, int]] = []
        secrets = find_secrets(text, contacts=self.contacts)
        done = length = 0
        for start, end in secrets:
            number = self._numbers.setdefault(text[start:end], len(self._numbers) + 1)
            mark = MARK.format(number)
            pieces += [text[done:start], mark]
            length += start - done
            marks.append((length, length + len(mark)))
            length += len(mark)
            done = end
        pieces.append(text[done:])
        return MaskedText("".join(pieces), text, tuple(marks), tuple(secrets))
