"""`winnow model …`: which model embeds, and the change to another."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="The model that embeds: which there are, the change to another, and back.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NOT_FINISHED = 1
