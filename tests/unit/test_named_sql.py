"""Every statement has one name and one sentence, and is filled in completely for each kind."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from pgvector.sqlalchemy import Vector
from sqlmodel import SQLModel

from winnow.domain.jobs import Kind
from winnow.storage import tables, tables_of_knowledge, tables_of_models, tables_of_sources  # noqa: F401 - registers them
from winnow.storage.embeddables import EMBEDDABLES
from winnow.storage.named import statement

SQL_FILES = list((files("winnow.storage") / "sql").iterdir())
NAMES = [
    (file.name, name)
    for file in SQL_FILES
    for name in re.findall(r"^-- name: (\w+)$", file.read_text("utf-8"), re.MULTILINE)
]


def test_no_name_is_used_twice() -> None:
    names = [name for _, name in NAMES]
    assert len(names) > 30
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_a_statement_leaves_no_placeholder_open(file: str, name: str) -> None:
    raw = statement(name)
    assert raw
    for kind in Kind:
        filled = statement(name, kind)
        assert re.findall(r"\{(?!distance)\w+\}", filled) == []
        if "{table}" in raw:
            assert kind.value in filled


@pytest.mark.parametrize(("file", "name"), NAMES)
def test_parameters_are_numbered_without_a_gap(file: str, name: str) -> None:
    code = "\n".join(line for line in statement(name).splitlines() if not line.startswith("--"))
    used = {int(number) for number in re.findall(r"\$(\d+)", code.replace("{distance}", "$1"))}
    assert used == set(range(1, len(used) + 1))


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        statement("no_such_statement")


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        (Kind.MESSAGES, "(t.text)"),
        (Kind.TOPICS, r"(t.name || E'\n' || t.description)"),
        (Kind.ATOMS, r"(t.title || E'\n' || t.content)"),
    ],
)
def test_the_embedded_text_is_one_expression(kind: Kind, expression: str) -> None:
    assert EMBEDDABLES[kind].text() == expression
    assert EMBEDDABLES[kind].fill("{kind} {table} {text} {found}").startswith(f"{kind} {kind} {expression} ")


def test_every_table_with_a_vector_is_an_embeddable_with_columns_that_are_never_null() -> None:
    with_vector = {
        table.name: table
        for table in SQLModel.metadata.tables.values()
        if any(isinstance(column.type, Vector) for column in table.columns)
    }
    assert set(with_vector) == {kind.value for kind in Kind} == {kind.value for kind in EMBEDDABLES}
    for embeddable in EMBEDDABLES.values():
        table = with_vector[embeddable.table]
        assert "text_changed_at" in table.columns
        assert not any(table.columns[column].nullable for column in embeddable.columns)
