"""What became of the files of an import: counted while it goes on, told at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.sources.base import EXCERPT_CHARACTERS, Skipped
from winnow.storage.messages import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from winnow.domain.messages import IncomingMessage
    from winnow.pipeline.ingest import Ingested
    from winnow.sources.base import Unit

BROKEN_SHOWN = 20
MOST_CHANNELS = 100_000
MOST_AUTHORS = 1_000_000
OTHER_CHANNELS = "(other channels)"

Numbered = tuple[int, "IncomingMessage"]
"""A message and the line of its file where it begins, or its number where lines mean nothing."""


@dataclass(slots=True)
class Survey:
    """What the messages of some files are: how many in which channel, by how many people, of which time.

    Bounded: behind 100,000 channels the rest are counted together, and no more than a million people are told apart
    (by source and identity, or name where there is none).
    """

    channels: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    _authors: set[int] = field(default_factory=set)

    @property
    def authors(self) -> int:
        """How many people; a million means at least as many."""
        return len(self._authors)

    def add(self, message: IncomingMessage) -> None:
        """Takes a message into account."""
        name = message.channel_title or message.channel
        if name not in self.channels and len(self.channels) >= MOST_CHANNELS:
            name = OTHER_CHANNELS
        self.channels[name] += 1
        if self.first is None or message.sent_at < self.first:
            self.first = message.sent_at
        if self.last is None or message.sent_at > self.last:
            self.last = message.sent_at
        if len(self._authors) < MOST_AUTHORS and (who := message.author_id or message.author):
            self._authors.add(hash((message.source, who)))


@dataclass(slots=True)
class ImportReport:
    """What became of the lines of some files.

    Messages = stored + changed + known + differing + off + forgotten + resumed; in a dry run known is what is stored
    already, and nothing else of these is counted.

    `changed` were stored with a text that was edited later. Of the known, `retimed` were stored with times of another
    zone than the person names now. `differing` came under the identity of a stored message,
    with another text: the stored one stays. `first_broken` names the first of these and of the broken lines. `off` are
    of channels that are not watched, `forgotten` were forgotten on purpose. `resumed` were stored before the import of
    their file was interrupted.
    `refused` are the files that cannot be read, with a sentence each; of one that became unreadable on the way, what
    had been read before is stored and counted.
    `notes` are what had to be decided about a whole file, a sentence each without a full stop.
    `bytes` of `size` have been read of all files, as they lie on the disk.
    """

    files: int = 0
    messages: int = 0
    stored: int = 0
    changed: int = 0
    known: int = 0
    retimed: int = 0
    differing: int = 0
    off: int = 0
    forgotten: int = 0
    resumed: int = 0
    continued: int = 0
    blank: int = 0
    recoded: int = 0
    not_messages: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    first_broken: list[tuple[Path, Skipped]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[tuple[Path, str]] = field(default_factory=list)
    survey: Survey = field(default_factory=Survey)
    bytes: float = 0
    size: int = 0

    def skip(self, path: Path, item: Skipped) -> None:
        """Notes what is no message."""
        if not item.is_error:
            self.not_messages[item.reason] += 1
            return
        self.broken += 1
        self._tell(path, item)

    def meet(self, messages: Sequence[Numbered]) -> None:
        """Takes messages into account, whatever becomes of them."""
        self.messages += len(messages)
        for _, message in messages:
            self.survey.add(message)
            self.blank += not message.text.strip()

    def add(self, path: Path, part: Sequence[Numbered], done: Ingested, unit: Unit) -> None:
        """Notes what became of messages that were handed to the database."""
        self.stored += done.of(Fate.NEW)
        self.changed += done.of(Fate.EDITED)
        self.known += done.known
        self.differing += done.differing
        self.off += done.of(Fate.OFF)
        self.forgotten += done.of(Fate.FORGOTTEN)
        if not done.differing:
            return
        for (line, message), stored in zip(part, done.messages, strict=True):
            if stored.fate is Fate.DIFFERS:
                reason = (
                    f"its identity {message.external_id} in {message.channel} has another text already, which stays"
                )
                self._tell(path, broken(line, message, reason, unit))

    def _tell(self, path: Path, item: Skipped) -> None:
        if len(self.first_broken) < BROKEN_SHOWN:
            self.first_broken.append((path, item))


def broken(line: int, message: IncomingMessage, reason: str, unit: Unit) -> Skipped:
    """A message that could be read and cannot be taken."""
    return Skipped(line=line, reason=reason, excerpt=message.text[:EXCERPT_CHARACTERS], kind="broken", unit=unit)
