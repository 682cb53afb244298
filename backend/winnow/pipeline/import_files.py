"""Reading files in: `winnow import`, and the sample of `make run`."""

from __future__ import annotations

import asyncio
import stat
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from winnow.domain.jobs import Lane
from winnow.domain.messages import IncomingMessage, still_to_come
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.edit import put_times_right
from winnow.pipeline.import_report import ImportReport, broken
from winnow.pipeline.ingest import ingest
from winnow.sources.fingerprint import fingerprint
from winnow.sources.recognise import open_source
from winnow.storage.imports import ImportProgress, count_known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, tzinfo
    from pathlib import Path

    from winnow.pipeline.import_report import Numbered
    from winnow.sources.base import Reading
    from winnow.storage.unit_of_work import UnitsOfWork

log = structlog.get_logger(__name__)

# So many new rows make the planner's idea of the table useless, and PostgreSQL itself looks only once a minute.
MANY = 1000
CHUNK = 500
CHUNK_CHARACTERS = 2_000_000
STEP = 2_000  # items between two looks at the rest of the program: a signal is answered in the midst of junk, too
# Raised when a reader gives other items of the same file than before: nobody then goes on in the middle of one.
READERS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the person said about the files. `zone_named`: the zone is not only what is taken if nobody names one."""

    channel: str | None = None
    timezone: tzinfo
    zone_named: bool = False
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file: its messages, and how many items of the file are read at its end; the last one is marked."""

    messages: list[Numbered]
    items: int
    last: bool


async def import_files(
    units: UnitsOfWork, paths: Sequence[Path], how: How, *, tick: Callable[[ImportReport], None]
) -> ImportReport:
    """Stores every message of the files, in chunks of one transaction each; what is known already changes nothing.

    A file that cannot be read keeps no other one from being stored. An import that was interrupted, however that came,
    goes on where it was when the same file is imported again; one that came to the end is read whole.
    """
    report = ImportReport(size=sum(map(_size_of, paths)))
    planned_for = 0
    for path in paths:
        with _opened(path, how, report, tick) as this:
            if this is not None:
                await this.store(units)
        if report.stored >= 2 * planned_for + MANY:
            await units.refresh_statistics()
            planned_for = report.stored
        await asyncio.sleep(0)
    return report


async def survey_files(
    units: UnitsOfWork | None, paths: Sequence[Path], how: How, *, tick: Callable[[ImportReport], None]
) -> ImportReport:
    """Reads all of the files and stores nothing; counts what is known already, where there is a database to ask."""
    report = ImportReport(size=sum(map(_size_of, paths)))
    for path in paths:
        with _opened(path, how, report, tick) as this:
            if this is not None:
                await this.survey(units)
        await asyncio.sleep(0)
    return report


@contextmanager
def _opened(
    path: Path, how: How, report: ImportReport, tick: Callable[[ImportReport], None]
) -> Iterator[FileImport | None]:
    """A file on its way in, counted at the end; None where it cannot be opened, which is noted."""
    begun_at, size = report.bytes, _size_of(path)
    try:
        reading = open_source(path, channel=how.channel, timezone=how.timezone, date=how.day)
        name = fingerprint(path, READERS, how)
    except InvalidInput as error:
        report.refused.append((path, str(error)))
        yield None
    else:
        with closing(reading):
            zone = how.timezone if how.zone_named else None
            yield FileImport(path, reading, report, tick, size=size, name=name, zone=zone)
        report.files += 1
        report.continued += reading.tally.continued
        report.recoded += reading.tally.recoded
        report.notes += [(path, note) for note in reading.tally.notes]
    report.bytes = begun_at + size
    tick(report)


class FileImport:
    """One file on its way in; what becomes of it is noted in the report, and told with each part.

    Args:
        path: of the file.
        reading: what is in it.
        report: of all files.
        tick: is told after each part.
        size: of the file on the disk, in bytes.
        name: its fingerprint.
        zone: of its local times, if the person has named it: times that are stored otherwise are put right.
    """

    def __init__(
        self,
        path: Path,
        reading: Reading,
        report: ImportReport,
        tick: Callable[[ImportReport], None],
        *,
        size: int,
        name: bytes,
        zone: tzinfo | None = None,
    ) -> None:
        self._path = path
        self._reading = reading
        self._report = report
        self._tick = tick
        self._size = size
        self._name = name
        self._zone = zone
        self._begun_at = report.bytes

    async def store(self, units: UnitsOfWork) -> None:
        """Stores what is in it, and remembers after each part that so much of it is stored, until all is."""
        progress = ImportProgress(units, self._name)
        resumed = await progress.items()
        saved = resumed > 0
        for part in self.parts():
            if part.items <= resumed:
                self._report.meet(part.messages)
                self._report.resumed += len(part.messages)
            else:
                await self._store(units, part.messages)
                if not part.last:
                    await progress.save(part.items)
                    saved = True
            await self._breathe()
        if saved:
            await progress.end()

    async def survey(self, units: UnitsOfWork | None) -> None:
        """Reads all of it, and counts what of it is known."""
        for part in self.parts():
            self._report.meet(part.messages)
            if units is not None:
                self._report.known += await count_known(units, [message for _, message in part.messages])
            await self._breathe()

    def parts(self) -> Iterator[Part]:
        """The messages in parts of a bounded size, empty ones where long stretches hold none; the rest is noted."""
        now = datetime.now(UTC)
        tally = self._reading.tally
        part: list[Numbered] = []
        items = begun_at = characters = 0
        try:
            for item in self._reading:
                items += 1
                if not isinstance(item, IncomingMessage):
                    self._report.skip(self._path, item)
                elif ahead := still_to_come(now, sent_at=item.sent_at, edited_at=item.edited_at):
                    self._report.skip(self._path, broken(tally.message_line, item, ahead, self._reading.unit))
                else:
                    part.append((tally.message_line, item))
                    characters += len(item.text)
                if len(part) >= CHUNK or characters >= CHUNK_CHARACTERS or items - begun_at >= STEP:
                    yield Part(part, items, last=False)
                    part, characters, begun_at = [], 0, items
        except InvalidInput as error:
            self._report.refused.append((self._path, str(error)))
        yield Part(part, items, last=True)

    async def _store(self, units: UnitsOfWork, part: Sequence[Numbered]) -> None:
        if not part:
            return
        try:
            done = await ingest(units, [message for _, message in part], lane=Lane.BULK)
        except WinnowError:
            raise
        except Exception as error:  # the database refuses a message that we should have: it keeps no other one out
            if len(part) > 1:
                for one in part:
                    await self._store(units, [one])
                return
            log.exception("import.refused_by_database")
            reason = f"the database cannot hold it ({type(error).__name__})"
            self._report.skip(self._path, broken(*part[0], reason, self._reading.unit))
            return
        if self._zone is not None:
            messages = [message for _, message in part]
            self._report.retimed += await put_times_right(units, messages, done.messages, zone=self._zone)
        self._report.meet(part)
        self._report.add(self._path, part, done, self._reading.unit)

    async def _breathe(self) -> None:
        """Says how far it is, and gives the rest of the program its turn."""
        tally = self._reading.tally
        share = min(1.0, tally.bytes / tally.size) if tally.size else 0.0
        self._report.bytes = self._begun_at + share * self._size
        self._tick(self._report)
        await asyncio.sleep(0)


def _size_of(path: Path) -> int:
    """Of a file on the disk, in bytes; what cannot be asked, or is no file, takes no time to read."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return 0
    return state.st_size if stat.S_ISREG(state.st_mode) else 0
