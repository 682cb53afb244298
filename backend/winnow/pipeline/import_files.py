"""Reading files in: `winnow import`, and the sample of `make run`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from winnow.domain.jobs import Lane
from winnow.domain.messages import IncomingMessage
from winnow.pipeline.ingest import ingest
from winnow.sources.recognise import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date, tzinfo
    from pathlib import Path

    from winnow.sources.base import Reading, Skipped
    from winnow.storage.unit_of_work import UnitsOfWork

CHUNK = 500
BROKEN_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the person said about the files."""

    channel: str | None = None
    timezone: tzinfo
    day: date | None = None


@dataclass(slots=True)
class ImportReport:
    """What became of the lines of some files. Messages = stored + known."""

    files: int = 0
    messages: int = 0
    stored: int = 0
    known: int = 0
    continued: int = 0
    blank: int = 0
    recoded: int = 0
    not_messages: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    first_broken: list[tuple[Path, Skipped]] = field(default_factory=list)


async def import_files(
    units: UnitsOfWork, paths: Sequence[Path], how: How, *, tick: Callable[[ImportReport], None]
) -> ImportReport:
    """Stores every message of the files, in chunks of one transaction each; what is known already changes nothing.

    Raises:
        InvalidInput: a file cannot be read at all, and nothing is stored; or one becomes unreadable on the way.
    """
    report = ImportReport()
    readings = [open_source(path, channel=how.channel, timezone=how.timezone, date=how.day) for path in paths]
    for path, reading in zip(paths, readings, strict=True):
        await _import_file(units, path, reading, report, tick)
        report.files += 1
        tick(report)
    return report


async def _import_file(
    units: UnitsOfWork, path: Path, reading: Reading, report: ImportReport, tick: Callable[[ImportReport], None]
) -> None:
    chunk: list[IncomingMessage] = []
    for item in reading:
        if isinstance(item, IncomingMessage):
            chunk.append(item)
        else:
            _note(report, path, item)
        if len(chunk) >= CHUNK:
            await _store(units, chunk, report)
            chunk = []
            tick(report)
    await _store(units, chunk, report)
    report.continued += reading.tally.continued
    report.recoded += reading.tally.recoded


def _note(report: ImportReport, path: Path, item: Skipped) -> None:
    if not item.is_error:
        report.not_messages[item.reason] += 1
        return
    report.broken += 1
    if len(report.first_broken) < BROKEN_SHOWN:
        report.first_broken.append((path, item))


async def _store(units: UnitsOfWork, chunk: Sequence[IncomingMessage], report: ImportReport) -> None:
    if not chunk:
        return
    done = await ingest(units, chunk, lane=Lane.BULK)
    report.messages += len(chunk)
    report.stored += len(done.ids)
    report.known += done.known
    report.blank += sum(not message.text.strip() for message in chunk)
