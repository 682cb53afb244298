"""`winnow model …`: which model embeds, and the change to another."""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from winnow.api.model_schemas import model_out
from winnow.api.usage_schemas import estimate_out
from winnow.cli.backfilling import show_estimate, watched_backfill
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import plain
from winnow.cli.running import INTERRUPTED, console, errors, friendly, print_json, run, settings_for
from winnow.cli.usage import money
from winnow.cli.using import using
from winnow.domain.spaces import Role
from winnow.errors import AnswerInvalid, InvalidInput, ModelNotFound, SetupFault
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.choices import choose, list_models
from winnow.pipeline.estimate import estimate
from winnow.pipeline.remodel import (
    begin_change,
    cancel_change,
    change_back,
    finish_building,
    forget_earlier,
    refuse_impossible,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from decimal import Decimal

    from winnow.bootstrap import Winnow
    from winnow.domain.spaces import Space
    from winnow.pipeline.choices import Choice, ListedModel
    from winnow.providers.base import Embedder, PullProgress
    from winnow.settings import Settings
    from winnow.storage.engine import Database

app = typer.Typer(help="The model that embeds: which there are, the change to another, and back.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NOT_FINISHED = 1
QUIET_SECONDS = 1.0
ROLES = {Role.ACTIVE: "in use", Role.BUILDING: "being filled", Role.PREVIOUS: "before"}


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the models that could embed: the built-in one, and those of the providers that are written down."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[ListedModel]:
        async with using(settings, queue=False) as winnow:
            return await list_models(winnow.choosing(), await winnow.spaces.all())

    models = run(main)
    if as_json:
        print_json([model_out(model).model_dump(mode="json") for model in models])
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("model", "dimensions", "context", "$/M tokens", ""):
        table.add_column(column, justify="left" if column in {"model", ""} else "right", overflow="fold")
    for model in models:
        table.add_row(
            Text(plain(model.name)),
            _figure(model.dimensions),
            _figure(model.context),
            _price(model.price_usd_per_million_tokens),
            Text(ROLES[model.role], "bold") if model.role in ROLES else Text(plain(model.trouble or ""), "yellow"),
        )
    console.print(table)


def _price(price: Decimal | None) -> str:
    return "–" if price is None else f"{price:g}"


def _figure(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


@app.command("use")
def use_command(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="local, or PROVIDER:MODEL, as in ollama:bge-m3.")],
    yes: Yes = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Embed everything again with another model, and search with it when that is done. Run it again to go on."""
    change_over(settings_for(data_dir=data_dir), name, yes=yes, as_json=as_json)


def change_over(settings: Settings, name: str, *, yes: bool = False, as_json: bool = False) -> None:
    """What `winnow model use` does, questions and all.

    Raises:
        typer.Exit: it is not finished, or refused.
        typer.Abort: a person has said no.
    """
    agreed: set[str] = set()
    begun: list[str] = []

    async def main() -> int | str:
        async with using(settings, queue=False, fresh=True) as winnow:
            await winnow.start_queue_if_there()
            choice = await choose(winnow.choosing(), name)
            embedder = winnow.embedder_of(choice.provider, choice.model)
            try:
                refuse_impossible(await winnow.spaces.all(), embedder.identity)
                if question := await _missing(winnow, choice, agreed, yes=yes):
                    return question
                return await _use(winnow, choice, embedder, agreed, begun, yes=yes, as_json=as_json)
            finally:
                await embedder.close()

    with _told_when_interrupted(begun):
        while isinstance(ended := run(main), str):
            _consent(ended, yes=yes)
            agreed.add(ended)
    if ended:
        raise typer.Exit(ended)


@contextmanager
def _told_when_interrupted(begun: Sequence[str]) -> Iterator[None]:
    """A line of what stands after Ctrl-C, and how to go on; `begun` are the names of the models changed over to."""
    try:
        yield
    except typer.Exit as end:
        if end.exit_code == INTERRUPTED:
            stands = "interrupted before anything was changed"
            for name in begun:
                stands = (
                    f"interrupted; what {name} has embedded is kept, and searches stay with the model of before until "
                    f"it has everything. To go on: winnow model use {name}; to give it up: winnow model cancel"
                )
            errors.print(stands, markup=False, soft_wrap=True)
        raise


async def _use(
    winnow: Winnow,
    choice: Choice,
    embedder: Embedder,
    agreed: AbstractSet[str],
    begun: list[str],
    *,
    yes: bool,
    as_json: bool,
) -> int | str:
    """The exit code; or a question, to be asked outside of the event loop, for inside Ctrl-C would not end it."""
    stored = await winnow.spaces.all()
    active = stored.get(Role.ACTIVE)
    question = f"change over to {choice.name}?"
    if (active is None or active.identity != embedder.identity) and question not in agreed:
        await _tell_estimate(winnow, choice, embedder, active, yes=yes, as_json=as_json)
        if not yes:
            return question
    _warn_of_setting(winnow, str(embedder.identity))
    space = await begin_change(winnow.database, embedder, provider_id=choice.provider.id)
    if space.role == Role.BUILDING:
        begun.append(choice.name)
    role = await _fill(winnow, space, quiet=as_json) if space.role == Role.BUILDING else space.role
    if role != Role.ACTIVE:
        _tell({"model": choice.name, "space": space.id, "finished": False}, _unfinished(choice, role), as_json=as_json)
        return NOT_FINISHED
    sentence = f"{choice.name} embeds and searches now"
    if space.role == Role.BUILDING:
        sentence += "; the vectors of before are kept: winnow model back, or winnow model forget for the room they take"
    _tell({"model": choice.name, "space": space.id, "finished": True}, sentence, as_json=as_json)
    return 0


async def _tell_estimate(
    winnow: Winnow, choice: Choice, embedder: Embedder, active: Space | None, *, yes: bool, as_json: bool
) -> None:
    expected = await estimate(winnow.database, winnow.asked(choice, embedder), role=Role.BUILDING)
    if not as_json:
        console.print(f"{choice.name} is to embed {expected.rows:,} rows", markup=False)
        show_estimate(expected)
        if active is not None:
            console.print(f"until that is done, searches go on with {active.name}", markup=False)
    elif yes:
        return
    elif sys.stdin.isatty():  # stdout is for what comes of it
        price = "" if expected.price_usd is None else f", {money(expected.price_usd)}"
        figures = f"{choice.name} is to embed {expected.rows:,} rows, ≈ {expected.tokens:,} tokens{price}"
        errors.print(figures, markup=False, soft_wrap=True)
    else:
        print_json({"model": choice.name, "estimate": estimate_out(expected).model_dump(mode="json")})


def _unfinished(choice: Choice, role: Role) -> str:
    if role != Role.BUILDING:
        return f"the change to {choice.name} was ended by somebody else; `winnow model list` shows what is used"
    return (
        f"some rows have no vector of {choice.name} yet; workers and sweeper go on where they run, `winnow status` "
        "shows how far they are, and the same command goes on as well"
    )


async def _fill(winnow: Winnow, space: Space, *, quiet: bool) -> Role:
    """Embeds everything into the space and puts it in, unless rows wait for a server; what it is for then."""
    while (role := await _role_of(winnow, space)) == Role.BUILDING:
        done = await watched_backfill(winnow, Plan(space=space), quiet=quiet)
        if done.waiting:
            return await _role_of(winnow, space)
        if not await _finish(winnow, space) and not done.success:
            return await _role_of(winnow, space)
    return role


async def _finish(winnow: Winnow, space: Space) -> bool:
    """Puts it in, or waits for whoever builds its indexes and does so; False: there are rows left to embed."""
    told = asyncio.get_running_loop().call_later(
        QUIET_SECONDS, lambda: errors.print("the indexes are built, and tables waited for; see: winnow doctor")
    )
    try:
        while not await finish_building(winnow.database):
            if await _role_of(winnow, space) != Role.BUILDING:
                return True
            if any(counts.left for counts in (await winnow.embeddings.counts_in(space)).values()):
                return False
            await asyncio.sleep(QUIET_SECONDS)
    finally:
        told.cancel()
    return True


async def _role_of(winnow: Winnow, space: Space) -> Role:
    """Somebody may have put it in, or given it up, meanwhile."""
    stored = await winnow.spaces.all()
    return next((role for role, one in stored.items() if one.id == space.id), Role.RETIRED)


async def _missing(winnow: Winnow, choice: Choice, agreed: AbstractSet[str], *, yes: bool) -> str | None:
    """A question, where the server says that it lacks the model, and can download it; when agreed to, it is done.

    A server that lists no models, or not all that it has, shows by embedding a word whether it has this one.

    Raises:
        ModelNotFound: the server would have to download it, and nobody is there to say that it shall.
    """
    question = f"have the server download {choice.model}?"
    catalogue = winnow.catalogue_of(choice.provider)
    try:
        await catalogue.describe(choice.model)
    except ModelNotFound as error:
        try:
            steps = catalogue.pull(choice.model)
        except SetupFault:
            return None
        if question in agreed:
            await _download(choice.model, steps)
            return None
        if yes or not sys.stdin.isatty():
            raise
        errors.print(str(error), markup=False, soft_wrap=True)
        return question
    except (SetupFault, AnswerInvalid):
        return None
    finally:
        await catalogue.close()
    return None


async def _download(model: str, steps: AsyncIterator[PullProgress]) -> None:
    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=errors) as bar:
        task = bar.add_task(model, total=None)
        async for step in steps:
            bar.update(task, description=plain(step.says), total=step.total_bytes, completed=step.done_bytes or 0)


def _consent(question: str, *, yes: bool) -> None:
    """To be called outside of the event loop: there Ctrl-C would not end the question."""
    if yes:
        return
    with friendly():
        if not sys.stdin.isatty():
            raise InvalidInput("nobody is there to be asked; add --yes if this is what you want")
        typer.confirm(question, abort=True, err=True)


def _warn_of_setting(winnow: Winnow, identity: str) -> None:
    chosen = str(winnow.embedder.identity) if "embedder" in winnow.settings.model_fields_set else identity
    if chosen != identity:
        errors.print(
            f"WINNOW_EMBEDDER is {chosen} here: unset it, or set it to {identity}, wherever Winnow is started",
            markup=False,
            soft_wrap=True,
        )


@app.command("back")
def back_command(yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Search with the model from before again; rows written since are embedded with it by and by."""
    yes = yes or run(lambda: _previous(settings_for(data_dir=data_dir))) is None  # then there is nothing to ask about
    _change(change_back, "{} embeds and searches again", "go back to the model from before?", yes, data_dir, as_json)


@app.command("cancel")
def cancel_command(yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give up a change that is under way, with the vectors it has made; searches have never left the old model."""
    question = "give the change up, with the vectors that were made for it?"
    _change(cancel_change, "the change to {} is given up", question, yes, data_dir, as_json)


@app.command("forget")
def forget_command(yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give up the vectors of the model from before, for the room they take; then there is no way back to it."""
    question = "give up the vectors of the model from before?"
    if not yes and (space := run(lambda: _previous(settings_for(data_dir=data_dir)))):
        question = (
            f"give up the vectors of {space.name}? Processes with WINNOW_EMBEDDER={space.identity} will not start "
            "any more"
        )
    _change(forget_earlier, "the vectors of {} are gone", question, yes, data_dir, as_json)


def _change(
    work: Callable[[Database], Awaitable[Space]],
    sentence: str,
    question: str,
    yes: bool,
    data_dir: DataDir,
    as_json: bool,
) -> None:
    settings = settings_for(data_dir=data_dir)
    _consent(question, yes=yes)

    async def main() -> Space:
        async with using(settings, queue=False) as winnow:
            space = await work(winnow.database)
            if active := await winnow.spaces.current():
                _warn_of_setting(winnow, str(active.identity))
            return space

    space = run(main)
    _tell({"model": space.name, "space": space.id}, sentence.format(space.name), as_json=as_json)


def _tell(facts: dict[str, object], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        console.print(sentence, markup=False, soft_wrap=True)


async def _previous(settings: Settings) -> Space | None:
    async with using(settings, queue=False) as winnow:
        return (await winnow.spaces.all()).get(Role.PREVIOUS)
