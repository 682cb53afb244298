"""The command line: `winnow …`."""

from __future__ import annotations

import typer

from winnow.cli import (
    backfilling,
    channels,
    doctor,
    extracting,
    failed,
    forget,
    importing,
    keys,
    model,
    providers,
    runs,
    serving,
    setup,
    showing,
    telegram,
    usage,
    using,
)

app = typer.Typer(
    name="winnow",
    help="Turns team chat into knowledge that can be found again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
serving.add_commands(app)
setup.add_commands(app)
importing.add_commands(app)
using.add_commands(app)
extracting.add_commands(app)
app.add_typer(runs.app, name="runs", rich_help_panel="Use")
backfilling.add_commands(app)
usage.add_commands(app)
doctor.add_commands(app)
showing.add_commands(app)
app.add_typer(telegram.app, name="telegram", rich_help_panel="Use")
forget.add_commands(app)
app.add_typer(channels.app, name="channels", rich_help_panel="Maintain")
app.add_typer(failed.app, name="failed", rich_help_panel="Maintain")
app.add_typer(keys.app, name="keys", rich_help_panel="Maintain")
app.add_typer(providers.app, name="providers", rich_help_panel="Models")
app.add_typer(model.app, name="model", rich_help_panel="Models")
