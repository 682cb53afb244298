"""Reviewing on a terminal: one atom after the other with its quotes, one key for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from winnow.cli.render import counted, first_words, plain, show_facts
from winnow.errors import InvalidInput
from winnow.pipeline.review import Wording, accept, edit, merge, reject
from winnow.storage.reviews import shown_to_judge, waiting_atoms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from winnow.pipeline.review import Reviewing
    from winnow.storage.reviews import JudgedAtom, Words

QUOTES_SHOWN = 5
CONTEXT_CHARACTERS = 400
KEYS = "[a]ccept  [r]eject  [e]dit  [m]erge  [s]kip  [q]uit"
ENDING = {"q", ""}


def _key() -> str:
    try:
        return typer.getchar()
    except EOFError:
        return ""


def _ask(question: str, default: str | None) -> str:
    return str(typer.prompt(question, default=default))


@dataclass(frozen=True, slots=True)
class Asking:
    """Who is asked: `key` gives one key, `words` the answer to a question with a default."""

    console: Console
    key: Callable[[], str] = field(default=_key)
    words: Callable[[str, str | None], str] = field(default=_ask)


async def review_one_by_one(tools: Reviewing, asking: Asking, *, types: Sequence[str]) -> int:
    """Shows what waits, the surest first, until nothing does or the person ends it; how many were judged.

    What cannot be done is said, and asked again.
    """
    console, skipped, judged = asking.console, list[int](), 0
    while waiting := await waiting_atoms(tools.database, types=types, limit=1, but=skipped):
        shown = await shown_to_judge(tools.database, waiting[0])
        if shown is None:  # it was forgotten in this moment
            continue
        _show(console, *shown)
        key = asking.key().lower()
        if key in ENDING:
            break
        try:
            done = await _act(tools, asking, shown[0], key)
        except InvalidInput as refused:
            console.print(Text(str(refused), "yellow"))
            continue
        judged += done
        if not done:
            skipped.append(waiting[0])
    else:
        console.print(
            "nothing waits" if not skipped else f"nothing else waits; {counted(len(skipped), 'atoms')} skipped"
        )
    if judged:
        console.print(f"{counted(judged, 'atoms')} reviewed")
    return judged


async def _act(tools: Reviewing, asking: Asking, atom: JudgedAtom, key: str) -> bool:
    """Whether the atom was judged; else it is skipped."""
    match key:
        case "a":
            await accept(tools, [atom.id])
        case "r":
            await reject(tools, [atom.id])
        case "e":
            title, content = asking.words("title", atom.title), asking.words("content", atom.content)
            if (title, content) == (atom.title, atom.content):
                await accept(tools, [atom.id])
            else:
                await edit(tools, atom.id, Wording(title=title, content=content))
        case "m":
            into = asking.words("merge into which atom (its id)", None).strip()
            if not into.isdecimal():
                raise InvalidInput(f"{into!r} is no id of an atom")
            await merge(tools, atom.id, int(into))
        case "s":
            return False
        case _:
            raise InvalidInput(f"press one of these: {KEYS}")
    return True


def _show(console: Console, atom: JudgedAtom, words: Sequence[Words]) -> None:
    console.print()
    console.print(Text(f"{atom.type} {atom.id}  ", "bold cyan").append(plain(atom.title), "bold"))
    if atom.content != atom.title:
        console.print(Text(plain(atom.content)))
    facts = {"found by": f"{atom.extractor}, {atom.status}, confidence {atom.confidence:.2f}"}
    if atom.topic:
        facts["topic"] = atom.topic
    show_facts(console, facts)
    for said in words[:QUOTES_SHOWN]:
        who = f"{plain(said.author) or 'somebody'} in {plain(said.channel)}, {said.sent_at:%Y-%m-%d %H:%M}"
        console.print(Text(f"  {who}", "dim"))
        shown = said.quote if said.proven else said.text
        console.print(Text(f"  “{plain(first_words(shown, CONTEXT_CHARACTERS))}”"))
        if not said.proven:
            console.print(Text(f"  said to hold: “{plain(first_words(said.quote, CONTEXT_CHARACTERS))}”", "yellow"))
    console.print(Text(KEYS, "dim"))
