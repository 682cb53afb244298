"""`winnow backfill`: what embedding would take, the embedding itself with its progress, and what it used."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from winnow.api.usage_schemas import estimate_out, usage_totals_out
from winnow.bootstrap import opened
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, plain, span
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.usage import money
from winnow.cli.using import SOME_FAILED, prepare
from winnow.domain.budget import Budget
from winnow.domain.jobs import Kind
from winnow.domain.usage import NOTHING
from winnow.errors import InvalidInput
from winnow.pipeline.backfill import backfill
from winnow.pipeline.backfill_plan import Plan
from winnow.pipeline.budget import Account, account, tokens_in
from winnow.pipeline.estimate import Estimate, estimate
from winnow.servers import servers_for
from winnow.storage.engine import masked
from winnow.storage.migrate import require_newest

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.pipeline.backfill_progress import Progress as BackfillProgress
    from winnow.pipeline.indexing import IndexBuild
    from winnow.servers import Servers
    from winnow.settings import Settings


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("backfill", rich_help_panel="Maintain")(backfill_command)


def backfill_command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count, and estimate what it takes; change nothing.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=2048, help="Rows in one task.")] = 100,
    kinds: Annotated[str, typer.Option(metavar="KINDS", help="Which kinds, separated by commas.")] = ",".join(Kind),
    limit: Annotated[int | None, typer.Option(min=1, help="Most rows.")] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Embed in this process, without workers.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="MONEY|TOKENS", help="Stop before more is spent: money as 5usd, or tokens as 500000, 500k or 2M."
        ),
    ] = None,
    sample: Annotated[
        bool | None,
        typer.Option(
            "--sample/--no-sample",
            help="With --dry-run: measure the model with about 20 of the texts; if not said, only where that is free.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Embed every row whose vector is NULL. Interrupt it when you like: it goes on where it stopped."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> int:
        plan = Plan(kinds=_kinds(kinds), batch_size=batch_size, limit=limit, inline=inline, budget=_budget(budget))
        if dry_run and plan.budget:
            raise InvalidInput("--budget is for the backfill itself; --dry-run says what it would take")
        if sample is not None and not dry_run:
            raise InvalidInput("--sample and --no-sample are for --dry-run")
        async with servers_for(settings) as servers:
            if dry_run:
                return await _dry_run(settings, servers, plan, sample=sample, as_json=as_json)
            await prepare(servers)
            async with opened(settings, servers, queue=False) as winnow:
                if plan.budget:  # what is wrong with it is told before there is a bar
                    tokens_in(plan.budget, await winnow.backfilling().asked())
                await winnow.start_queue_if_there()
                return await _backfill(winnow, plan, as_json=as_json)

    code = run(main)
    if code:
        raise typer.Exit(code)


def _budget(given: str | None) -> Budget | None:
    return None if given is None else Budget.read(given)


def _kinds(names: str) -> tuple[Kind, ...]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in set(Kind)]
    if unknown or not wanted:
        raise InvalidInput(f"--kinds {names!r}: choose from {', '.join(Kind)}, separated by commas")
    return tuple(dict.fromkeys(Kind(name) for name in wanted))


async def _dry_run(settings: Settings, servers: Servers, plan: Plan, *, sample: bool | None, as_json: bool) -> int:
    await require_newest(servers.database_url)
    async with opened(settings, servers, queue=False) as winnow:
        counts = await winnow.embeddings.counts()
        asked = await winnow.backfilling().asked()
        expected = await estimate(winnow.database, asked, kinds=plan.kinds, limit=plan.limit, sample=sample)
    without = {kind.value: counts[kind].without_vector for kind in plan.kinds}
    if as_json:
        shown = {"database": masked(servers.database_url), "without_vector": without, "total": sum(without.values())}
        print_json({**shown, "estimate": estimate_out(expected).model_dump(mode="json")})
        return 0
    console.print(f"database  {masked(servers.database_url)}", markup=False, soft_wrap=True)
    for kind in plan.kinds:
        skipped = f"  ({counts[kind].skipped:,} of them skipped for good)" if counts[kind].skipped else ""
        console.print(f"{kind.value:<10}{without[kind.value]:>10,} of {counts[kind].total:,} without a vector{skipped}")
    console.print(f"{'total':<10}{sum(without.values()):>10,}")
    show_estimate(expected)
    console.print("dry run: nothing was changed")
    return 0


def show_estimate(expected: Estimate) -> None:
    """What it would take, each figure with its basis."""
    price = "–" if expected.price_usd is None else money(expected.price_usd)
    time = "–" if expected.seconds is None else f"about {span(max(expected.seconds, 1))}"
    texts = f"to ask the model for, equal ones once, for {counted(expected.rows, 'rows')}"
    lines = {
        "texts": (f"{expected.texts:,}", texts),
        "tokens": (f"≈ {expected.tokens:,}", expected.tokens_basis),
        "money": (price, expected.price_basis),
        "time": (time, expected.seconds_basis),
    }
    for name, (figure, basis) in lines.items():
        console.print(f"{name:<10}{figure:>10}  {plain(basis)}", markup=False, soft_wrap=True)
    if expected.remark:
        console.print(f"no sample was taken: {plain(expected.remark)}", markup=False, soft_wrap=True)


async def watched_backfill(winnow: Winnow, plan: Plan, *, quiet: bool) -> BackfillProgress:
    """A backfill with bars of its progress; `quiet`: without."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
        disable=quiet,
    )
    with bar:
        rows = bar.add_task("embedding", total=None, amount="", rate="– rows/s")
        index = bar.add_task("", total=1.0, amount="", rate="", visible=False, start=False)

        def report(now: BackfillProgress) -> None:
            _show_index(bar, index, now.index)
            if now.index is None:
                amount, rate = f"{now.done:,}/{now.total:,}", f"{now.done / now.seconds:,.0f}" if now.seconds else "–"
                bar.update(rows, total=now.total, completed=now.done, amount=amount, rate=f"{rate} rows/s")

        return await backfill(winnow.backfilling(), plan, report=report, say=partial(bar.console.print, markup=False))


async def _backfill(winnow: Winnow, plan: Plan, *, as_json: bool) -> int:
    done = await watched_backfill(winnow, plan, quiet=as_json)
    counts = await winnow.embeddings.counts()
    skipped = sum(counts[kind].skipped for kind in plan.kinds)
    spent = await account(
        winnow.database,
        await winnow.backfilling().asked(),
        run=plan.run,
        kinds=plan.kinds,
        rows=done.success,
        budget=plan.budget,
        stopped=done.spent,
    )
    if as_json:
        shown = asdict(done)
        shown.pop("index")  # is built
        print_json({**shown, "skipped_in_all": skipped, **_account_json(spent)})
    else:
        _show_backfill(done, skipped)
        _show_account(spent)
    return SOME_FAILED if done.failed or done.waiting else 0


def _account_json(spent: Account) -> dict[str, object]:
    return {
        "run": spent.run,
        "budget": str(spent.budget) if spent.budget else None,
        "used": usage_totals_out(spent.used).model_dump(mode="json"),
        "left": estimate_out(spent.left).model_dump(mode="json"),
    }


def _show_account(spent: Account) -> None:
    """What it used under its name, and, where a budget has ended it, what is left."""
    used = spent.used
    if used.requests:
        price = money(used.price_usd or NOTHING) if used.price_complete else "at a price that is not known here"
        tokens = f"{'≈ ' if used.estimated else ''}{counted(used.tokens, 'tokens')}"
        console.print(f"used {counted(used.requests, 'requests')}, {tokens}, {price}  ({spent.run})", markup=False)
    if spent.stopped:
        left = spent.left
        price = "" if left.price_usd is None else f", {money(left.price_usd)}"
        console.print(
            f"stopped at the budget of {spent.budget}; left are {counted(left.rows, 'rows')}, "
            f"≈ {counted(left.tokens, 'tokens')}{price}, which a sweeper, where one runs, embeds all the same",
            markup=False,
            soft_wrap=True,
        )


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
