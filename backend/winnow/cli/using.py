"""Commands that do one thing and end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from winnow.api.answers import search_hit_out, status_out
from winnow.bootstrap import opened, servers_for
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import show_answer, show_overview
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.watching import WATCH_SECONDS, watch
from winnow.domain.jobs import Kind
from winnow.embedded.postgres import programs_folder
from winnow.errors import EmbeddedServerFailed, InvalidInput, SetupFault
from winnow.pipeline.backfill import Plan, backfill
from winnow.pipeline.overview import overview
from winnow.pipeline.request_extraction import request_extraction
from winnow.pipeline.search import search
from winnow.storage.engine import libpq_variables, masked
from winnow.storage.migrate import migrate, newest_revision, require_newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.bootstrap import Servers, Winnow
    from winnow.pipeline.backfill import Progress as BackfillProgress
    from winnow.pipeline.indexing import IndexBuild
    from winnow.settings import Settings

SOME_FAILED = 1
MOST_EXTRACTED = 100_000


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.command("search", rich_help_panel="Use")(search_command)
    app.command("status", rich_help_panel="Use")(status_command)
    app.command("extract", rich_help_panel="Use")(extract_command)
    app.command("backfill", rich_help_panel="Maintain")(backfill_command)
    app.command("migrate", rich_help_panel="Maintain")(migrate_command)
    app.command(
        "psql", rich_help_panel="Maintain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )(psql_command)


@asynccontextmanager
async def using(settings: Settings, *, queue: bool = True, fresh: bool = False) -> AsyncIterator[Winnow]:
    """The running servers, or our own for as long as the command takes, with their tables in place."""
    async with servers_for(settings, fresh=fresh) as servers:
        await _prepare(servers)
        async with opened(settings, servers, queue=queue) as winnow:
            yield winnow


async def _prepare(servers: Servers) -> None:
    """An embedded database is ours to migrate (and whoever started it may be at it still); somebody's own is not."""
    if servers.instance:
        await migrate(servers.database_url)
    else:
        await require_newest(servers.database_url)


def search_command(
    query: Annotated[list[str], typer.Argument(help="What to look for.")],
    kind: Annotated[list[Kind] | None, typer.Option(help="Only these kinds; may be given several times.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most hits.")] = 10,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find messages, knowledge and topics, by words and by meaning."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        async with using(settings, queue=False) as winnow:
            answer = await search(winnow.searching(), " ".join(query), kinds=kind or tuple(Kind), limit=limit)
        if as_json:
            hits = [search_hit_out(hit).model_dump(mode="json", exclude_none=True) for hit in answer.hits]
            print_json({"query": answer.query, "hits": hits, "degraded": answer.degraded})
        else:
            show_answer(console, answer)

    run(main)


def status_command(
    seconds: Annotated[
        float | None, typer.Argument(metavar="SECONDS", min=0.2, max=86_400, help="How often to look, with --watch.")
    ] = None,
    watch_it: Annotated[
        bool, typer.Option("--watch", help="Look again and again, each 2 s or each SECONDS, until Ctrl-C.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Where everything stands: rows and vectors, how fast and how long still, knowledge, queue, workers."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        if seconds and not watch_it:
            raise InvalidInput(f"to look every {seconds:g} s: winnow status --watch {seconds:g}")
        async with using(settings, queue=False) as winnow:
            await winnow.start_queue_if_there()
            if watch_it:
                await watch(winnow, every_seconds=seconds or WATCH_SECONDS, as_json=as_json)
                return
            state = await overview(winnow.overviewing(), truncated=True)
        if as_json:
            print_json(status_out(state).model_dump(mode="json"))
        else:
            show_overview(console, state)

    run(main)


def extract_command(
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Extract knowledge now from all messages that no run has read yet, instead of waiting for more of them."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> None:
        async with using(settings) as winnow:
            ids = await winnow.extractions.unclaimed_ids(channel=channel, limit=MOST_EXTRACTED)
            tasks = await request_extraction(winnow.dispatcher, ids)
            workers = (await overview(winnow.overviewing())).queue
        if as_json:
            print_json({"messages": len(ids), "tasks": tasks})
            return
        console.print(f"{len(ids):,} messages in {tasks:,} tasks sent to the workers")
        if ids and not (workers and workers.workers):
            console.print("no worker is running; they wait for the next `winnow up` or `winnow worker`")

    run(main)


def backfill_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what has no vector; change nothing.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=2048, help="Rows in one task.")] = 100,
    kinds: Annotated[str, typer.Option(help="Which kinds, separated by commas.")] = ",".join(Kind),
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Embed in this process, without workers.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Embed every row whose vector is NULL. Interrupt it when you like: it goes on where it stopped."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> int:
        chosen = _kinds(kinds)
        async with servers_for(settings) as servers:
            if dry_run:
                return await _dry_run(settings, servers, chosen, as_json=as_json)
            await _prepare(servers)
            async with opened(settings, servers, queue=False) as winnow:
                await winnow.start_queue_if_there()
                plan = Plan(kinds=chosen, batch_size=batch_size, limit=limit, inline=inline)
                return await _backfill(winnow, plan, as_json=as_json)

    code = run(main)
    if code:
        raise typer.Exit(code)


def _kinds(names: str) -> tuple[Kind, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in set(Kind)]
    if unknown or not wanted:
        raise InvalidInput(f"--kinds {names!r}: choose from {', '.join(Kind)}, separated by commas")
    return tuple(dict.fromkeys(Kind(name) for name in wanted))


async def _dry_run(settings: Settings, servers: Servers, kinds: tuple[Kind, ...], *, as_json: bool) -> int:
    await require_newest(servers.database_url)
    async with opened(settings, servers, queue=False) as winnow:
        counts = await winnow.embeddings.counts()
    without = {kind.value: counts[kind].without_vector for kind in kinds}
    if as_json:
        shown = {"database": masked(servers.database_url), "without_vector": without, "total": sum(without.values())}
        print_json(shown)
        return 0
    console.print(f"database  {masked(servers.database_url)}", markup=False, soft_wrap=True)
    for kind in kinds:
        skipped = f"  ({counts[kind].skipped:,} of them skipped for good)" if counts[kind].skipped else ""
        console.print(f"{kind.value:<10}{without[kind.value]:>10,} of {counts[kind].total:,} without a vector{skipped}")
    console.print(f"{'total':<10}{sum(without.values()):>10,}")
    console.print("dry run: nothing was changed")
    return 0


async def _backfill(winnow: Winnow, plan: Plan, *, as_json: bool) -> int:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
        disable=as_json,
    )
    with bar:
        rows = bar.add_task("embedding", total=None, amount="", rate="– rows/s")
        index = bar.add_task("", total=1.0, amount="", rate="", visible=False, start=False)

        def report(now: BackfillProgress) -> None:
            _show_index(bar, index, now.index)
            if now.index is None:
                amount, rate = f"{now.done:,}/{now.total:,}", f"{now.done / now.seconds:,.0f}" if now.seconds else "–"
                bar.update(rows, total=now.total, completed=now.done, amount=amount, rate=f"{rate} rows/s")

        done = await backfill(winnow.backfilling(), plan, report=report, say=partial(bar.console.print, markup=False))
    counts = await winnow.embeddings.counts()
    skipped = sum(counts[kind].skipped for kind in plan.kinds)
    if as_json:
        shown = asdict(done)
        shown.pop("index")  # is built
        print_json({**shown, "skipped_in_all": skipped})
    else:
        _show_backfill(done, skipped)
    return SOME_FAILED if done.failed or done.waiting else 0


def _show_index(bar: Progress, task: TaskID, build: IndexBuild | None) -> None:
    """A second bar, while an index is built."""
    if build is None:
        bar.update(task, visible=False)
        return
    if bar.tasks[task].description != (name := f"index of {build.kind.value}"):
        bar.reset(task, start=True, description=name, visible=True)
    amount = f"{build.built:.0%}" + (", waits for somebody's open transaction" if build.waits else "")
    bar.update(task, completed=build.built, amount=amount, visible=True)


def _show_backfill(done: BackfillProgress, skipped: int) -> None:
    if not done.total:
        console.print("nothing was left to embed")
        return
    rate = f", {done.done / done.seconds:,.0f} rows/s" if done.seconds and done.done else ""
    where = " in this process" if done.inline else " by the workers"
    console.print(f"success {done.success:,}  failed {done.failed:,}  skipped {done.skipped:,}{where}{rate}")
    if skipped:
        console.print(f"{skipped:,} rows in all are skipped: their text is blank, or somebody wants no vector of them")
    if done.waiting:
        console.print(f"[yellow]{done.waiting:,} rows wait for the model server; `winnow status` shows why[/]")
    if done.failed:
        console.print(
            "[red]`winnow status` shows the last error; run the backfill again to try these rows once more[/]"
        )


def migrate_command(
    revision: Annotated[str, typer.Argument(help="Where to go: head, a revision, or base (which drops all).")] = "head",
    yes: Annotated[
        bool, typer.Option("--yes", help="Go to an older revision, and lose what it has no place for.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database's tables to this program's revision."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> str:
        if not yes and revision not in {"head", newest_revision()}:
            what = (
                "drops every table with all that is in it"
                if revision == "base"
                else "drops what newer revisions brought, for example all API keys (0002)"
            )
            raise InvalidInput(f"`winnow migrate {revision}` {what}; if that is what you want, add --yes")
        async with servers_for(settings, fresh=True) as servers:
            return await migrate(servers.database_url, revision=revision)

    reached = run(main)
    if as_json:
        print_json({"revision": reached})
    else:
        console.print(f"the database is at revision {reached}", markup=False)
        if reached != newest_revision():
            console.print("use the older program now: the next command of this one brings the tables up again")


def _psql() -> Path:
    """The wheel's psql, or else the one on the PATH."""
    try:
        return programs_folder() / "psql"
    except EmbeddedServerFailed as error:
        if on_path := shutil.which("psql"):
            return Path(on_path)
        raise SetupFault(
            "there is no psql here: install PostgreSQL's client or winnow[embedded]; beside a container of PostgreSQL "
            "there is its own: docker compose exec postgres psql -U winnow winnow"
        ) from error


def psql_command(context: typer.Context, data_dir: DataDir = None) -> None:
    """Open psql on the database; what follows goes to psql, as in: winnow psql -c 'SELECT id, name FROM topics'."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> int:
        async with servers_for(settings) as servers:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is psql's own
            process = await asyncio.create_subprocess_exec(
                _psql(), *context.args, env={**os.environ, **libpq_variables(servers.database_url)}
            )
            code = await process.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
            return code

    code = run(main)
    if code:
        raise typer.Exit(code)
