"""`winnow keys …`: who may call the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from winnow.cli.options import AsJson, DataDir
from winnow.cli.running import console, errors, print_json, run, settings_for
from winnow.cli.using import using
from winnow.domain.keys import Scope
from winnow.storage.keys import KeyStore

if TYPE_CHECKING:
    from datetime import datetime

    from winnow.domain.keys import WrittenKey
    from winnow.storage.keys import KeyRecord

app = typer.Typer(help="API keys: asked for when the API listens beyond loopback.", no_args_is_help=True)


@app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is, or what it is for.")],
    scope: Annotated[
        list[Scope], typer.Option(help="read finds, write brings messages in, admin does all; may be given twice.")
    ] = [Scope.READ],  # noqa: B006 - Typer copies it
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this once: only its hash is stored."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> WrittenKey:
        async with using(settings, queue=False) as winnow:
            return await KeyStore(winnow.database).create(name, set(scope))

    key = run(main)
    try:
        if as_json:
            print_json({"id": key.id, "name": name, "scopes": sorted(set(scope)), "key": str(key)})
        else:
            errors.print("This is the key; keep it, for it is not shown again. Send it as: Authorization: Bearer KEY")
            console.print(str(key), markup=False, soft_wrap=True)
    except OSError:
        errors.print(f"nobody has seen the key; make another after: winnow keys revoke {key.id}", markup=False)
        raise


@app.command("list")
def list_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show all keys: names, scopes, when they were last used. Nobody can show a key itself."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[KeyRecord]:
        async with using(settings, queue=False) as winnow:
            return await KeyStore(winnow.database).all()

    keys = run(main)
    if as_json:
        print_json([_as_json(key) for key in keys])
    elif keys:
        _show(keys)
    else:
        console.print("no keys yet; make one with: winnow keys create NAME")


@app.command("revoke")
def revoke_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name, or its number.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a key. Processes that have just seen it refuse it five seconds later."""
    settings = settings_for(data_dir=data_dir)

    async def main() -> list[str]:
        async with using(settings, queue=False) as winnow:
            return await KeyStore(winnow.database).revoke(name)

    ended = run(main)
    if as_json:
        print_json({"revoked": ended})
    else:
        console.print(f"revoked: {', '.join(ended)}", markup=False)


def _as_json(key: KeyRecord) -> dict[str, object]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in asdict(key).items()}


def _show(keys: list[KeyRecord]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "name", "scopes", "made", "last used", "state"):
        table.add_column(column)
    for key in keys:
        state = f"revoked {_day(key.revoked_at)}" if key.revoked_at else "in force"
        table.add_row(
            str(key.id), escape(key.name), ", ".join(key.scopes), _day(key.created_at), _day(key.last_used_at), state
        )
    console.print(table)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"
