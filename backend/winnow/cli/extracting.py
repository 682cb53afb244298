"""`winnow extract`: extract now, instead of waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winnow.api.run_schemas import AcceptedOut
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.pipeline.overview import overview
from winnow.pipeline.period import read_moment
from winnow.pipeline.request_extraction import request_by_hand
from winnow.storage.runs import Wanted

if TYPE_CHECKING:
    from winnow.pipeline.request_extraction import Requested

LAST_ID = 2**53 - 1


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("extract", rich_help_panel="Use")(extract_command)


def extract_command(
    ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="ID…", min=1, max=LAST_ID, help="Only these messages.", show_default=False),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(help="Only this channel, by identity or title; may be given several times.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DAY|MOMENT", help="Said then or later: 2026-01-31, 2026-01-31T09:30:00Z.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY|MOMENT", help="Said before that moment, or up to the end of that day.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was extracted already.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Extract knowledge now from the messages that no run has read yet, instead of waiting for more of them.

    Nothing is extracted from noise, nor from channels that are only searched, whoever asks.
    """
    settings = settings_for(data_dir=data_dir)

    async def main() -> tuple[Requested, bool]:
        wanted = Wanted(
            ids=tuple(ids) if ids else None,
            channels=tuple(channel) if channel else None,
            since=None if since is None else read_moment(since),
            until=None if until is None else read_moment(until, end=True),
        )
        async with using(settings) as winnow:
            done = await request_by_hand(winnow.requesting(), wanted, again=again)
            queue = (await overview(winnow.overviewing())).queue
        return done, bool(queue and queue.workers)

    done, working = run(main)
    if as_json:
        told = AcceptedOut(rows=done.messages, tasks=done.tasks, again=done.again, left_out=done.left_out)
        print_json({"messages": done.messages, **told.model_dump(mode="json", exclude={"rows"})})
        return
    before = f", {done.again:,} of them once more" if done.again else ""
    console.print(f"{counted(done.messages, 'messages')}{before} in {counted(done.tasks, 'tasks')} sent to the workers")
    if done.left_out:
        errors.print(
            f"left out: {done.left_out:,}, which are noise, of a channel that is only searched, in a run's hand, not "
            f"there, or {'not to be read again' if again else 'extracted already (--again reads them once more)'}"
        )
    if done.messages and not working:
        console.print("no worker is running; they wait for the next `winnow up` or `winnow worker`")
