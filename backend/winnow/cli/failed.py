"""`winnow failed …`: rows that got no vector, and what a person decides about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from winnow.api.answers import failed_in_full_out, failed_out, forgotten_out, retried_out
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, first_words, hanging, plain, show_facts, span
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.jobs import Kind
from winnow.errors import InvalidInput, QueueUnavailable
from winnow.pipeline.failures import Chosen, forget, look_at, retry
from winnow.storage.failures import FailureStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from winnow.pipeline.failures import Decided, Retried, TroubleInFull
    from winnow.storage.failures import Trouble

LAST_ID = 2**53 - 1
MOST_LISTED = 1000
MOST_NAMED = 10
WORDS_CHARACTERS = 160

app = typer.Typer(
    help="Rows whose embedding failed for good: look, try again, or leave them without a vector.", no_args_is_help=True
)
SomeKind = Annotated[Kind | None, typer.Argument(metavar="KIND", help="messages, topics or atoms.", show_default=False)]
SomeIds = Annotated[
    list[int] | None, typer.Argument(metavar="ID…", min=1, max=LAST_ID, help="Which ones.", show_default=False)
]
Everything = Annotated[bool, typer.Option("--all", help="All that failed.")]


@app.command("list")
def list_command(
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Those that wait for another try, and when they come due.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST_LISTED, help="Most rows.")] = 20,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what failed, the latest first, and why."""
    settings = settings_for(data_dir=data_dir)
    kinds = (kind,) if kind else tuple(Kind)

    async def main() -> tuple[list[Trouble], dict[Kind, int]]:
        async with using(settings, queue=False) as winnow:
            store = FailureStore(winnow.database)
            found = await store.troubles(kinds=kinds, state="waiting" if waiting else "failed", limit=limit)
            counts = await winnow.embeddings.counts()
        return found, {each: counts[each].waiting if waiting else counts[each].failed for each in kinds}

    found, totals = run(main)
    if as_json:
        items = [failed_out(trouble).model_dump(mode="json") for trouble in found]
        print_json({"total": sum(totals.values()), "kinds": totals, "items": items})
        return
    if not found:
        console.print("nothing waits" if waiting else "nothing has failed")
        return
    for trouble in found:
        _show_line(trouble)
    _show_totals(found, totals, waiting=waiting)


def _show_line(trouble: Trouble) -> None:
    name = Text(f"{trouble.kind.value} {trouble.id}", "bold")
    attempts = f", {_attempts(trouble)}" if trouble.attempts else ""
    told = Text(f"{_when(trouble)}{attempts}: ").append(_reason(trouble), "yellow")
    console.print(hanging(console, [name], told))
    console.print(Padding(Text(f"“{plain(first_words(trouble.text, WORDS_CHARACTERS))}”", "dim"), (0, 0, 0, 4)))


def _show_totals(found: Sequence[Trouble], totals: Mapping[Kind, int], *, waiting: bool) -> None:
    total = sum(totals.values())
    each = ", ".join(counted(number, kind.value) for kind, number in totals.items() if number)
    shown = f"; these are the latest {len(found):,}, --limit shows more" if len(found) < total else ""
    if waiting:
        console.print(f"{total:,} waiting: {each}{shown}. They are tried again by themselves.")
        return
    one = f"{found[0].kind.value} {found[0].id}"
    console.print(f"{total:,} failed: {each}{shown}")
    show_facts(
        console,
        {
            "look at one": f"winnow failed show {one}",
            "try again": "winnow failed retry --all",
            "leave one without a vector": f"winnow failed forget {one}",
        },
    )


def _when(trouble: Trouble) -> str:
    if trouble.state != "waiting":
        return f"{trouble.at:%Y-%m-%d %H:%M}"
    seconds = (trouble.at - datetime.now(UTC)).total_seconds()
    return f"due in {span(seconds)}" if seconds > 0 else "due now"


def _attempts(trouble: Trouble) -> str:
    return counted(trouble.attempts, "attempts")


def _reason(trouble: Trouble) -> str:
    return plain(trouble.error or trouble.error_kind or "no reason was noted")


@app.command("show")
def show_command(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="messages, topics or atoms.")],
    row_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LAST_ID, help="Which one.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one row with all that is noted of it, its whole text, and where it is from."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> TroubleInFull:
        async with using(settings, queue=False) as winnow:
            found = await look_at(winnow.database, FailureStore(winnow.database), kind, row_id)
        if found is None:
            raise InvalidInput(
                f"nothing is noted of {kind.value} {row_id}: it has a vector, is about to get one, or does not exist"
            )
        return found

    found = run(main)
    if as_json:
        print_json(failed_in_full_out(found).model_dump(mode="json"))
    else:
        _show_in_full(found)


def _show_in_full(found: TroubleInFull) -> None:
    trouble, message = found.trouble, found.message
    state = {"failed": "failed", "waiting": "waits", "skipped": "set aside"}.get(trouble.state, trouble.state)
    facts: dict[str, str | Text] = {"row": f"{trouble.kind.value} {trouble.id}", "state": f"{state}, {_when(trouble)}"}
    facts["reason"] = Text(_reason(trouble), "yellow")
    facts["tries"] = f"{_attempts(trouble)}, {counted(trouble.waits, 'waits')}"
    if trouble.deaths:
        facts["tries"] += f", {counted(trouble.deaths, 'workers')} ended with it in hand"
    if trouble.error_kind:
        facts["what it is"] = trouble.error_kind
    if message:
        author = message.author or "somebody"
        facts["from"] = f"{author} in {message.channel}, {message.sent_at:%Y-%m-%d %H:%M}"
    facts["text"] = f"{trouble.characters:,} characters:"
    show_facts(console, facts)
    console.print(Text(plain(trouble.text)))


@app.command("retry")
def retry_command(
    kind: SomeKind = None,
    ids: SomeIds = None,
    everything: Everything = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Try rows again now: one, several, a whole kind, or --all. Those that were forgotten come back if named."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> tuple[Retried, bool]:
        chosen = _chosen(kind, ids, everything=everything or (kind is not None and not ids))
        async with using(settings, queue=False) as winnow:
            await winnow.start_queue_if_there()
            store, batch_size = FailureStore(winnow.database), settings.batch_size
            done = await retry(store, winnow.dispatcher, chosen, batch_size=batch_size)
            _require_one(chosen, done, "has failed, waits, or was forgotten")
            try:
                workers = await winnow.overviewing().queue.workers()
            except QueueUnavailable:
                workers = []
            return done, bool(workers)

    done, somebody_works = run(main)
    if as_json:
        print_json(retried_out(done).model_dump(mode="json"))
        return
    if not done.rows:
        console.print("nothing has failed")
        return
    console.print(f"{_rows(done)} pending again" + (f", in {counted(done.tasks, 'tasks')}" if done.tasks else ""))
    if done.queue_error:
        console.print(f"{done.queue_error} The sweeper will find them.", markup=False)
    elif not somebody_works:
        console.print("no worker is running; they wait for the next `winnow up` or `winnow worker`")
    _tell_left_out(kind, done)


@app.command("forget")
def forget_command(
    kind: SomeKind = None,
    ids: SomeIds = None,
    everything: Everything = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Leave rows without a vector until their text changes. Searches go on finding them by their words."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> Decided:
        if kind is None:
            raise InvalidInput("say which: KIND ID…, as `winnow failed list` shows them, or KIND --all")
        chosen = _chosen(kind, ids, everything=everything)
        async with using(settings, queue=False) as winnow:
            done = await forget(FailureStore(winnow.database), chosen)
        _require_one(chosen, done, "has failed or waits")
        return done

    done = run(main)
    if as_json:
        print_json(forgotten_out(done).model_dump(mode="json"))
        return
    if not done.rows:
        console.print("nothing has failed")
        return
    console.print(f"{_rows(done)} left without a vector until the text changes; searches find them by their words")
    row = next(f"{each.value} {ids[0]}" for each, ids in done.ids.items() if ids)
    console.print(f"if that was a mistake: winnow failed retry {row}")
    _tell_left_out(kind, done)


def _chosen(kind: Kind | None, ids: Sequence[int] | None, *, everything: bool) -> Chosen:
    if everything and ids:
        raise InvalidInput("name rows or give --all, not both")
    if not everything and not (kind and ids):
        raise InvalidInput("say which: KIND ID…, as `winnow failed list` shows them, or --all")
    return Chosen(kind=kind, ids=None if everything else tuple(ids or ()))


def _require_one(chosen: Chosen, done: Decided, what: str) -> None:
    if chosen.ids and chosen.kind and not done.rows:
        which = ", ".join(map(str, chosen.ids[:MOST_NAMED])) + ("…" if len(chosen.ids) > MOST_NAMED else "")
        raise InvalidInput(f"none of these {what}: {chosen.kind.value} {which}; see: winnow failed list")


def _rows(done: Decided) -> str:
    return ", ".join(counted(len(ids), kind.value) for kind, ids in done.ids.items() if ids)


def _tell_left_out(kind: Kind | None, done: Decided) -> None:
    if done.left_out and kind:
        which = ", ".join(map(str, done.left_out))
        errors.print(f"left as they are: {kind.value} {which}", markup=False, soft_wrap=True)
