"""What this program is, and how it is set up."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from winnow.cli.options import AsJson, DataDir
from winnow.cli.running import console, print_json, settings_for
from winnow.cli.shown_settings import show_settings


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""
    app.callback()(main_options)
    app.command("settings", rich_help_panel="Maintain")(settings_command)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"winnow {version('winnow')}")
        raise typer.Exit


def main_options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Turns team chat into knowledge that can be found again."""


def settings_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show every setting, and where its value comes from: environment, .env, command line or default."""
    settings = settings_for(data_dir=data_dir)
    shown = show_settings(settings, data_dir=data_dir)
    if as_json:
        print_json([asdict(setting) for setting in shown])
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for setting in shown:
        chosen = setting.origin != "default"
        value = Text("–" if setting.value is None else setting.value, "bold" if chosen else "dim")
        table.add_row(setting.name, value, Text(setting.origin, "" if chosen else "dim"))
    console.print(table)
