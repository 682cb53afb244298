"""What the tables' columns are made of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, func

# Updates of rows that have an indexed vector stay cheap only while they find room on their own page (HOT).
ROOM_FOR_UPDATES = {"postgresql_with": {"fillfactor": "50"}}


def id_column() -> Any:
    """The primary key, numbered by the database."""
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def reference(name: str, target: str, *, nullable: bool = False, ondelete: str = "CASCADE") -> Any:
    """A foreign key."""
    return Column(name, BigInteger, ForeignKey(target, ondelete=ondelete), nullable=nullable)


def now_column(name: str) -> Any:
    """A moment that is the present one unless it is given."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def moment(name: str) -> Any:
    """A moment that may be missing."""
    return Column(name, DateTime(timezone=True))


def one_of(column: str, values: Any) -> str:
    """The SQL condition that a column holds one of the values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
