"""What an examination finds: a line each, with what to do where something is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How it stands: well, worth a person's attention, or in the way of the work."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: its area and name, how it stands, what was seen, and what to do, if anything."""

    area: str
    name: str
    level: Level
    says: str
    do: str = ""


def well(area: str, name: str, says: str) -> Finding:
    """Nothing to do."""
    return Finding(area=area, name=name, level=Level.OK, says=says)


def doubtful(area: str, name: str, says: str, do: str) -> Finding:
    """Work goes on, but a person should look."""
    return Finding(area=area, name=name, level=Level.WARNING, says=says, do=do)


def wrong(area: str, name: str, says: str, do: str) -> Finding:
    """Work cannot go on, or something can be lost."""
    return Finding(area=area, name=name, level=Level.WRONG, says=says, do=do)
