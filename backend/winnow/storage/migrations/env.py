"""Runs migrations over the connection that `storage/migrate.py` hands in; knows what spaces.py owns."""

from __future__ import annotations

from typing import Any

from alembic import context
from pgvector.sqlalchemy import Vector
from sqlmodel import SQLModel

from winnow.storage import tables, tables_of_knowledge, tables_of_models, tables_of_sources  # noqa: F401 - registers them


def _alembics_own(obj: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Indexes over vectors belong to `spaces.py`; those of texts are expressions that only the migrations know."""
    del obj, reflected, compare_to
    return not (kind == "index" and (name or "").endswith(("_full_text", "_same_text", "_nearest")))


def _type_differs(_context: Any, _inspected: Any, _metadata: Any, inspected: Any, metadata: Any) -> bool | None:
    """A vector column's dimension is the space's affair; None lets Alembic compare the rest."""
    return False if isinstance(metadata, Vector) or isinstance(inspected, Vector) else None


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_object=_alembics_own,
    compare_type=_type_differs,
)
with context.begin_transaction():
    context.run_migrations()
