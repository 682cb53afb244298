"""`winnow forget`: messages go, with all that rests on them, and a receipt says what went."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.api.messages import receipt_out
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, plain, show_facts
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.errors import ChannelNotFound, InvalidInput
from winnow.pipeline.channels import channel_called
from winnow.pipeline.forget import by_author, by_channel, by_ids, forget, weigh_forgetting

if TYPE_CHECKING:
    from winnow.pipeline.forget import Receipt
    from winnow.settings import Settings
    from winnow.storage.forgetting import Author, Removed, Selection

LAST_ID = 2**53 - 1


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("forget", rich_help_panel="Maintain")(forget_command)


def forget_command(
    message: Annotated[
        list[int] | None,
        typer.Option(
            "--message", metavar="ID", min=1, max=LAST_ID, help="A message by its id; may be given several times."
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="All that somebody said: the name as shown, or the source's id of the author."
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="CHANNEL|TITLE",
            help="All of a channel, by id or title (with --source); with --author, what was said there.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Where the channel is from, as `winnow channels list` says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove messages for good, with quotes, knowledge, vectors and all that is noted of them.

    No import brings them back. Interrupt it when you like, and run it again. What may still hold the words:
    docs/privacy.md.
    """
    settings = settings_for(data_dir=data_dir)
    if channel and source:
        where = (source, channel)
        channel = run(lambda: _channel(settings, *where))
    chosen = _chosen(message, author=author, channel=channel, source=source)
    if dry_run or not yes:
        expected = run(lambda: _weigh(settings, chosen))
        if dry_run:
            _tell(expected, as_json=as_json)
            return
        if not expected.removed.messages:
            _tell(expected, as_json=as_json)
            return
        if not sys.stdin.isatty():
            run(_nobody_to_ask)
        _tell(expected, as_json=False)
        if not typer.confirm("Remove these for good?", err=True):
            raise typer.Exit(1)
    _tell(run(lambda: _forget(settings, chosen, quiet=as_json)), as_json=as_json)


async def _channel(settings: Settings, source: str, name: str) -> str:
    async with using(settings, queue=False) as winnow:
        found = await channel_called(winnow.database, source, name)
    if found is None:
        raise ChannelNotFound(f"{source} has no channel {name}; see: winnow channels list")
    return found


async def _nobody_to_ask() -> None:
    raise InvalidInput("nobody is there to be asked; look with --dry-run, and add --yes if this is what you want")


def _chosen(message: list[int] | None, *, author: str | None, channel: str | None, source: str | None) -> Selection:
    async def choose() -> Selection:
        if message and not (author or channel or source):
            return by_ids(message)
        if author and not message:
            return by_author(author, channel=channel, source=source)
        if channel and source and not message:
            return by_channel(source, channel)
        raise InvalidInput(
            "say what to forget: --message ID, or --author NAME (also with --channel), or --source and --channel"
        )

    return run(choose)


def _who(one: Author) -> str:
    name = plain(one.author) or "nobody named"
    known = f"{name} ({plain(one.author_id)})" if one.author_id else name
    return f"{known}: {one.messages:,}"


async def _weigh(settings: Settings, chosen: Selection) -> Receipt:
    async with using(settings, queue=False) as winnow:
        return await weigh_forgetting(winnow.database, chosen)


async def _forget(settings: Settings, chosen: Selection, *, quiet: bool) -> Receipt:
    def tell(removed: Removed) -> None:
        if not quiet and sys.stderr.isatty():
            errors.print(f"{counted(removed.messages, 'messages')} removed", end="\r")

    async with using(settings, queue=False) as winnow:
        return await forget(winnow.units, winnow.database, chosen, tell=tell)


def _tell(receipt: Receipt, *, as_json: bool) -> None:
    if as_json:
        print_json(receipt_out(receipt).model_dump(mode="json"))
        return
    removed = receipt.removed
    would = "would be removed" if receipt.dry_run else "removed"
    if not removed.messages:
        console.print("there is no such message")
        return
    console.print(f"{counted(removed.messages, 'messages')} {would}, and with them")
    facts = {
        "evidence": counted(removed.evidence, "quotes"),
        "atoms": f"{removed.atoms:,} that rested on nothing else, with {counted(removed.links, 'links')}",
        "topics": f"{removed.topics:,} that nothing is filed under any more",
        "vectors": f"{removed.vectors:,}",
        "ledgers": counted(removed.ledger_rows, "rows"),
    }
    if receipt.authors:
        facts["said by"] = ", ".join(_who(one) for one in receipt.authors)
    if removed.run_errors:
        facts["run errors"] = f"{removed.run_errors:,} overwritten"
    if removed.atoms_kept:
        facts["kept"] = f"{counted(removed.atoms_kept, 'atoms')}, resting on other messages too"
    show_facts(console, facts)
    if not receipt.dry_run:
        console.print("the disk keeps the bytes until PostgreSQL has vacuumed: docs/privacy.md")
