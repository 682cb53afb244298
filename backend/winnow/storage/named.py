"""SQL has one address: statements for sets live in `sql/*.sql`, each under a `-- name:` line with a sentence above."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from winnow.domain.spaces import Role
from winnow.storage.embeddables import EMBEDDABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from winnow.domain.jobs import Kind

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statement(name: str, kind: Kind | None = None, role: Role = Role.ACTIVE) -> str:
    """The statement of that name, filled in for a kind, and a space's role, when it is written for every kind.

    Raises:
        KeyError: no file has a statement of that name.
    """
    text = _statements()[name]
    return EMBEDDABLES[kind].fill(text, role) if kind else text


@cache
def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in (files("winnow.storage") / "sql").iterdir():
        pieces = _NAME.split(file.read_text("utf-8"))
        found |= {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}
    return found


async def fetch(
    connection: AsyncConnection, name: str, *values: Any, kind: Kind | None = None, role: Role = Role.ACTIVE
) -> Sequence[Row[Any]]:
    """Runs a named statement with positional values ($1, $2, …) and returns its rows."""
    result = await connection.exec_driver_sql(statement(name, kind, role), values)
    return result.all() if result.returns_rows else []
