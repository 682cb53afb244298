"""`winnow export`: all that is known, as a file."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TextColumn

from winnow.cli import knowledge_options as asked
from winnow.cli.options import DataDir
from winnow.cli.render import counted
from winnow.cli.running import errors, run, settings_for
from winnow.cli.using import using
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.export import Export, Format, export
from winnow.pipeline.export_markdown import Sections
from winnow.storage.atom_filter import AtomFilter
from winnow.storage.reading import count_atoms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.bootstrap import Winnow

STDOUT = "-"


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("export", rich_help_panel="Knowledge")(export_command)


def export_command(
    form: Annotated[Format, typer.Option("--format", help="For programs, or for people.")] = Format.JSONL,
    out: Annotated[str, typer.Option("--out", metavar="FILE|-", help="Where to; - is stdout.")] = STDOUT,
    by: Annotated[Sections, typer.Option("--by", help="What Markdown is ordered by.")] = Sections.TYPE,
    types: asked.Types = None,
    status: asked.Statuses = None,
    topic: asked.Topic = None,
    channel: asked.Channel = None,
    source: asked.Source = None,
    author: asked.Author = None,
    since: asked.Since = None,
    until: asked.Until = None,
    as_of: asked.AsOf = None,
    confidence: asked.Sure = None,
    data_dir: DataDir = None,
) -> None:
    """Write all that is known to a file, which is there whole or not at all: JSON Lines, or Markdown."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        first, end, held = asked.period(since=since, until=until, as_of=as_of)
        wanted = AtomFilter(
            types=tuple(types or ()),
            statuses=asked.statuses_of(status),
            since=first,
            until=end,
            as_of=held,
            confidence=confidence,
        )
        with written(out) as file:
            async with using(settings, queue=False) as winnow:
                chosen = await asked.filter_of(
                    winnow.database, wanted, topic=topic, channel=channel, source=source, author=author
                )
                done = Export(format=form, by=by, chosen=chosen)
                await _write(winnow, done, file)
        errors.print(counted(done.atoms, "atoms") + ("" if out == STDOUT else f" in {out}"), markup=False)

    run(main)


async def _write(winnow: Winnow, wanted: Export, file: BinaryIO) -> None:
    bar = Progress(
        TextColumn("exporting"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,} of {task.total:,} atoms"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
        expand=True,
    )
    total = (await count_atoms(winnow.database, wanted.chosen)).total if errors.is_terminal else 0
    with bar:
        task = bar.add_task("", total=total)
        async for piece in export(winnow.database, wanted):
            _put(file, piece)
            bar.update(task, completed=wanted.atoms)


def _put(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except BrokenPipeError:  # whoever read it has gone, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except OSError as error:
        raise WinnowError(f"it cannot be written: {error.strerror}") from error


@contextmanager
def written(out: str) -> Iterator[BinaryIO]:
    """A file beside the one that is meant, which takes its place once the block has ended well, and goes otherwise.

    Stdout, a pipe and a device are written to as they are.

    Raises:
        InvalidInput: there is no such folder, or nothing may be written there.
    """
    if out == STDOUT:
        yield sys.stdout.buffer
        return
    path = Path(out).resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        as_it_is = path.exists() and not stat.S_ISREG(path.stat().st_mode)
        file = path.open("wb") if as_it_is else beside.open("xb")
    except OSError as error:
        raise InvalidInput(f"{out} cannot be written: {error.strerror}") from error
    try:
        with file:
            yield file
            if not as_it_is:
                os.fsync(file.fileno())
        if not as_it_is:
            beside.replace(path)
    finally:
        if not as_it_is:
            beside.unlink(missing_ok=True)
