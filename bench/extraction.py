"""The way of a chat to its atoms as in the program, without the database: score, link, cut windows, extract by rules.

`meetings`, `topics`, `issue_types` and `extraction_speed` measure along it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.stage import EXAMPLES

from winnow.domain.knowledge import WindowMessage
from winnow.domain.messages import IncomingMessage
from winnow.domain.rules import extract_by_rules
from winnow.domain.rules.calibration import AS_GRADED, MAPS
from winnow.domain.scoring import MessageKind, score, with_votes
from winnow.domain.threads import Linker, Said
from winnow.domain.windows import cut_windows
from winnow.sources.irc import read_irc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.tables import Options

    from winnow.domain.knowledge import ExtractedAtom, Extraction, Window

_YEAR = re.compile(r"(\d{4})-\d\d-\d\d")
_YEARS = {"odd": {1}, "even": {0}, "all": {0, 1}}


@dataclass(frozen=True)
class Read:
    """A chat that was read: its messages as they came to the extractor, and what it found, window by window."""

    messages: Sequence[WindowMessage]
    windows: Sequence[Window]
    found: Sequence[Extraction]

    @property
    def atoms(self) -> list[ExtractedAtom]:
        """All of them, those below the cut as well."""
        return [atom for extraction in self.found for atom in extraction.atoms]

    @property
    def topics(self) -> dict[int, str]:
        """The topic's name by message."""
        return {message: name for extraction in self.found for message, name in extraction.message_topics.items()}


def chats(folder: Path, split: str) -> list[Path]:
    """The chats of the odd years (tuning), the even years (final figures) or all."""
    years = ((path, _YEAR.match(path.name)) for path in sorted(folder.glob("*.log")))
    return [path for path, year in years if year and int(year.group(1)) % 2 in _YEARS[split]]


def meetings_folder(options: Options) -> Path:
    """Where the chats of meetings are: below `--data`, else those of the examples."""
    given = (options.data / "minutes", options.data) if options.data else ()
    return next((one for one in given if chats(one, "odd")), EXAMPLES)


def said_in(path: Path) -> list[IncomingMessage]:
    """A chat's messages in order."""
    return [item for item in read_irc(path) if isinstance(item, IncomingMessage)]


def as_stored(messages: Sequence[IncomingMessage], ids: Sequence[int]) -> list[WindowMessage]:
    """The messages scored and linked, without noise: what the program would give to an extractor."""
    linker, numbers = Linker(), {one.external_id: number for number, one in zip(ids, messages, strict=True)}
    links = [
        linker.link(
            Said(
                id=number,
                author=one.author_id or "",
                name=one.author,
                text=one.text,
                at=one.sent_at.timestamp(),
                reply_to=numbers.get(one.reply_to or ""),
                service="service" in one.details,
            )
        )
        for number, one in zip(ids, messages, strict=True)
    ]
    voters: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for link, one in zip(links, messages, strict=True):
        if link.vote and link.parent_id is not None:
            voters[link.parent_id][one.author] = link.vote
    kept = []
    for link, one in zip(links, messages, strict=True):
        scored, votes = score(one.text, one.author, one.details), sum(voters[link.message_id].values())
        if scored.kind is MessageKind.NOISE:
            continue
        kept.append(
            WindowMessage(
                id=link.message_id,
                author=one.author,
                text=one.text,
                sent_at=one.sent_at,
                importance=with_votes(scored.importance, scored.factors, votes).importance,
                conversation=link.conversation_id,
                parent_id=link.parent_id,
                votes=votes,
            )
        )
    return kept


def read_chat(
    messages: Sequence[IncomingMessage], channel: str, ids: Sequence[int] | None = None, *, graded: bool = False
) -> Read:
    """The whole way; a message's id is its place in the chat, unless `ids` tells others. `graded`: not calibrated."""
    stored = as_stored(messages, range(len(messages)) if ids is None else ids)
    windows = cut_windows(stored, channel=channel)
    return Read(stored, windows, [extract_by_rules(window, AS_GRADED if graded else MAPS) for window in windows])


def ungrounded(read: Read) -> int:
    """Atoms of which some evidence is not the message's own characters, or that have none."""
    texts = {message.id: message.text for message in read.messages}
    return sum(
        not atom.evidence
        or any(texts[one.message_id][one.start : one.end] != one.quote or not one.quote for one in atom.evidence)
        for atom in read.atoms
    )
