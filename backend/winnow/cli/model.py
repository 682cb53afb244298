"""`winnow model …`: which model embeds, and the change to another."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import amount_of_money, amount_of_time
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import run_backfill, using
from winnow.domain.jobs import Lane
from winnow.domain.spaces import Role
from winnow.errors import InvalidInput, ModelNotFound
from winnow.pipeline.backfill import Plan
from winnow.pipeline.models import Choice, ListedModel, list_models
from winnow.pipeline.remodel import (
    begin_change,
    cancel_change,
    change_back,
    finish_building,
    forget_earlier,
    prepare_building,
)

if TYPE_CHECKING:
    from winnow.bootstrap import Winnow
    from winnow.domain.spaces import Space
    from winnow.pipeline.estimate import Estimate

app = typer.Typer(help="The model that embeds: which there are, the change to another, and back.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NOT_FINISHED = 1
