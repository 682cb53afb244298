"""`winnow import`: exports and logs of chats read in, and what was read told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from winnow.cli.import_bar import import_bar
from winnow.cli.import_summary import import_json, show_import, show_refused, visible
from winnow.cli.options import AsJson, DataDir
from winnow.cli.running import errors, print_json, run, settings_for
from winnow.cli.using import SOME_FAILED, using
from winnow.errors import InvalidInput, InvalidSettings, QueueUnavailable, WinnowError
from winnow.pipeline.import_files import How, import_files, survey_files
from winnow.pipeline.import_report import ImportReport
from winnow.sources.recognise import UNDERSTOOD

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.settings import Settings
    from winnow.storage.unit_of_work import UnitsOfWork


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("import", rich_help_panel="Use")(import_command)


def import_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help=f"What they are is seen in them: {UNDERSTOOD}."),
    ],
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Channel, where the file names none.")] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="Zone of times without one, for example Europe/Berlin; known ones are put right. [UTC]"
        ),
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option("--date", metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="Day, where the file names none."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, say what it is, store nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Read chats in. Importing a file again stores nothing twice; an interrupted import goes on where it was."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> ImportReport:
        zone, named = _zone(timezone or "UTC"), timezone is not None
        how = How(channel=channel, timezone=zone, zone_named=named, day=day.date() if day else None)
        return await (_survey if dry_run else _import)(settings, files, how)

    report = run(main)
    if as_json:
        show_refused(report)
        print_json(import_json(report))
    else:
        show_import(report, dry_run=dry_run)
    if report.refused:
        raise typer.Exit(InvalidInput.exit_code)
    if report.broken or report.differing:
        raise typer.Exit(SOME_FAILED)


async def _import(settings: Settings, files: list[Path], how: How) -> ImportReport:
    async with using(settings, queue=False, fresh=True) as winnow:
        await _start_queue_or_say(winnow)
        so_far = ImportReport()
        try:
            with import_bar(errors, len(files)) as show:

                def tick(report: ImportReport) -> None:
                    nonlocal so_far
                    so_far = report
                    show(report)

                return await import_files(winnow.units, files, how, tick=tick)
        except (asyncio.CancelledError, WinnowError):
            _say_what_stands(so_far)
            raise


async def _survey(settings: Settings, files: list[Path], how: How) -> ImportReport:
    """Reads without storing. What is known is counted where there are data; a dry run begins none."""
    async with AsyncExitStack() as stack:
        units: UnitsOfWork | None = None
        try:
            units = (await stack.enter_async_context(using(settings, queue=False))).units
        except InvalidSettings:
            pass  # no Winnow has run here: nothing is known
        except WinnowError as error:
            reason = visible(str(error).rstrip("."))
            errors.print(f"what is known already is not counted: {reason}", markup=False, soft_wrap=True)
        with import_bar(errors, len(files)) as tick:
            return await survey_files(units, files, how, tick=tick)


def _say_what_stands(report: ImportReport) -> None:
    """One line for whoever interrupted an import, or found it interrupted."""
    stored = report.stored + report.changed
    rest = f", {report.known + report.resumed:,} were known before" if report.known + report.resumed else ""
    errors.print(
        f"interrupted: {stored:,} messages are stored and stay{rest}; the same command goes on from there",
        markup=False,
        soft_wrap=True,
    )


async def _start_queue_or_say(winnow: Winnow) -> None:
    try:
        await winnow.start_queue()
    except QueueUnavailable as error:
        reason = str(error).rstrip(".")
        errors.print(
            f"{reason}; the messages are stored without it, and their tasks sent by the sweeper or `winnow backfill` "
            "when it is back",
            markup=False,
            soft_wrap=True,
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: `Europe` is a folder
        raise InvalidInput(f"there is no time zone {name!r}; write it like Europe/Berlin or UTC") from error
