"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Folder of the embedded servers' data.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
