"""Reading files in: `winnow import`, and the sample of `make run`."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Lane
from winnow.domain.messages import IncomingMessage
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.ingest import ingest
from winnow.sources.base import EXCERPT_CHARACTERS, Skipped
from winnow.sources.recognise import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, tzinfo
    from pathlib import Path

    from winnow.sources.base import Reading
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

# So many new rows make the planner's idea of the table useless, and PostgreSQL itself looks only once a minute.
MANY = 1000
CHUNK = 500
CHUNK_CHARACTERS = 2_000_000
STEP = 2_000  # items between two looks at the rest of the program: a signal is answered in the midst of junk, too
BROKEN_SHOWN = 20

Numbered = tuple[int, IncomingMessage]
"""A message and the line of its file where it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the person said about the files."""

    channel: str | None = None
    timezone: tzinfo
    day: date | None = None


@dataclass(slots=True)
class ImportReport:
    """What became of the lines of some files. Messages = stored + known + differing.

    `differing` came under the identity of a stored message, with another text: the stored one stays. `first_broken`
    names the first of these and of the broken lines.
    `refused` are the files that cannot be read, with a sentence each; of one that became unreadable on the way, what
    had been read before is stored and counted.
    """

    files: int = 0
    messages: int = 0
    stored: int = 0
    known: int = 0
    differing: int = 0
    continued: int = 0
    blank: int = 0
    recoded: int = 0
    not_messages: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    first_broken: list[tuple[Path, Skipped]] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)


async def import_files(
    units: UnitsOfWork, paths: Sequence[Path], how: How, *, tick: Callable[[ImportReport], None]
) -> ImportReport:
    """Stores every message of the files, in chunks of one transaction each; what is known already changes nothing.

    A file that cannot be read keeps no other one from being stored.
    """
    report = ImportReport()
    planned_for = 0
    for path in paths:
        try:
            reading = open_source(path, channel=how.channel, timezone=how.timezone, date=how.day)
        except InvalidInput as error:
            report.refused.append((path, str(error)))
        else:
            await _import_file(units, path, reading, report, tick)
            report.files += 1
        if report.stored >= 2 * planned_for + MANY:
            await units.refresh_statistics()
            planned_for = report.stored
        tick(report)
        await asyncio.sleep(0)
    return report


async def _import_file(
    units: UnitsOfWork, path: Path, reading: Reading, report: ImportReport, tick: Callable[[ImportReport], None]
) -> None:
    with closing(reading):
        for part in _parts(path, reading, report):
            await _store(units, path, part, report)
            tick(report)
            await asyncio.sleep(0)
    report.continued += reading.tally.continued
    report.recoded += reading.tally.recoded


def _parts(path: Path, reading: Reading, report: ImportReport) -> Iterator[list[Numbered]]:
    """The messages in parts of a bounded size, empty ones where long stretches hold none; the rest is noted."""
    part: list[Numbered] = []
    characters = items = 0
    try:
        for item in reading:
            items += 1
            if isinstance(item, IncomingMessage):
                part.append((reading.tally.message_line, item))
                characters += len(item.text)
            else:
                _note(report, path, item)
            if len(part) >= CHUNK or characters >= CHUNK_CHARACTERS or items >= STEP:
                yield part
                part, characters, items = [], 0, 0
    except InvalidInput as error:
        report.refused.append((path, str(error)))
    yield part


def _note(report: ImportReport, path: Path, item: Skipped) -> None:
    if not item.is_error:
        report.not_messages[item.reason] += 1
        return
    report.broken += 1
    _tell(report, path, item)


def _tell(report: ImportReport, path: Path, item: Skipped) -> None:
    if len(report.first_broken) < BROKEN_SHOWN:
        report.first_broken.append((path, item))


async def _store(units: UnitsOfWork, path: Path, part: Sequence[Numbered], report: ImportReport) -> None:
    if not part:
        return
    try:
        done = await ingest(units, [message for _, message in part], lane=Lane.BULK)
    except WinnowError:
        raise
    except Exception as error:  # the database refuses a message that we should have: it keeps no other one out
        if len(part) > 1:
            for one in part:
                await _store(units, path, [one], report)
            return
        log.exception("import.refused_by_database")
        report.broken += 1
        _tell(report, path, _broken(*part[0], f"the database cannot hold it ({type(error).__name__})"))
        return
    report.messages += len(part)
    report.stored += len(done.ids)
    report.known += done.known
    report.differing += done.differing
    report.blank += sum(not message.text.strip() for _, message in part)
    for (line, message), stored in zip(part, done.messages, strict=True):
        if stored.differs:
            reason = f"its identity {message.external_id} in {message.channel} has another text already, which stays"
            _tell(report, path, _broken(line, message, reason))


def _broken(line: int, message: IncomingMessage, reason: str) -> Skipped:
    return Skipped(line=line, reason=reason, excerpt=message.text[:EXCERPT_CHARACTERS], kind="broken")
