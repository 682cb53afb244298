"""What people say when they decide, promise, ask or complain: reads the cue tables over a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.rules.cues_en import ENGLISH_PHRASES, PLANNING_CUES
from winnow.domain.rules.cues_en_trouble import TROUBLE_CUES
from winnow.domain.rules.cues_ru import RUSSIAN_CUES, RUSSIAN_PHRASES

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


def pattern_of(alternatives: Sequence[str], phrases: Mapping[str, str]) -> re.Pattern[str]:
    """One pattern out of a table's alternatives: phrases filled in, either apostrophe, any case."""
    joined = "|".join(alternatives)
    for name, phrase in phrases.items():
        joined = joined.replace(f"<{name}>", phrase)
    return re.compile(joined.replace("'", "['\u2019]"), re.IGNORECASE)


def _ready(rows: Sequence[CueRow], phrases: Mapping[str, str]) -> tuple[Cue, ...]:
    ready = [
        Cue(
            row.type,
            row.confidence,
            pattern_of(row.says, phrases),
            pattern_of(row.unless, phrases) if row.unless else None,
        )
        for row in rows
    ]
    return tuple(sorted(ready, key=lambda cue: -cue.confidence))


_ENGLISH = _ready(PLANNING_CUES + TROUBLE_CUES, ENGLISH_PHRASES)
_RUSSIAN = _ready(RUSSIAN_CUES, RUSSIAN_PHRASES)


def find_cue(sentence: str) -> Cue | None:
    """The most confident cue that speaks in the sentence; of equals, the first in the table."""
    for cue in _RUSSIAN if _CYRILLIC.search(sentence) else _ENGLISH:
        if cue.says.search(sentence) and not (cue.unless and cue.unless.search(sentence)):
            return cue
    return None
