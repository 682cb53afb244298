"""What `winnow import` tells at its end: what was read, what came of it, what was skipped and why."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from winnow.cli.running import console, errors
from winnow.pipeline.import_report import BROKEN_SHOWN, MOST_AUTHORS, ImportReport

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from winnow.sources.base import Skipped

CHANNELS_SHOWN = 15
CHANNELS_IN_JSON = 1000
REASONS_SHOWN = 10
NOTES_SHOWN = 20


def import_json(report: ImportReport) -> dict[str, object]:
    """The report for programs; of the channels the thousand largest."""
    values: dict[str, object] = {field.name: getattr(report, field.name) for field in fields(report)}
    survey = report.survey
    values |= {
        "bytes": round(report.bytes),
        "first_broken": [
            {"file": str(path), item.unit: item.line, "reason": item.reason} for path, item in report.first_broken
        ],
        "refused": [{"file": str(path), "reason": reason} for path, reason in report.refused],
        "notes": [{"file": str(path), "note": note} for path, note in report.notes],
        "survey": {
            "channels": len(survey.channels),
            "messages_by_channel": dict(survey.channels.most_common(CHANNELS_IN_JSON)),
            "authors": survey.authors,
            "first": survey.first and survey.first.isoformat(),
            "last": survey.last and survey.last.isoformat(),
        },
    }
    return values


def show_refused(report: ImportReport) -> None:
    """Names the files that cannot be read."""
    for _, reason in report.refused[:BROKEN_SHOWN]:
        errors.print("[bold red]error:[/] ", end="")
        errors.print(visible(reason), markup=False, soft_wrap=True)
    if len(report.refused) > BROKEN_SHOWN:
        errors.print(f"… and {len(report.refused) - BROKEN_SHOWN:,} more files that could not be read")


def visible(text: str) -> str:
    """One line without anything that a terminal obeys or hides: such characters as Python escapes them."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def show_import(report: ImportReport, *, dry_run: bool = False) -> None:
    """What was read, and what was not, with the lines to look at."""
    for path, item in report.first_broken:
        errors.print(visible(_told(path, item)), markup=False, soft_wrap=True)
    if (more := report.broken + report.differing - len(report.first_broken)) > 0:
        errors.print(f"… and {more:,} more that could not be read or stored")
    notes = _grouped(report.notes)
    for note in notes[:NOTES_SHOWN]:
        errors.print(visible(note), markup=False, soft_wrap=True)
    if len(notes) > NOTES_SHOWN:
        errors.print(f"… and {len(notes) - NOTES_SHOWN:,} more notes of this kind; --json has them all")
    show_refused(report)
    if report.refused and not report.files:
        return
    files = "1 file" if report.files == 1 else f"{report.files} files"
    if dry_run:
        known = f", {report.known:,} of them known already" if report.known else ""
        console.print(f"{files}: {report.messages:,} messages{known}; nothing is stored, for this is a dry run")
        _show_survey(report)
    else:
        console.print(f"{files}: {report.stored:,} messages stored, {report.known:,} known already")
        _show_fates(report)
    _show_the_rest(report)


def _grouped(notes: Sequence[tuple[Path, str]]) -> list[str]:
    """The same words about several files are said once."""
    files: dict[str, list[Path]] = {}
    for path, note in notes:
        files.setdefault(note, []).append(path)
    return [
        f"{paths[0]}: {note}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1:,} more: {note}"
        for note, paths in files.items()
    ]


def _told(path: Path, item: Skipped) -> str:
    place = f"{path}:{item.line}" if item.unit == "line" else f"{path}: message {item.line}"
    return f"{place}: {item.reason}: {item.excerpt}" if item.excerpt else f"{place}: {item.reason}"


def _show_survey(report: ImportReport) -> None:
    survey = report.survey
    if survey.first and survey.last:
        authors = "1 person" if survey.authors == 1 else f"{survey.authors:,} people"
        least = "at least " if survey.authors >= MOST_AUTHORS else ""
        console.print(f"from {_minute(survey.first)} to {_minute(survey.last)}, by {least}{authors}")
    shown = survey.channels.most_common(CHANNELS_SHOWN)
    width = max((len(f"{number:,}") for _, number in shown), default=0)
    for name, number in shown:
        console.print(f"  {number:>{width},}  {visible(name)}", markup=False, overflow="ellipsis", no_wrap=True)
    if (more := len(survey.channels) - len(shown)) > 0:
        rest = survey.channels.total() - sum(number for _, number in shown)
        console.print(f"  {rest:>{width},}  in {more:,} more channels")


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def _show_fates(report: ImportReport) -> None:
    fates = {
        "stored before the import was interrupted": report.resumed,
        "changed, for they had been edited": report.changed,
        "whose times were put right, for they were read in another zone before": report.retimed,
        "left out, for their channel is switched off or keeps nothing so old": report.off,
        "left out, for they were forgotten on purpose": report.forgotten,
    }
    for what, number in fates.items():
        if number:
            console.print(f"messages {what}: {number:,}")


def _reasons(counted: Counter[str]) -> str:
    """The commonest reasons, and how much has others; JSON has them all."""
    shown = counted.most_common(REASONS_SHOWN)
    told = ", ".join(f"{number:,} {reason}" for reason, number in shown)
    rest = counted.total() - sum(number for _, number in shown)
    kinds = len(counted) - len(shown)
    return f"{told}, {rest:,} of {kinds:,} more kinds (--json names them)" if rest else told


def _units(report: ImportReport) -> str:
    units = {item.unit for _, item in report.first_broken}
    return "lines" if units <= {"line"} else "messages" if units == {"message"} else "lines and messages"


def _show_the_rest(report: ImportReport) -> None:
    if report.continued:
        console.print(f"lines joined to the message above them: {report.continued:,}")
    if report.not_messages:
        console.print(f"not messages: {_reasons(report.not_messages)}", markup=False)
    if report.blank:
        console.print(f"blank messages, stored and never embedded: {report.blank:,}")
    if report.recoded:
        console.print(f"lines that were not UTF-8, read as Windows-1252 or mended: {report.recoded:,}")
    bad = {
        "messages known with another text, which stays": report.differing,
        f"{_units(report)} that could not be read": report.broken,
        "files that could not be read": len(report.refused),
    }
    for what, number in bad.items():
        if number:
            console.print(f"[bold red]{what}: {number:,}[/]")
