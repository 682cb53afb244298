"""What people say when they decide, promise, ask or complain: reads the cue tables over a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.rules.cues_en import ENGLISH_PHRASES, PLANNING_CUES
from winnow.domain.rules.cues_en_reports import REPORT_CUES
from winnow.domain.rules.cues_en_trouble import TROUBLE_CUES
from winnow.domain.rules.cues_ru import RUSSIAN_CUES, RUSSIAN_PHRASES
from winnow.domain.rules.cues_ru_more import MORE_RUSSIAN_CUES
from winnow.domain.rules.needles import Sieve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.domain.knowledge import AtomType
    from winnow.domain.rules.grades import CueRow

_CYRILLIC = re.compile("[\u0400-\u04ff]")


@dataclass(frozen=True, slots=True)
class Cue:
    """A row of a cue table, ready to search with."""

    type: AtomType
    confidence: float
    says: re.Pattern[str]
    unless: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class _Table:
    """The rows of a language, the surest first, and what tells which of them are worth a search."""

    cues: tuple[Cue, ...]
    sieve: Sieve

    def find(self, sentence: str) -> Cue | None:
        candidates = self.sieve.candidates(sentence)
        for cue in self.cues:
            if candidates & 1 and cue.says.search(sentence) and not (cue.unless and cue.unless.search(sentence)):
                return cue
            candidates >>= 1
            if not candidates:
                return None
        return None


def pattern_of(alternatives: Sequence[str], phrases: Mapping[str, str]) -> re.Pattern[str]:
    """One pattern out of a table's alternatives: phrases filled in, either apostrophe, any case."""
    return re.compile("|".join(filled(alternatives, phrases)), re.IGNORECASE)


def filled(alternatives: Sequence[str], phrases: Mapping[str, str]) -> list[str]:
    """A table's alternatives as they are searched for."""
    made = []
    for alternative in alternatives:
        whole = alternative
        for name, phrase in phrases.items():
            whole = whole.replace(f"<{name}>", phrase)
        made.append(whole.replace("'", "['\u2019]"))
    return made


def _ready(rows: Sequence[CueRow], phrases: Mapping[str, str]) -> _Table:
    rows = sorted(rows, key=lambda row: -row.confidence)
    cues = [
        Cue(
            row.type,
            row.confidence,
            pattern_of(row.says, phrases),
            pattern_of(row.unless, phrases) if row.unless else None,
        )
        for row in rows
    ]
    return _Table(tuple(cues), Sieve.of([filled(row.says, phrases) for row in rows]))


_ENGLISH = _ready(PLANNING_CUES + TROUBLE_CUES + REPORT_CUES, ENGLISH_PHRASES)
_RUSSIAN = _ready(RUSSIAN_CUES + MORE_RUSSIAN_CUES, RUSSIAN_PHRASES)


def find_cue(sentence: str) -> Cue | None:
    """The most confident cue that speaks in the sentence; of equals, the first in the table."""
    return (_RUSSIAN if _CYRILLIC.search(sentence) else _ENGLISH).find(sentence)
