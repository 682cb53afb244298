"""`winnow doctor`: what is not as it should be, and what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from winnow.bootstrap import opened
from winnow.cli.options import AsJson, DataDir
from winnow.cli.running import console, print_json, run, settings_for
from winnow.domain.findings import Level, wrong
from winnow.errors import WinnowError
from winnow.pipeline.examine import examine
from winnow.servers import servers_for

if TYPE_CHECKING:
    from winnow.domain.findings import Finding

MARKS = {Level.OK: "[green]ok     [/]", Level.WARNING: "[yellow]warning[/]", Level.WRONG: "[bold red]wrong  [/]"}
SOMETHING_WRONG = 1


def add_commands(app: typer.Typer) -> None:
    """Adds it to the program."""
    app.command("doctor", rich_help_panel="Maintain")(doctor_command)


def doctor_command(
    measure: Annotated[
        bool,
        typer.Option(help="Also find the best size of requests and how many at once: some hundred texts are embedded."),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Look at database, NATS, model server, disk and clocks. Exit code 1: something is wrong; warnings are 0."""
    settings = settings_for(data_dir=data_dir)

    findings: list[Finding] = []

    def take(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            _show(finding)

    async def main() -> None:
        try:
            async with servers_for(settings) as servers, opened(settings, servers, queue=False) as winnow:
                await winnow.start_queue_if_there()
                async for finding in examine(winnow.examining(measure=measure)):
                    take(finding)
        except WinnowError as error:
            take(wrong("servers", "start", str(error), "mend this first; the rest was not looked at"))

    run(main)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _sum_up(findings)
    if any(finding.level == Level.WRONG for finding in findings):
        raise typer.Exit(SOMETHING_WRONG)


def _show(finding: Finding) -> None:
    console.print(f"{MARKS[finding.level]} {finding.area}: {finding.name}: {escape(finding.says)}", soft_wrap=True)
    if finding.do:
        console.print(f"        → {escape(finding.do)}", soft_wrap=True)


def _sum_up(findings: list[Finding]) -> None:
    counts = {level: sum(finding.level == level for finding in findings) for level in Level}
    if counts[Level.WRONG] or counts[Level.WARNING]:
        console.print(f"{counts[Level.WRONG]} wrong, {counts[Level.WARNING]} to look at, {counts[Level.OK]} ok")
    else:
        console.print(f"all {counts[Level.OK]} ok")
