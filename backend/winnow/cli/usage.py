"""`winnow usage`: what models were used for, how much of it, and what it cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from winnow.api.usage_schemas import usage_out
from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import fits, plain, show_facts
from winnow.cli.running import console, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.usage import By
from winnow.pipeline.usage import DAYS, MOST_DAYS, read_day, usage

if TYPE_CHECKING:
    from winnow.domain.usage import Totals
    from winnow.pipeline.usage import UsageReport

UNKNOWN = "–"
CENT = Decimal("0.01")


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("usage", rich_help_panel="Use")(usage_command)


def usage_command(
    by: Annotated[By, typer.Option(help="What to sum up by.")] = By.DAY,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_DAYS, help=f"How many days, with today; {DAYS} if nothing is said."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The first day instead, like 2026-01-31.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """What models were used for: requests, texts, tokens, time and money. Days are those of UTC."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> UsageReport:
        first = None if since is None else read_day(since)
        async with using(settings, queue=False) as winnow:
            return await usage(winnow.database, by=by, days=days, since=first)

    report = run(main)
    if as_json:
        print_json(usage_out(report).model_dump(mode="json"))
    else:
        _show(report)


def _show(report: UsageReport) -> None:
    console.print(f"since {report.since:%Y-%m-%d %H:%M} UTC")
    if not report.lines:
        console.print("no model was used")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(report.by.value, no_wrap=True)
    for name in ("requests", "texts", "rows", "saved", "tokens", "seconds", "price"):
        table.add_column(name, justify="right")
    for line in report.lines:
        table.add_row(Text(plain(line.name or UNKNOWN)), *_numbers(line))
    if len(report.lines) > 1:
        table.add_row(Text("total", "bold"), *_numbers(report.total))
    if fits(console, table):
        console.print(table)
    else:
        show_facts(console, _facts(report))
    if report.total.estimated:
        console.print("[dim]≈ tokens that no server counted, about one for 4 bytes[/]")
    if not report.total.price_complete:
        console.print("[dim]– or at least: there are models whose price is not known[/]")


def _facts(report: UsageReport) -> dict[str, str]:
    """The same for a narrow terminal, in words; what there is none of is left out."""
    lines = {plain(line.name or UNKNOWN): _in_words(line) for line in report.lines}
    return lines | ({"total": _in_words(report.total)} if len(report.lines) > 1 else {})


def _in_words(of: Totals) -> str:
    *counts, tokens, seconds, price = _numbers(of)
    names = ("requests", "texts", "rows", "saved")
    said = [f"{number} {name}" for name, number in zip(names, counts, strict=True) if number != "0"]
    return ", ".join([*said, f"{tokens} tokens", f"{seconds} s", "price unknown" if price == UNKNOWN else price])


def _numbers(of: Totals) -> list[str]:
    tokens = f"{'≈ ' if of.estimated else ''}{of.tokens + of.output_tokens:,}"
    seconds = f"{of.seconds:,.1f}"
    return [f"{of.requests:,}", f"{of.texts:,}", f"{of.embedded:,}", f"{of.saved:,}", tokens, seconds, _price(of)]


def _price(of: Totals) -> str:
    if of.price_complete:
        return money(of.price_usd or Decimal(0))
    return f"at least {money(of.price_usd)}" if of.price_usd else UNKNOWN


def money(usd: Decimal) -> str:
    """An amount as people read it: $12.50, and as exactly as it takes below a cent."""
    if usd == 0:
        return "$0"
    return f"${usd:,.2f}" if usd >= CENT else f"${usd:.2g}" if usd >= Decimal("0.0001") else "< $0.0001"
