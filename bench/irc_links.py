"""Annotated IRC: who answers whom, by hand (Kummerfeld et al. 2019, github.com/jkkummerfeld/irc-disentanglement).

A line of NAME.annotation.txt is a pair of message numbers, counted from 0 in NAME.raw.txt: one answers the other, or
starts a conversation where both are the same. System lines (`=== …`) are no messages and are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.threads import Said

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ANNOTATION, RAW = ".annotation.txt", ".raw.txt"
_LINE = re.compile(r"\[(\d\d):(\d\d)\] (?:<([^>]*)> ?(.*)|\s*\* (\S+) ?(.*))")
_DAY_MINUTES = 1440
_BACK_MINUTES = 600


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """The messages of one file, and for each annotated one the numbers of what it answers (its own: it starts)."""

    name: str
    messages: Sequence[Said]
    answers: Mapping[int, frozenset[int]]


def find_annotated(data: Path | None) -> list[Path]:
    """The annotation files of the folder, or of `irc/` below it."""
    for folder in (data, data / "irc") if data else ():
        if found := sorted(folder.glob(f"*{ANNOTATION}")):
            return found
    return []


def read_annotated(path: Path) -> Annotated:
    """One file, with the log beside it."""
    lines = path.with_name(path.name.replace(ANNOTATION, RAW)).read_text("utf-8", "replace").split("\n")
    messages, minute, day = [], 0, 0
    for number, line in enumerate(lines):
        found = _LINE.match(line)
        if found is None:
            continue
        now = int(found[1]) * 60 + int(found[2]) + day
        if now < minute - _BACK_MINUTES:
            day += _DAY_MINUTES
            now += _DAY_MINUTES
        minute = max(minute, now)
        name, text = (found[3], found[4]) if found[3] is not None else (found[5], found[6])
        messages.append(Said(id=number, author="", name=name, text=text, at=minute * 60.0))
    known = {message.id for message in messages}
    answers: defaultdict[int, set[int]] = defaultdict(set)
    for line in path.read_text("utf-8").splitlines():
        earlier, later = sorted(int(piece) for piece in line.split()[:2])
        if later in known:
            answers[later].add(earlier)
    name = path.name.removesuffix(ANNOTATION)
    return Annotated(name=name, messages=messages, answers={row: frozenset(to) for row, to in answers.items()})
