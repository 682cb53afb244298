"""`winnow runs …`: what extraction does and did, and what a person decides about it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from winnow.api.run_schemas import CancelledOut, RetriedRunsOut, run_in_full_out, run_out
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, fits, json_text, plain, show_facts, span
from winnow.cli.running import console, print_json, run, settings_for
from winnow.cli.usage import money
from winnow.cli.using import using
from winnow.errors import InvalidInput, SetupFault, Transient
from winnow.pipeline.runs import cancel, retry, run_of
from winnow.storage.runs import list_runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from winnow.pipeline.runs import Cancelled, RetriedRuns
    from winnow.storage.engine import Database
    from winnow.storage.runs import RunInFull, RunRecord

LAST_ID = 2**53 - 1
MOST_LISTED = 10_000
WATCHED = 20
WATCH_SECONDS = 2.0
ERROR_CHARACTERS = 60
MINUTE_SECONDS = 60.0
STYLES = {"running": "cyan", "failed": "red", "cancelled": "yellow", "abandoned": "yellow"}

app = typer.Typer(
    help="Runs of extraction: which there are and what they found and cost; end them, ask for them again.",
    invoke_without_command=True,
)
RunId = Annotated[int, typer.Argument(metavar="ID", min=1, max=LAST_ID, help="Which run.", show_default=False)]
MaybeRunId = Annotated[
    int | None, typer.Argument(metavar="ID", min=1, max=LAST_ID, help="Which run.", show_default=False)
]


class State(StrEnum):
    """Of a run."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


OfState = Annotated[State | None, typer.Option("--state", help="Only runs in this state.", show_default=False)]
OfChannel = Annotated[str | None, typer.Option("--channel", help="Only this channel, by identity or title.")]


@app.callback()
def list_command(
    context: typer.Context,
    state: OfState = None,
    channel: OfChannel = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="Most runs.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Runs of extraction, the latest first; show, watch, cancel and retry are about them."""
    if context.invoked_subcommand is not None:
        return
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[RunRecord]:
        async with using(settings, queue=False) as winnow:
            return await _look(winnow.database, state, channel, limit)

    found = run(main)
    if as_json:
        print_json([run_out(one).model_dump(mode="json") for one in found])
    elif found:
        for part in _parts(found):
            console.print(part)
        if len(found) == limit:
            console.print(f"these are the latest {limit:,}; --limit shows more")
    else:
        console.print("no such runs; extraction begins by itself, or at once with: winnow extract")


async def _look(database: Database, state: State | None, channel: str | None, limit: int) -> list[RunRecord]:
    return await list_runs(database, state=state and state.value, channel=channel, limit=limit)


@app.command("show")
def show_command(run_id: RunId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one run with what it found; of one that failed also what the model said."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> RunInFull:
        async with using(settings, queue=False) as winnow:
            return await run_of(winnow.database, run_id)

    found = run(main)
    if as_json:
        print_json(run_in_full_out(found).model_dump(mode="json"))
        return
    show_facts(console, dict(_facts(found)))
    for atom in found.found:
        line = Text.assemble((f"{atom.type:<12}", "bold cyan"), plain(atom.title))
        line.append(f"  atom {atom.id}, {atom.status}, {atom.confidence:.2f}", "dim")
        console.print(line)
    if found.answer:
        console.print("what the model said:", style="dim")
        console.print(Text(plain(found.answer)))


def _facts(found: RunInFull) -> Iterator[tuple[str, str]]:
    yield "run", f"{found.id}, {found.state}, asked by {found.asked}"
    yield "channel", f"{_channel(found)} ({found.source})"
    yield "extractor", f"{found.extractor} {found.extractor_version}".strip()
    yield "messages", f"{found.messages:,}: {_ids(found.message_ids)}"
    if found.state == State.DONE:
        proof = f", of them {found.unproven:,} without proof" if found.unproven else ""
        yield "found", f"{counted(found.atoms, 'atoms')}{proof}, {counted(found.links, 'links')}"
    if found.requests:
        tokens = f"{found.input_tokens:,} tokens in, {found.output_tokens:,} out"
        yield "model", f"{counted(found.requests, 'requests')}, {tokens}, {_price(found) or 'price unknown'}"
    yield "began", f"{found.started_at:%Y-%m-%d %H:%M:%S} UTC, {_seconds(found)}"
    if found.error:
        yield "note" if found.state == State.DONE else "error", found.error


def _ids(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:12]))
    return f"{shown}, …" if len(ids) > len(ids[:12]) else shown


@app.command("watch")
def watch_command(
    seconds: Annotated[
        float, typer.Argument(metavar="SECONDS", min=0.2, max=86_400, help="How often to look.")
    ] = WATCH_SECONDS,
    state: OfState = None,
    channel: OfChannel = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the latest runs until Ctrl-C; not on a terminal: a line for each run that begins or ends."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        async with using(settings, queue=False) as winnow:
            with _shown(seconds, as_json=as_json) as screen:
                while not console.quiet:
                    try:
                        screen.show(await _look(winnow.database, state, channel, WATCHED))
                    except (Transient, SetupFault) as error:
                        screen.say(str(error))
                    await asyncio.sleep(seconds)

    run(main)


class _Lines:
    """A line for each run when it begins, and when it ends; what had ended before the first look is left out."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._seen: dict[int, str] | None = None

    def show(self, found: Sequence[RunRecord]) -> None:
        if self._seen is None:
            self._seen = {one.id: one.state for one in found if one.state != State.RUNNING}
        for one in reversed(found):
            if self._seen.get(one.id) != one.state:
                self._line(one)
        self._seen |= {one.id: one.state for one in found}

    def say(self, sentence: str) -> None:
        told = json_text(console, {"error": sentence}) if self._as_json else plain(sentence)
        console.print(told, markup=False, soft_wrap=True)

    def _line(self, one: RunRecord) -> None:
        if self._as_json:
            told = json_text(console, run_out(one).model_dump(mode="json"))
        else:
            told = f"{datetime.now(UTC):%H:%M:%S}  " + ", ".join(cell.plain for cell in _cells(one) if cell.plain)
        console.print(told, markup=False, soft_wrap=True)


class _Screen:
    """A table, drawn in place."""

    def __init__(self, live: Live, every_seconds: float) -> None:
        self._live = live
        self._every_seconds = every_seconds

    def show(self, found: Sequence[RunRecord]) -> None:
        self._draw(*(_parts(found) if found else [Text("no such runs yet")]))

    def say(self, sentence: str) -> None:
        self._draw(Text(plain(sentence), "red"))

    def _draw(self, *parts: RenderableType) -> None:
        head = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, every {self._every_seconds:g} s; Ctrl-C ends"
        self._live.update(Group(Text(head, "dim"), *parts), refresh=True)


@contextlib.contextmanager
def _shown(every_seconds: float, *, as_json: bool) -> Iterator[_Lines | _Screen]:
    if not as_json and console.file.isatty() and not console.is_dumb_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield _Screen(live, every_seconds)
    else:
        yield _Lines(as_json=as_json)


@app.command("cancel")
def cancel_command(
    run_id: MaybeRunId = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are running.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a running run: nothing of it is stored, and its messages wait, aside, until somebody asks for them."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> Cancelled:
        _require_one(run_id, everything, "--all")
        async with using(settings, queue=False) as winnow:
            return await cancel(winnow.requesting(), run_id)

    done = run(main)
    if as_json:
        print_json(CancelledOut(runs=list(done.runs), messages=done.messages).model_dump(mode="json"))
    else:
        console.print(f"{counted(len(done.runs), 'runs')} cancelled; {counted(done.messages, 'messages')} wait aside")


@app.command("retry")
def retry_command(
    run_id: MaybeRunId = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Extract again from those messages of a run that still wait, however often runs failed with them."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> RetriedRuns:
        _require_one(run_id, failed, "--failed")
        async with using(settings) as winnow:
            return await retry(winnow.requesting(), run_id)

    done = run(main)
    if as_json:
        print_json(RetriedRunsOut(messages=done.messages, tasks=done.tasks).model_dump(mode="json"))
    else:
        console.print(f"{counted(done.messages, 'messages')} in {counted(done.tasks, 'tasks')} sent to the workers")


def _require_one(run_id: int | None, everything: bool, option: str) -> None:
    if (run_id is None) != everything:
        raise InvalidInput(f"say which run by its ID, as `winnow runs` shows it; or {option}")


def _parts(found: Sequence[RunRecord]) -> list[RenderableType]:
    """A table; or, where it would have to be broken, a line for each run."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("run", "state", "channel", "extractor", "messages", "atoms", "tokens", "price", "time", "error"):
        number = name in {"run", "messages", "atoms", "tokens", "price", "time"}
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    rows = [_cells(one) for one in found]
    for row in rows:
        table.add_row(*row)
    if fits(console, table):
        return [table]
    return [Text(" ").join(cell for cell in row if cell.plain) for row in rows]


def _cells(one: RunRecord) -> list[Text]:
    tokens = one.input_tokens + one.output_tokens
    error = plain(one.error or "").replace("\n", " ")
    return [
        Text(str(one.id)),
        Text(one.state, STYLES.get(one.state, "green")),
        Text(_channel(one)),
        Text(plain(one.extractor)),
        Text(f"{one.messages:,}"),
        Text(f"{one.atoms:,}"),
        Text(f"{tokens:,}" if tokens else ""),
        Text(_price(one)),
        Text(_seconds(one)),
        Text(error if len(error) <= ERROR_CHARACTERS else f"{error[:ERROR_CHARACTERS]}…", "dim"),
    ]


def _channel(one: RunRecord) -> str:
    return plain(one.channel_title or one.channel)


def _price(one: RunRecord) -> str:
    return "" if one.cost_usd is None else money(one.cost_usd)


def _seconds(one: RunRecord) -> str:
    return f"{one.seconds:.1f} s" if one.seconds < MINUTE_SECONDS else span(one.seconds)
