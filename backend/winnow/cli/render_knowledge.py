"""How knowledge looks on a terminal: lists, one atom in full, topics, the decision log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from winnow.api.knowledge_answers import asked_by, days_open
from winnow.cli.render import counted, first_words, hanging, plain, show_facts
from winnow.domain.knowledge import LinkType
from winnow.domain.word_diff import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from rich.console import Console

    from winnow.api.knowledge_schemas import PieceOut, VersionOut
    from winnow.storage.reading import AtomCounts, AtomPage, AtomRecord, LinkRecord
    from winnow.storage.reading_in_full import AtomInFull, ConversationRecord
    from winnow.storage.reading_topics import TopicInFull

TITLE_CHARACTERS = 200
SAID_CHARACTERS = 400
LONG_DAYS = 730
DAY = "%Y-%m-%d"
# How a link reads from its other end.
INVERSE = {
    LinkType.SOLVES: "solved by",
    LinkType.ANSWERS: "answered by",
    LinkType.SUPERSEDES: "superseded by",
    LinkType.CONTRADICTS: "contradicted by",
    LinkType.SUPPORTS: "supported by",
    LinkType.REFINES: "refined by",
    LinkType.DEPENDS_ON: "needed by",
    LinkType.CONTINUES: "continued by",
    LinkType.RELATES_TO: "related to",
}


def show_atoms(console: Console, atoms: Sequence[AtomRecord], counts: AtomCounts) -> None:
    """A list of atoms: id, day, type, how sure, what it says."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("atom", justify="right", no_wrap=True)
    table.add_column("said", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("sure", justify="right", no_wrap=True)
    table.add_column("what it says", overflow="fold")
    for atom in atoms:
        table.add_row(str(atom.id), _day(atom.said_at), Text(atom.type, "cyan"), _sure(atom), _title(atom))
    console.print(table)
    types = ", ".join(counted(number, f"{name}s") for name, number in counts.types.items())
    shown = "" if counts.total == len(atoms) else f"{len(atoms):,} of "
    console.print(f"{shown}{counts.total:,} in all: {types}", style="dim", markup=False)


def _title(atom: AtomRecord) -> Text:
    """What it says; struck through when it holds no more, with what took its place."""
    shown = Text(plain(first_words(atom.title, TITLE_CHARACTERS)), "strike dim" if atom.superseded else "")
    for remark in _remarks(atom):
        shown.append(f"  {plain(remark)}", "not strike dim")
    return shown


def _remarks(atom: AtomRecord) -> Iterable[str]:
    if atom.status != "active":
        yield f"[{atom.status}]"
    if atom.superseded:
        by = f" by {atom.superseded_by}" if atom.superseded_by else ""
        yield f"superseded{by}"
    if atom.closed_at:
        yield "closed"
    if atom.merged_into:
        yield f"now in {atom.merged_into}"
    if atom.proposals:
        yield f"{counted(atom.proposals, 'wordings')} to decide on"
    if atom.extractor != "rules":
        yield f"by {atom.extractor}"


def show_open(console: Console, page: AtomPage, now: datetime) -> None:
    """What is open, with its age and who said it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("atom", justify="right", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("by", overflow="fold", max_width=16)
    table.add_column("what it says", overflow="fold")
    for atom in page.items:
        table.add_row(str(atom.id), _age(atom, now), Text(plain(asked_by(atom) or "–")), _title(atom))
    console.print(table)


def _age(atom: AtomRecord, now: datetime) -> str:
    days = days_open(atom, now)
    if days is None:
        return "–"
    return "today" if days == 0 else counted(days, "days") if days < LONG_DAYS else counted(days // 365, "years")


def show_log(console: Console, page: AtomPage) -> None:
    """The decision log: a day, what was decided by whom, and what took its place."""
    for atom in page.items:
        who = asked_by(atom)
        where = next((quote.channel_title or quote.channel for quote in atom.evidence), "")
        line = _title(atom)
        line.append(f"  {plain(', '.join(part for part in (who, where, atom.topic) if part))}", "not strike dim")
        kind = Text("must" if atom.type == "requirement" else "", "cyan")
        before = [Text(f"{atom.id:>6}", "dim"), Text(_day(atom.said_at)), *([kind] if kind.plain else [])]
        console.print(hanging(console, before, line))
        if atom.superseded:
            console.print(hanging(console, [Text(" " * 6), Text(_day(atom.valid_until), "dim")], _successor(atom)))
    if page.next:
        console.print("there is more; --limit shows it", style="dim")


def _successor(atom: AtomRecord) -> Text:
    by = f"{plain(atom.superseded_by_title)} ({atom.superseded_by})" if atom.superseded_by_title else "no more"
    because = f", because {plain(atom.superseded_because)}" if atom.superseded_because else ""
    return Text.assemble(("→ ", "dim"), by, (because, "dim"))


def show_topics(console: Console, topics: Sequence[TopicInFull]) -> None:
    """A list of topics."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("topic", justify="right", no_wrap=True)
    table.add_column("last", no_wrap=True)
    table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("name, and what is known of it", overflow="fold")
    for topic in topics:
        name = Text(plain(topic.name), "bold")
        name.append(f"  {_numbers(topic.atoms)}", "not bold dim")
        table.add_row(str(topic.id), _day(topic.last_said_at), f"{topic.messages:,}", name)
    console.print(table)


def show_topic(console: Console, topic: TopicInFull, page: AtomPage) -> None:
    """One topic with its atoms, in the order they were said."""
    console.print(Text(plain(topic.name), "bold"))
    facts = {
        "topic": f"{topic.id}",
        "about": topic.description,
        "messages": f"{topic.messages:,}",
        "said": f"{_day(topic.first_said_at)} to {_day(topic.last_said_at)}",
        "terms": ", ".join(topic.terms),
        "atoms": _numbers(topic.atoms),
    }
    show_facts(console, {name: said for name, said in facts.items() if said})
    for atom in page.items:
        before = [Text(f"{atom.id:>6}", "dim"), Text(_day(atom.said_at)), Text(f"{atom.type:<11}", "cyan")]
        console.print(hanging(console, before, _title(atom)))
    if page.next:
        console.print(f"there is more: winnow atoms --topic {topic.id} --limit 1000", style="dim")


def _numbers(atoms: Mapping[str, int]) -> str:
    return ", ".join(counted(number, f"{name}s") for name, number in atoms.items()) or "nothing yet"


def show_atom_in_full(console: Console, found: AtomInFull, versions: Sequence[VersionOut]) -> None:
    """One atom with all that is known of it."""
    atom = found.atom
    heading = Text.assemble((atom.type, "bold cyan"), " ", (plain(atom.title), "bold"))
    console.print(heading)
    if atom.content.strip() != atom.title.strip():
        console.print(Text(plain(atom.content)))
    show_facts(console, _facts(found))
    for link in atom.links:
        console.print(hanging(console, [Text(_relation(link), "dim")], _neighbour(link)))
    for claim in atom.claims:
        words = Text.assemble(
            ("said to be in message ", "dim"), str(claim.message_id), (": ", "dim"), plain(claim.quote)
        )
        console.print(words)
    for talk in found.conversations:
        _show_talk(console, talk, atom)
    if versions:
        console.print("\n[bold]Wordings[/]")
        for version in versions:
            _show_version(console, version)


def _facts(found: AtomInFull) -> dict[str, str | Text]:
    atom, run = found.atom, found.run
    made = atom.extractor + (f" (its version {run.version})" if run and run.version else "")
    facts: dict[str, str | Text] = {
        "atom": f"{atom.id}, {atom.status}",
        "sure": f"{atom.confidence:.0%}",
        "made by": made + (f", run {run.id}" if run else ""),
        "topic": f"{atom.topic} ({atom.topic_id})" if atom.topic else "",
        "said": f"{atom.said_at:%Y-%m-%d %H:%M}" if atom.said_at else "",
        "held until": _until(atom),
        "closed": _closed(atom),
        "now in": f"{atom.merged_into_title} ({atom.merged_into})" if atom.merged_into else "",
        "judged": "; ".join(f"{one.verdict} by {one.reviewer}, {one.created_at:{DAY}}" for one in found.reviews),
    }
    return {name: said for name, said in facts.items() if said}


def _until(atom: AtomRecord) -> str | Text:
    if atom.valid_until is None:
        return ""
    return Text(f"{atom.valid_until:%Y-%m-%d %H:%M} ").append_text(_successor(atom))


def _closed(atom: AtomRecord) -> str:
    because = f", because {atom.closed_because}" if atom.closed_because else ""
    return f"{atom.closed_at:{DAY}}{because}" if atom.closed_at else ""


def _relation(link: LinkRecord) -> str:
    kind = LinkType(link.type)
    return kind.value.replace("_", " ") if link.outgoing else INVERSE[kind]


def _neighbour(link: LinkRecord) -> Text:
    shown = Text(plain(link.other_title), "strike dim" if link.other_valid_until else "")
    return shown.append(f"  {link.other_type} {link.other_id}", "not strike dim")


def _show_talk(console: Console, talk: ConversationRecord, atom: AtomRecord) -> None:
    place = plain(talk.channel_title or talk.channel)
    console.print(Text.assemble("\n", ("In ", "bold"), place))
    quotes: dict[int, list[str]] = {}
    for one in atom.evidence:
        quotes.setdefault(one.message_id, []).append(one.quote)
    for said in talk.messages:
        author = Text(plain(said.author) or "somebody", "cyan" if said.quoted else "dim")
        words = Text(plain(first_words(said.text, SAID_CHARACTERS)), "" if said.quoted else "dim")
        for quote in quotes.get(said.id, ()):
            words.highlight_words([plain(first_words(quote, SAID_CHARACTERS))], "bold")
        mark = Text("▌" if said.quoted else " ", "cyan")
        line = Text.assemble(author, " ", words)
        console.print(hanging(console, [mark, Text(f"{said.sent_at:%Y-%m-%d %H:%M}", "dim")], line))


def _show_version(console: Console, version: VersionOut) -> None:
    by = f"{version.state}, by {plain(version.made_by)}, {version.created_at:{DAY}}"
    if version.decided_by:
        by += f"; decided by {plain(version.decided_by)}"
    console.print(hanging(console, [Text(f"{version.version:>3}", "bold")], Text(by, "dim")))
    for changes in (version.title_changes, version.content_changes):
        if changes:
            console.print(Padding(_changed(changes), (0, 0, 0, 4)))


def _changed(pieces: Sequence[PieceOut]) -> Text:
    """Words as they were and are; with signs, for colours may not be there."""
    shown = Text()
    for piece in pieces:
        words = plain(piece.text)
        if piece.change is Change.ADDED:
            shown.append(f"{{+{words}+}}", "green")
        elif piece.change is Change.REMOVED:
            shown.append(f"[-{words}-]", "red strike")
        else:
            shown.append(words)
    return shown


def _day(moment: datetime | None) -> str:
    return f"{moment:{DAY}}" if moment else "–"


def _sure(atom: AtomRecord) -> str:
    return f"{atom.confidence:.0%}"
