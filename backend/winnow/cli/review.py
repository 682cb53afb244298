"""`winnow review …`: what waits for a person, and what the person decides."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from winnow.api.review_schemas import review_status_out, reviewed_out
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, first_words, plain, show_facts
from winnow.cli.reviewing import Asking, review_one_by_one
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.knowledge import AtomType
from winnow.errors import InvalidInput
from winnow.pipeline import review
from winnow.pipeline.review import Reviewed, Reviewing, Wording
from winnow.pipeline.teach import standing, teach
from winnow.storage.reviews import shown_to_judge, waiting_atoms

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.pipeline.teach import Taught
    from winnow.storage.reviews import JudgedAtom

LAST_ID = 2**53 - 1
MOST_VERSIONS = 2**31 - 1
MOST_LISTED = 1000
WORDS_CHARACTERS = 100

app = typer.Typer(help="What waits for a person: look at it, accept, reject, edit, merge.", invoke_without_command=True)

Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=LAST_ID, help="Which atom.", show_default=False)]
Ids = Annotated[
    list[int], typer.Argument(metavar="ID…", min=1, max=LAST_ID, help="Which atoms; all or none.", show_default=False)
]
Version = Annotated[
    int, typer.Argument(metavar="VERSION", min=1, max=MOST_VERSIONS, help="Which wording of it.", show_default=False)
]
Reason = Annotated[str, typer.Option(help="Why, for those who read it later.")]
By = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who reviews; your user name if not given.")]
Act = Callable[[Reviewing], Coroutine[Any, Any, Reviewed]]


@app.callback()
def review_command(
    ctx: typer.Context,
    type_: Annotated[
        list[AtomType] | None, typer.Option("--type", help="Only this type; may be given several times.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="Most atoms.")] = 20,
    by: By = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, the surest first: one by one on a terminal, else as a list.

    Keys: a accepts, r rejects, e edits, m merges into another one, s skips, q ends.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = settings_for(data_dir=data_dir)
    types = [one.value for one in type_ or ()]

    async def main() -> list[JudgedAtom]:
        async with using(settings, queue=False) as winnow:
            if sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
                await winnow.start_queue_if_there()
                await review_one_by_one(_tools(winnow, _name(by)), Asking(console), types=types)
                return []
            ids = await waiting_atoms(winnow.database, types=types, limit=limit)
            found = [await shown_to_judge(winnow.database, row) for row in ids]
        return [shown[0] for shown in found if shown]

    found = run(main)
    if as_json:
        print_json([_waiting(one) for one in found])
    elif found:
        for one in found:
            said = first_words(plain(one.content), WORDS_CHARACTERS)
            console.print(
                f"{one.id} {one.type} {one.confidence:.2f} {one.status}: {said}", markup=False, soft_wrap=True
            )
    elif not sys.stdout.isatty():
        console.print("nothing waits")


def _waiting(one: JudgedAtom) -> dict[str, object]:
    return {
        name: getattr(one, name) for name in ("id", "type", "title", "content", "status", "confidence", "extractor")
    }


@app.command("accept")
def accept_command(ids: Ids, by: By = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """They are right: what was hidden is found from now on. Rejected ones come back."""
    _do(lambda tools: review.accept(tools, ids), by, data_dir, as_json=as_json)


@app.command("reject")
def reject_command(ids: Ids, by: By = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """They are wrong, and are never found again, however often they are said."""
    _do(lambda tools: review.reject(tools, ids), by, data_dir, as_json=as_json)


@app.command("edit")
def edit_command(
    atom_id: Id,
    title: Annotated[str | None, typer.Option(help="Another title.")] = None,
    content: Annotated[str | None, typer.Option(help="Other words.")] = None,
    type_: Annotated[AtomType | None, typer.Option("--type", help="Another type.")] = None,
    topic: Annotated[str | None, typer.Option(help="Another topic, by name; made where there is none.")] = None,
    reason: Reason = "",
    by: By = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Give it other words, another type or topic. The words it had stay as a past version."""
    wording = Wording(title=title, content=content, type=type_, topic=topic)
    _do(lambda tools: review.edit(tools, atom_id, wording, reason=reason), by, data_dir, as_json=as_json)


@app.command("merge")
def merge_command(
    atom_id: Id,
    into: Annotated[int, typer.Argument(metavar="INTO", min=1, max=LAST_ID, help="The atom that stays.")],
    by: By = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """It says the same as another one, and lives on in that: quotes and links move there."""
    _do(lambda tools: review.merge(tools, atom_id, into), by, data_dir, as_json=as_json)


@app.command("supersede")
def supersede_command(
    atom_id: Id,
    newer: Annotated[int, typer.Argument(metavar="BY", min=1, max=LAST_ID, help="What took its place.")],
    reason: Reason = "",
    by: By = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """A decision or requirement holds no more: another one took its place. It stays, and is shown with that."""
    _do(lambda tools: review.supersede(tools, atom_id, newer, reason=reason), by, data_dir, as_json=as_json)


@app.command("close")
def close_command(
    ids: Ids, reason: Reason = "", by: By = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """Questions, problems, blockers, risks or actions that came to an end outside of the chat."""
    _do(lambda tools: review.close(tools, ids, reason=reason), by, data_dir, as_json=as_json)


@app.command("reopen")
def reopen_command(ids: Ids, by: By = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """What was closed is open again; what was superseded holds again."""
    _do(lambda tools: review.reopen(tools, ids), by, data_dir, as_json=as_json)


@app.command("approve")
def approve_command(
    atom_id: Id, version: Version, by: By = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """A proposed wording becomes the atom's; see them with: winnow atom ID."""
    _do(lambda tools: review.approve_version(tools, atom_id, version), by, data_dir, as_json=as_json)


@app.command("refuse")
def refuse_command(
    atom_id: Id, version: Version, by: By = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """A proposed wording is not wanted, and is not proposed again."""
    _do(lambda tools: review.reject_version(tools, atom_id, version), by, data_dir, as_json=as_json)


@app.command("teach")
def teach_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Teach the judge now by all verdicts; it happens by itself after each 10 newly judged atoms."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> Taught:
        async with using(settings, queue=False) as winnow:
            await teach(winnow.database)
            return await standing(winnow.database)

    _tell_standing(run(main), as_json=as_json)


@app.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """What waits, what people found right, and what the judge is worth here."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> Taught:
        async with using(settings, queue=False) as winnow:
            return await standing(winnow.database)

    _tell_standing(run(main), as_json=as_json)


def _name(by: str | None) -> str:
    if by is not None and not by.strip():
        raise InvalidInput("say who reviews, or leave --as out")
    try:
        return by or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "somebody"


def _tools(winnow: Winnow, by: str) -> Reviewing:
    return Reviewing(units=winnow.units, database=winnow.database, by=by)


def _do(act: Act, by: str | None, data_dir: Any, *, as_json: bool) -> None:
    settings = settings_for(data_dir=data_dir)

    async def main() -> Reviewed:
        name = _name(by)
        async with using(settings, queue=False) as winnow:
            await winnow.start_queue_if_there()
            return await act(_tools(winnow, name))

    done = run(main)
    if as_json:
        print_json(reviewed_out(done).model_dump(mode="json"))
        return
    for one in done.atoms.values():
        state = f"merged into {one.merged_into}" if one.merged_into else one.status
        if one.superseded_by:
            state += f", superseded by {one.superseded_by}"
        if one.closed_at:
            state += ", closed"
        console.print(f"{one.id} {one.type}, {state}: {plain(one.title)}", markup=False, soft_wrap=True)
    if not done.changed:
        errors.print("nothing changed: that was so already")


def _tell_standing(state: Taught, *, as_json: bool) -> None:
    if as_json:
        print_json(review_status_out(state).model_dump(mode="json"))
        return
    waiting = state.waiting
    facts = {
        "waiting": f"{counted(waiting.candidates, 'candidates')}, {waiting.unproven:,} unproven, "
        f"{counted(waiting.versions, 'wordings')}; see: winnow review",
        "reviews": f"{state.reviews:,} atoms; the judge was taught by {state.taught:,}",
    }
    report = state.judge.judge.report if state.judge else None
    if state.judge:
        facts["judge"] = state.judge.judge.use
    if report and report.before and report.after:
        facts["worth"] = (
            f"off by {report.after.brier:.3f} on what it was not taught by; without it {report.before.brier:.3f} "
            "(Brier score, 0 is best)"
        )
    show_facts(console, facts)
    if not state.accepted:
        console.print("nobody has accepted or rejected anything yet")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("type", "extractor", "accepted", "rejected", "precision"):
        table.add_column(name, justify="left" if name in {"type", "extractor"} else "right")
    for one in state.accepted:
        share = one.accepted / (one.accepted + one.rejected)
        table.add_row(one.type, plain(one.extractor), f"{one.accepted:,}", f"{one.rejected:,}", f"{share:.0%}")
    console.print(table)
