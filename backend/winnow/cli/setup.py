"""`winnow setup`: from what the environment offers to providers in one command; asks before anything remote is used."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from winnow.cli.model import change_over
from winnow.cli.options import AsJson, DataDir
from winnow.cli.providers import as_written, show_checked
from winnow.cli.render import plain
from winnow.cli.running import console, errors, friendly, print_json, run, settings_for
from winnow.cli.using import using
from winnow.errors import InvalidInput, SetupFault, WinnowError
from winnow.pipeline.setup import NOBODY, Look, look, offers, write_down

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from winnow.pipeline.providers import Checked
    from winnow.pipeline.setup import Offer
    from winnow.settings import Settings
    from winnow.storage.providers import StoredProvider

SOME_FAILED = 1
MODELS_SHOWN = 5
SUGGESTED = "mxbai-embed-large"
NOTHING = (
    "there is no Ollama at {url}, and neither OLLAMA_HOST nor OPENAI_API_KEY nor OPENAI_BASE_URL is set; start one or "
    "set one, or add a server yourself: winnow providers add NAME --kind ollama --url URL. The built-in model works "
    "without any."
)


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("setup", rich_help_panel="Models")(setup_command)


def setup_command(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Use all that is found, remote ones too.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find the model servers that the environment offers (OLLAMA_HOST, OPENAI_API_KEY …) and write them down."""
    settings = settings_for(data_dir=data_dir)
    with friendly():
        found = offers(settings)
    looks = run(lambda: _look_around(found))
    with friendly():
        looks = _there(looks)
        if not as_json:
            _show_found(looks)
        chosen = looks if yes else _asked(looks, as_json=as_json)
    written, failed, known = run(lambda: _write(settings, chosen)) if chosen else ([], {}, frozenset[str]())
    _tell(written, failed, as_json=as_json)
    if not as_json:
        _tell_left_alone([each.offer for each in looks if each not in chosen])
    if written and not yes and not as_json:
        _offer_change(settings, written, known)
    if failed:
        raise typer.Exit(SOME_FAILED if written else SetupFault.exit_code)


def _tell_left_alone(offers: Sequence[Offer]) -> None:
    for offer in offers:
        asked = "" if offer.is_local else "; nothing was sent there"
        console.print(f"left alone: {offer.kind.value} at {offer.url}{asked}", markup=False, soft_wrap=True)


def _offer_change(
    settings: Settings, written: Sequence[tuple[StoredProvider, Checked]], known: AbstractSet[str]
) -> None:
    """Begins to embed with the first that can, if the person who is there wants that; what it takes is shown first.

    Whoever has vectors of one of them already has chosen (`known`).
    """
    able = [_model_of(row) for row, checked in written if checked.passed and row.embedding_model]
    if not able or not known.isdisjoint(able):
        return
    name = able[0]
    try:
        change_over(settings, name)
    except typer.Abort:
        console.print(f"nothing is changed; later: winnow model use {name}", markup=False, soft_wrap=True)


def _model_of(row: StoredProvider) -> str:
    return f"{row.name}:{row.embedding_model}"


async def _look_around(found: Sequence[Offer]) -> list[Look]:
    """Asks those on this machine; remote ones are left alone."""
    return [await look(offer, with_key=False) if offer.is_local else Look(offer=offer) for offer in found]


def _there(looks: Sequence[Look]) -> list[Look]:
    """Those that may be used; an Ollama that nobody named is there only if it answers."""
    there = [each for each in looks if each.trouble is None or each.offer.said_by != NOBODY]
    if not there:
        raise SetupFault(NOTHING.format(url=looks[0].offer.url))
    return there


def _asked(looks: Sequence[Look], *, as_json: bool) -> list[Look]:
    """Those a person says yes to; without a terminal the command ends here."""
    if not sys.stdin.isatty():
        if as_json:
            print_json({"found": [_found(each) for each in looks], "written": [], "failed": {}})
        raise InvalidInput("nothing is written down without a yes: winnow setup --yes")
    return [each for each in looks if each.trouble is None and typer.confirm(_question(each.offer), err=True)]


def _question(offer: Offer) -> str:
    key = " and its key stored, encrypted" if offer.api_key else ""
    if offer.is_local:
        return f"Write down {offer.kind.value} at {offer.url}{', its key encrypted' if key else ''}?"
    return f"{offer.url} is not this machine. May texts be sent there{key}?"


async def _write(
    settings: Settings, chosen: Sequence[Look]
) -> tuple[list[tuple[StoredProvider, Checked]], dict[str, str], frozenset[str]]:
    """Providers with what their check said; why others were not written down; and models whose vectors are stored."""
    written, failed, known = [], {}, frozenset[str]()
    looks = await asyncio.gather(*(look(each.offer, with_key=True) for each in chosen))
    for each in looks:
        if each.trouble:
            failed[each.offer.kind.value] = each.trouble
    good = [each for each in looks if each.trouble is None]
    if good:
        async with using(settings, queue=False, fresh=True) as winnow:
            tools = winnow.registry()
            for each in good:
                try:
                    written.append(await write_down(tools, each))
                except WinnowError as error:
                    failed[each.offer.kind.value] = str(error)
            known = frozenset(space.name for space in (await winnow.spaces.all()).values())
    return written, failed, known


def _found(each: Look) -> dict[str, object]:
    offer = each.offer
    models = None if each.models is None else [model.name for model in each.models]
    return {
        "kind": offer.kind.value,
        "url": offer.url,
        "named_by": offer.said_by,
        "local": offer.is_local,
        "has_key": offer.api_key is not None,
        "models": models,
        "trouble": each.trouble,
    }


def _show_found(looks: Sequence[Look]) -> None:
    for each in looks:
        offer = each.offer
        key = ", with a key" if offer.api_key else ""
        head = f"[bold]{offer.kind.value}[/] at {escape(offer.url)} ({offer.said_by}{key}): "
        console.print(head + escape(plain(_state(each))), soft_wrap=True)


def _state(each: Look) -> str:
    if each.trouble:
        return each.trouble
    if each.models is None:
        return "it is there" if each.offer.is_local else "not asked yet, for it is not this machine"
    names = [model.name for model in each.models]
    more = f" and {len(names) - MODELS_SHOWN} more" if len(names) > MODELS_SHOWN else ""
    return f"has {', '.join(names[:MODELS_SHOWN])}{more}" if names else "has no models yet"


def _tell(written: Sequence[tuple[StoredProvider, Checked]], failed: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({
            "written": [as_written(row) | {"check_passed": checked.passed, "check_said": checked.said}
                        for row, checked in written],
            "failed": failed,
        })  # fmt: skip
        return
    for name, why in failed.items():
        errors.print(f"[bold red]not written down:[/] {name}: {escape(plain(why))}", soft_wrap=True)
    for row, checked in written:
        show_checked(row.name, checked)
        if not row.embedding_model:
            pull = f"{row.kind.traits.pull.format(model=SUGGESTED)}, then " if row.kind.traits.pull else ""
            then = f"it has no model for embeddings that is known: {pull}winnow providers edit {row.name} --model MODEL"
            console.print(then, markup=False, soft_wrap=True)
        elif checked.passed:
            console.print(f"embed with it: winnow model use {_model_of(row)}", markup=False, soft_wrap=True)
        if row.chat_model:
            chosen = f"WINNOW_EXTRACTOR={row.name}:{row.chat_model}"
            console.print(f"extract with it: {chosen}, for those who start Winnow", markup=False, soft_wrap=True)
