"""The sample of `make run`: real meeting chats in, knowledge out, shown while it happens."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import winnow as package
from winnow.cli.import_summary import show_import
from winnow.cli.render import show_answer, show_atom, show_facts
from winnow.domain.knowledge import AtomType
from winnow.errors import InvalidInput, WinnowError
from winnow.pipeline.import_files import How, import_files
from winnow.pipeline.overview import overview
from winnow.pipeline.request_extraction import request_by_hand
from winnow.pipeline.search import search
from winnow.settings import default_data_dir
from winnow.storage.atom_filter import AtomFilter
from winnow.storage.reading import list_atoms
from winnow.storage.runs import Wanted

if TYPE_CHECKING:
    from rich.console import Console

    from winnow.bootstrap import Winnow
    from winnow.pipeline.overview import Overview

FOLDER = Path(package.__file__).parents[2] / "examples" / "json-ld-minutes"
SEARCHES = (
    "are keywords case sensitive?",
    "who describes the test suite",
    "data round tripping of numbers",
)
SHOWN_TYPES = (
    *(AtomType.DECISION, AtomType.ACTION, AtomType.QUESTION, AtomType.PROBLEM),
    *(AtomType.ANSWER, AtomType.IDEA),
)
LOOK_SECONDS = 0.25
PLAIN_LINE_SECONDS = 2.0
# What nobody has taken when nothing is on its way is too little for a run of its own.
LEFT_OVER_SECONDS = 1.0
STALL_SECONDS = 60.0
EVERYTHING = 1_000_000


async def run_sample(winnow: Winnow, console: Console, url: str | None) -> None:
    """Imports the example chats (nothing twice), waits until they are extracted and embedded, and shows the result.

    Args:
        winnow: what imports, waits and searches.
        console: where it is shown.
        url: the API's; None when it ends with the sample.

    Raises:
        InvalidInput: the examples are not beside the program.
        WinnowError: nothing moved for a minute.
    """
    paths = sorted(FOLDER.glob("*.log"))
    if not paths:
        raise InvalidInput(f"the example chats are not in {FOLDER}; run this from a checkout of the project")
    before = await overview(winnow.overviewing())
    started = time.monotonic()
    console.print(f"\n[bold]Reading[/] {len(paths)} meeting chats of the JSON-LD group (examples/json-ld-minutes)")
    report = await import_files(winnow.units, paths, How(timezone=UTC), tick=lambda _: None)
    if report.refused:
        raise InvalidInput(report.refused[0][1])
    show_import(report)
    after = await _follow(winnow, console)
    _show_summary(console, before, after, stored=report.stored, seconds=time.monotonic() - started)
    await _show_atoms(winnow, console)
    for query in SEARCHES:
        console.print(f"\n[bold]search:[/] {query}")
        show_answer(console, await search(winnow.searching(), query, limit=3))
    _show_next(console, url, data_dir=_data_dir_option(winnow))


async def _extract_the_rest(winnow: Winnow) -> None:
    """The sweeper takes channels from ten unclaimed messages on, or quiet ones; a newcomer should not wait for that."""
    await request_by_hand(winnow.requesting(), Wanted(), again=False, limit=EVERYTHING)


async def _follow(winnow: Winnow, console: Console) -> Overview:
    """Shows extraction and embedding until nothing is on its way; raises when nothing has moved for a minute."""
    bars = Progress(
        TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(), console=console, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        extracting = bars.add_task("extracting", unit="messages", total=None)
        embedding = bars.add_task("embedding", unit="rows", total=None)
        seen, moved_at, printed_at, idle_since = None, time.monotonic(), 0.0, None
        while True:
            state = await overview(winnow.overviewing())
            progress = _progress(state)
            _show_progress(bars, (extracting, embedding), progress)
            if not console.is_terminal and time.monotonic() - printed_at > PLAIN_LINE_SECONDS:
                printed_at = time.monotonic()
                console.print("extracted {} of {} messages, embedded {} of {} rows".format(*progress))
            if state.idle and not state.knowledge.messages_waiting:
                return state
            idle_since = (idle_since or time.monotonic()) if state.idle else None
            if idle_since and time.monotonic() - idle_since > LEFT_OVER_SECONDS:
                await _extract_the_rest(winnow)
                idle_since = None
            if progress != seen:
                seen, moved_at = progress, time.monotonic()
            elif time.monotonic() - moved_at > STALL_SECONDS:
                raise WinnowError(_stalled(progress, state, winnow))
            await asyncio.sleep(LOOK_SECONDS)


def _stalled(progress: tuple[int, int, int, int], state: Overview, winnow: Winnow) -> str:
    standing = "{} of {} messages are extracted, {} of {} rows embedded".format(*progress)
    reason = f" (last error: {state.last_error})" if state.last_error else ""
    return (
        f"nothing has moved for {STALL_SECONDS:.0f} s: {standing}{reason}; the logs of worker and sweeper in "
        f"{winnow.settings.data_dir / 'logs'} say why"
    )


def _progress(state: Overview) -> tuple[int, int, int, int]:
    """Messages extracted, of how many; rows embedded, of how many that can be."""
    messages = next(iter(state.embeddings.values())).total
    left = state.knowledge.messages_waiting + state.knowledge.messages_in_hand
    embedded = sum(count.embedded for count in state.embeddings.values())
    rows = sum(count.total - count.skipped - count.failed for count in state.embeddings.values())
    return messages - left, messages, embedded, rows


def _show_progress(bars: Progress, tasks: tuple[TaskID, TaskID], progress: tuple[int, int, int, int]) -> None:
    extracted, messages, embedded, rows = progress
    bars.update(tasks[0], completed=extracted, total=messages)
    bars.update(tasks[1], completed=embedded, total=rows)


def _show_summary(console: Console, before: Overview, after: Overview, *, stored: int, seconds: float) -> None:
    atoms = ", ".join(
        f"{number:,} {name}{'s' if number != 1 else ''}" for name, number in after.knowledge.atoms.items()
    )
    counts = {kind.value: count for kind, count in after.embeddings.items()}
    vectors = ", ".join(f"{count.embedded:,} {kind}" for kind, count in counts.items())
    skipped = sum(count.skipped for count in counts.values())
    sent = after.queue.sent - before.queue.sent if after.queue and before.queue else 0
    dead = after.queue.dead_letters if after.queue else 0
    found = sum(after.knowledge.atoms.values())
    less_sure = counts["atoms"].total - found
    waiting = f"; {less_sure:,} more, less sure, no search finds until somebody accepts them (winnow review)"
    rows = {
        "messages": f"{counts['messages'].total:,} ({stored:,} new)",
        "knowledge": f"{found:,} atoms: {atoms}" + (waiting if less_sure else ""),
        "topics": f"{counts['topics'].total:,}",
        "vectors": f"{vectors}; {after.dimensions} dimensions by {after.space}, HNSW index, in PostgreSQL"
        + (f"; {skipped:,} blank texts skipped" if skipped else ""),
        "over NATS": f"{sent:,} tasks sent, {dead:,} dead letters",
        "time": f"{seconds:.1f} s, {stored / seconds:,.0f} messages/s" if stored else "nothing was new",
    }
    console.print("\n[bold]What came of it[/]")
    show_facts(console, rows, indent=2)


async def _show_atoms(winnow: Winnow, console: Console) -> None:
    console.print("\n[bold]Some of the knowledge[/] (found by rules, without a language model)")
    shown: Counter[str] = Counter()
    for kind in SHOWN_TYPES:
        page = await list_atoms(winnow.database, AtomFilter(types=(kind,)), limit=50)
        for atom in sorted(page.items, key=lambda atom: (-atom.confidence, atom.id))[: 2 if kind == "decision" else 1]:
            show_atom(console, atom)
            shown[kind] += 1


def _data_dir_option(winnow: Winnow) -> str:
    """What a command needs to find these servers from another terminal."""
    folder = winnow.settings.data_dir
    return f" --data-dir {shlex.quote(str(folder))}" if winnow.servers.instance and folder != default_data_dir() else ""


def _program(name: str) -> str:
    """How this environment's program is called from here."""
    path = Path(sys.executable).parent / name
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _show_next(console: Console, url: str | None, *, data_dir: str) -> None:
    console.print("\n[bold]Go on[/]")
    winnow, python = (_program(name) for name in ("winnow", "python"))
    first = (
        [f"{url}                        the page: search in a browser", f"{url}/openapi.json           the API"]
        if url
        else [f"{winnow} up{data_dir}   starts it again, with the page and the API"]
    )
    for line in (
        *first,
        f"{winnow} search{data_dir} data round tripping of numbers",
        f"{winnow} status{data_dir}",
        f"{winnow} import{data_dir} your-chat.log --channel team",
        f'{winnow} psql{data_dir} -c "SELECT type, title FROM atoms ORDER BY id DESC LIMIT 10"',  # noqa: S608 - shown, not run
        f"{python} scripts/backfill_embeddings.py{data_dir} --dry-run",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
