"""`winnow channels …`: which there are, and what is done with each."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from winnow.api.message_schemas import ChangedChannelOut, ChannelOut
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, plain
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.messages import ChannelMode
from winnow.errors import InvalidInput
from winnow.pipeline.channels import reset_channel, set_channel, too_old
from winnow.storage.channels import Choice, list_channels

if TYPE_CHECKING:
    from winnow.pipeline.channels import Chosen
    from winnow.settings import Settings
    from winnow.storage.channels import ChannelRecord

FOR_EVER = "for-ever"
MOST_LISTED = 10_000

app = typer.Typer(help="Channels: which there are, and what is done with their messages.", no_args_is_help=True)


class Mode(StrEnum):
    """As `ChannelMode`, on the command line."""

    ON = "on"
    SEARCH = "search"
    OFF = "off"


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="Most channels.")] = 100,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show channels, the one with the latest message first."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[ChannelRecord]:
        async with using(settings, queue=False) as winnow:
            return await list_channels(winnow.database, limit=limit)

    found = run(main)
    if as_json:
        print_json([ChannelOut(**asdict(one)).model_dump(mode="json") for one in found])
    elif found:
        _show(found)
        if len(found) == limit:
            console.print(f"these are the latest {limit:,}; --limit shows more")
    else:
        console.print("no channels yet; bring messages in with: winnow import FILE --channel NAME")


def _show(found: list[ChannelRecord]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("source", overflow="fold")
    table.add_column("channel", overflow="fold")
    for name in ("messages", "unread"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last", no_wrap=True)
    table.add_column("what is done", overflow="fold")
    for one in found:
        name = f"{plain(one.title)} ({plain(one.channel)})" if one.title else plain(one.channel)
        last = f"{one.last_at:%Y-%m-%d}" if one.last_at else "–"
        table.add_row(Text(plain(one.source)), Text(name), f"{one.messages:,}", f"{one.queued:,}", last, _words(one))
    console.print(table)


def _words(one: ChannelRecord) -> Text:
    said = {
        ChannelMode.ON: "everything",
        ChannelMode.SEARCH: "stored and found, not extracted",
        ChannelMode.OFF: "switched off: nothing new is stored",
    }[one.mode]
    if one.local_only:
        said += "; local-only"
    if one.keep_days:
        said += f"; kept {counted(one.keep_days, 'days')}"
    return Text(said)


@app.command("set")
def set_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where it is from: telegram, slack, irc, …")],
    channel: Annotated[str, typer.Argument(metavar="CHANNEL|TITLE", help="Its identity or its title.")],
    mode: Annotated[
        Mode | None,
        typer.Option(help="on: everything; search: stored and found, not extracted; off: nothing new is stored."),
    ] = None,
    local_only: Annotated[
        bool | None,
        typer.Option("--local-only/--no-local-only", help="Its text is never sent to a model that is elsewhere."),
    ] = None,
    keep: Annotated[str | None, typer.Option(metavar="DAYS|for-ever", help="How long its messages are kept.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before messages go that are older.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Choose what is done with a channel's messages. --keep removes what is older already, within a minute."""
    settings = settings_for(data_dir=data_dir)
    if keep is not None and not yes:
        _ask(run(lambda: _too_old(settings, source, channel, keep)))

    async def main() -> Chosen:
        choice = Choice(
            mode=ChannelMode(mode.value) if mode else None,
            local_only=local_only,
            keep=keep is not None,
            keep_days=_days(keep),
        )
        if choice == Choice():
            raise InvalidInput("say what to change: --mode, --local-only, --no-local-only or --keep")
        async with using(settings, queue=False) as winnow:
            return await set_channel(winnow.channelling(), source, channel, choice)

    done = run(main)
    if as_json:
        print_json(ChangedChannelOut(**asdict(done.channel), in_hand=done.in_hand).model_dump(mode="json"))
        return
    _show([done.channel])
    if done.in_hand:
        errors.print(f"{counted(done.in_hand, 'texts')} were in a worker's hand in this moment, and may have been sent")
    if not done.channel.messages:
        errors.print("nothing is stored of this channel yet; is it the right one? see: winnow channels list")


@app.command("reset")
def reset_command(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where it is from: telegram, slack, irc, …")],
    channel: Annotated[str, typer.Argument(metavar="CHANNEL|TITLE", help="Its identity or its title.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take back what was chosen for a channel: everything is done with its messages, and they are kept for ever."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> Chosen:
        async with using(settings, queue=False) as winnow:
            return await reset_channel(winnow.channelling(), source, channel)

    done = run(main)
    if as_json:
        print_json(ChangedChannelOut(**asdict(done.channel), in_hand=done.in_hand).model_dump(mode="json"))
    else:
        _show([done.channel])


async def _too_old(settings: Settings, source: str, channel: str, keep: str) -> int:
    days = _days(keep)
    if days is None:
        return 0
    async with using(settings, queue=False) as winnow:
        return await too_old(winnow.database, source, channel, days=days)


def _ask(going: int) -> None:
    if not going:
        return
    if not sys.stdin.isatty():
        run(lambda: _nobody_to_ask(going))
    if not typer.confirm(f"{counted(going, 'messages')} are older, and will be removed for good. Go on?", err=True):
        raise typer.Exit(1)


async def _nobody_to_ask(going: int) -> None:
    raise InvalidInput(
        f"{counted(going, 'messages')} of it are older and would be removed for good, and nobody is there to be asked; "
        "add --yes if this is what you want"
    )


def _days(keep: str | None) -> int | None:
    if keep is None or keep == FOR_EVER:
        return None
    if not keep.isascii() or not keep.isdigit() or len(keep) > len("36500"):
        raise InvalidInput(f"--keep takes a number of days, or {FOR_EVER}; not {keep}")
    return int(keep)
