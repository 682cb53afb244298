"""Commands that read what is known: atoms, topics, decisions, and what is open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.api.knowledge_answers import atom_in_full_out, open_page_out, page_out, topic_out
from winnow.cli import knowledge_options as asked
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import plain
from winnow.cli.render_knowledge import show_atom_in_full, show_atoms, show_log, show_open, show_topic, show_topics
from winnow.cli.running import console, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.knowledge import AtomType
from winnow.errors import TopicNotFound
from winnow.storage.atom_filter import AtomFilter, Order
from winnow.storage.reading import AtomCounts, AtomPage, count_atoms, list_atoms, places_of
from winnow.storage.reading_in_full import atom_in_full
from winnow.storage.reading_topics import list_topics, topic_called, topics_in_full

if TYPE_CHECKING:
    from collections.abc import Callable

    from winnow.bootstrap import Winnow
    from winnow.storage.reading_in_full import AtomInFull
    from winnow.storage.reading_topics import TopicInFull

DECIDED = (AtomType.DECISION, AtomType.REQUIREMENT)
PROBLEMS = (AtomType.PROBLEM, AtomType.BLOCKER)
LAST = 2**53
TOPIC_ATOMS = 50
Around = Annotated[int, typer.Option("--around", min=0, max=20, help="Messages shown before and after each quote.")]
Sorted = Annotated[Order, typer.Option("--order", help="Said last, said first, or the surest first.")]


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.command("atoms", rich_help_panel="Knowledge")(atoms_command)
    app.command("atom", rich_help_panel="Knowledge")(atom_command)
    app.command("topics", rich_help_panel="Knowledge")(topics_command)
    app.command("decisions", rich_help_panel="Knowledge")(decisions_command)
    app.command("questions", rich_help_panel="Knowledge")(questions_command)
    app.command("problems", rich_help_panel="Knowledge")(problems_command)
    app.command("actions", rich_help_panel="Knowledge")(actions_command)


def atoms_command(
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
    extractor: asked.Extractor = None,
    text: asked.Words = None,
    waiting: asked.Waiting = False,
    order: Sorted = Order.NEWEST,
    limit: asked.Limit = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List pieces of knowledge, those said last first. `winnow atom ID` shows one in full."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> tuple[AtomPage, AtomCounts]:
        first, end, held = asked.period(since=since, until=until, as_of=as_of)
        wanted = AtomFilter(
            types=tuple(types or ()),
            statuses=asked.statuses_of(status),
            since=first,
            until=end,
            as_of=held,
            confidence=confidence,
            extractor=extractor,
            text=text,
            waiting=waiting,
        )
        async with using(settings, queue=False) as winnow:
            whole = await asked.filter_of(
                winnow.database, wanted, topic=topic, channel=channel, source=source, author=author
            )
            page = await list_atoms(winnow.database, whole, order=order, limit=limit)
            return page, await count_atoms(winnow.database, whole)

    page, counts = run(main)
    if as_json:
        print_json(page_out(page).model_dump(mode="json") | {"total": counts.total})
        return
    if page.items:
        show_atoms(console, page.items, counts)
    else:
        where = asked.described(channel=channel, topic=topic, author=author, source=source, since=since, until=until)
        console.print(f"no atoms{plain(where)} fit", markup=False)
        _say_what_may_help(waiting=waiting, anything=not where and not types and not text)


def _say_what_may_help(*, waiting: bool, anything: bool) -> None:
    if waiting:
        console.print("nothing waits for a person")
    elif anything:
        console.print("knowledge is extracted from messages: winnow import FILE, then winnow status")
    else:
        console.print("--status all shows those below the cut, too; winnow channels list names the channels")


def atom_command(
    atom_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LAST, help="As the lists show it.")],
    around: Around = 3,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one piece of knowledge in full: words, the talk around them, neighbours, wordings, who made it."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> AtomInFull:
        async with using(settings, queue=False) as winnow:
            return await atom_in_full(winnow.database, atom_id, around=around)

    found = run(main)
    if as_json:
        print_json(atom_in_full_out(found).model_dump(mode="json"))
    else:
        show_atom_in_full(console, found, atom_in_full_out(found).versions)


def topics_command(
    name: Annotated[list[str] | None, typer.Argument(metavar="[ID|NAME]", help="Show this one with its atoms.")] = None,
    text: asked.Words = None,
    channel: asked.Channel = None,
    limit: asked.Limit = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List topics, newest first; or show one with what is known of it."""
    settings = settings_for(data_dir=data_dir)

    async def one(winnow: Winnow, called: str) -> tuple[TopicInFull, AtomPage]:
        topic_id = await topic_called(winnow.database, called)
        wanted = AtomFilter(topic_id=topic_id)
        page = await list_atoms(winnow.database, wanted, order=Order.OLDEST, limit=TOPIC_ATOMS)
        found = await topics_in_full(winnow.database, [topic_id])
        if topic_id not in found:
            raise TopicNotFound(f"there is no topic {called}")
        return found[topic_id], page

    async def main() -> tuple[list[TopicInFull], AtomPage | None]:
        async with using(settings, queue=False) as winnow:
            if name:
                found, page = await one(winnow, " ".join(name))
                return [found], page
            places = None if channel is None else await places_of(winnow.database, channel)
            return await list_topics(winnow.database, text=text, places=places, before=LAST, limit=limit), None

    found, page = run(main)
    if as_json:
        shown = [topic_out(topic).model_dump(mode="json") for topic in found]
        print_json(shown if page is None else shown[0] | {"items": page_out(page).model_dump(mode="json")["items"]})
    elif page is not None:
        show_topic(console, found[0], page)
    elif found:
        show_topics(console, found)
        if len(found) == limit:
            console.print(f"these are the newest {limit:,}; --limit shows more")
    else:
        console.print(f"no topics{plain(asked.described(channel=channel, text=text))}", markup=False)


def decisions_command(
    topic: asked.Topic = None,
    channel: asked.Channel = None,
    source: asked.Source = None,
    author: asked.Author = None,
    since: asked.Since = None,
    until: asked.Until = None,
    as_of: asked.AsOf = None,
    order: Sorted = Order.NEWEST,
    limit: asked.Limit = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The decision log: decisions and requirements in the order of time, and what took the place of which."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> AtomPage:
        first, end, held = asked.period(since=since, until=until, as_of=as_of)
        wanted = AtomFilter(types=DECIDED, since=first, until=end, as_of=held)
        async with using(settings, queue=False) as winnow:
            whole = await asked.filter_of(
                winnow.database, wanted, topic=topic, channel=channel, source=source, author=author
            )
            return await list_atoms(winnow.database, whole, order=order, limit=limit)

    page = run(main)
    if as_json:
        print_json(page_out(page).model_dump(mode="json"))
    elif page.items:
        show_log(console, page)
    else:
        where = asked.described(channel=channel, topic=topic, author=author, source=source, since=since, until=until)
        held = f" held on {as_of}" if as_of else ""
        console.print(f"no decisions{plain(where + held)}", markup=False)


def _open_list(name: str, types: tuple[AtomType, ...], *, hint: str) -> Callable[..., None]:
    """A command that lists what is open."""

    def command(
        topic: asked.Topic = None,
        channel: asked.Channel = None,
        source: asked.Source = None,
        author: asked.Author = None,
        since: asked.Since = None,
        until: asked.Until = None,
        order: Sorted = Order.NEWEST,
        limit: asked.Limit = 20,
        data_dir: DataDir = None,
        as_json: AsJson = False,
    ) -> None:
        settings = settings_for(data_dir=data_dir)

        async def main() -> tuple[AtomPage, AtomCounts]:
            first, end, _ = asked.period(since=since, until=until)
            wanted = AtomFilter(types=types, since=first, until=end, open=True)
            async with using(settings, queue=False) as winnow:
                whole = await asked.filter_of(
                    winnow.database, wanted, topic=topic, channel=channel, source=source, author=author
                )
                page = await list_atoms(winnow.database, whole, order=order, limit=limit)
                return page, await count_atoms(winnow.database, whole)

        page, counts = run(main)
        if as_json:
            print_json(open_page_out(page, counts).model_dump(mode="json"))
            return
        where = asked.described(channel=channel, topic=topic, author=author, source=source, since=since, until=until)
        if not page.items:
            console.print(f"no {name}{plain(where)}", markup=False)
            console.print(hint)
            return
        show_open(console, page, datetime.now(UTC))
        if counts.total > len(page.items):
            console.print(f"{len(page.items):,} of {counts.total:,}; --limit shows more", style="dim")

    return command


questions_command = _open_list(
    "open questions", (AtomType.QUESTION,), hint="answered ones: winnow atoms --type question"
)
questions_command.__doc__ = "Open questions: nobody has answered or closed them. With age, and who asked."
problems_command = _open_list("unsolved problems", PROBLEMS, hint="solved ones: winnow atoms --type problem")
problems_command.__doc__ = "Problems and blockers that nothing solves yet. With age, and who said so."
actions_command = _open_list("open actions", (AtomType.ACTION,), hint="all of them: winnow atoms --type action")
actions_command.__doc__ = "Actions that nobody has closed. With age, and who took them on or asked for them."
