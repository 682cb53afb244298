"""`winnow import`: chat logs read in, and what was read told."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from winnow.cli.options import AsJson, DataDir
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import SOME_FAILED, using
from winnow.errors import InvalidInput, QueueUnavailable
from winnow.pipeline.import_files import BROKEN_SHOWN, How, ImportReport, import_files

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("import", rich_help_panel="Use")(import_command)


def import_command(
    files: Annotated[list[Path], typer.Argument(help="Chat logs: IRC in many forms, or JSON Lines (docs/formats.md).")],
    channel: Annotated[str | None, typer.Option(help="Channel, where the file names none.")] = None,
    timezone: Annotated[str, typer.Option(help="Zone of times without one, for example Europe/Berlin.")] = "UTC",
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Day, where the file names none.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Read chat logs in. Importing a file again stores nothing twice; broken lines are named and the rest is read."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> ImportReport:
        how = How(channel=channel, timezone=_zone(timezone), day=day.date() if day else None)
        async with using(settings, queue=False, fresh=True) as winnow:
            await _start_queue_or_say(winnow)
            with errors.status("reading …") as line:

                def tick(so_far: ImportReport) -> None:
                    line.update(f"reading … {so_far.messages:,} messages")

                return await import_files(winnow.units, files, how, tick=tick)

    report = run(main)
    if as_json:
        _show_refused(report)
        print_json(_import_json(report))
    else:
        show_import(report)
    if report.refused:
        raise typer.Exit(InvalidInput.exit_code)
    if report.broken or report.differing:
        raise typer.Exit(SOME_FAILED)


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


def _import_json(report: ImportReport) -> dict[str, object]:
    values: dict[str, object] = {field.name: getattr(report, field.name) for field in fields(report)}
    values["first_broken"] = [
        {"file": str(path), "line": item.line, "reason": item.reason} for path, item in report.first_broken
    ]
    values["refused"] = [{"file": str(path), "reason": reason} for path, reason in report.refused]
    return values


def _show_refused(report: ImportReport) -> None:
    for _, reason in report.refused[:BROKEN_SHOWN]:
        errors.print("[bold red]error:[/] ", end="")
        errors.print(_visible(reason), markup=False, soft_wrap=True)
    if len(report.refused) > BROKEN_SHOWN:
        errors.print(f"… and {len(report.refused) - BROKEN_SHOWN:,} more files that could not be read")


def _visible(text: str) -> str:
    """One line without anything that a terminal obeys or hides: such characters as Python escapes them."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def show_import(report: ImportReport) -> None:
    """What was read, and what was not, with the lines to look at."""
    for path, item in report.first_broken:
        told = f"{path}:{item.line}: {item.reason}: {item.excerpt}"
        errors.print(_visible(told), markup=False, soft_wrap=True)
    if (more := report.broken + report.differing - len(report.first_broken)) > 0:
        errors.print(f"… and {more:,} more lines that could not be read or stored")
    _show_refused(report)
    if report.refused and not report.files:
        return
    files = "1 file" if report.files == 1 else f"{report.files} files"
    console.print(f"{files}: {report.stored:,} messages stored, {report.known:,} known already")
    if report.continued:
        console.print(f"lines joined to the message above them: {report.continued:,}")
    if report.not_messages:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in report.not_messages.most_common())
        console.print(f"not messages: {reasons}", markup=False)
    if report.blank:
        console.print(f"blank messages, stored and never embedded: {report.blank:,}")
    if report.recoded:
        console.print(f"lines that were not UTF-8, read as Windows-1252 or mended: {report.recoded:,}")
    bad = {
        "messages known with another text, which stays": report.differing,
        "lines that could not be read": report.broken,
        "files that could not be read": len(report.refused),
    }
    for what, number in bad.items():
        if number:
            console.print(f"[bold red]{what}: {number:,}[/]")
