"""What a model wrote as JSON is read as far as it is whole, and never more than it wrote."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.broken_json import NotJson, ReadJson, read_json

ATOMS = {"atoms": [{"a": 1, "b": ["x", "y"]}, {"a": 2, "b": []}, {"a": 3, "b": ["]}", '\\"']}], "links": []}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
OBJECTS = st.dictionaries(st.text(), VALUES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('Sure! Here it is:\n\n```\n{"a": [1, 2]}\n```\nHope that helps {}', {"a": [1, 2]}),
        ('{"a": [1, 2,], "b": {"c": 3,},}', {"a": [1, 2], "b": {"c": 3}}),
        ('{"a": "one\ntwo\x00"}', {"a": "one\ntwo\x00"}),
        ('[{"a": 1},]', [{"a": 1}]),
        ('{"a": ",]"  ,  }', {"a": ",]"}),
    ],
)
def test_what_is_whole_is_read(text: str, value: object) -> None:
    read = read_json(text)
    assert read.value == value
    assert not read.cut


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"atoms": [{"a": 1}, {"a": 2}, {"a": 3, "t": "half of a se', {"atoms": [{"a": 1}, {"a": 2}]}),
        ('{"atoms": [{"a": 1}, {"a": 2', {"atoms": [{"a": 1}]}),
        ('{"topics": [{"n": 1}], "atoms": [{"a": 1, "e": [{"q": "x"}, {"q"', {"topics": [{"n": 1}], "atoms": []}),
        ('{"atoms": [', {"atoms": []}),
        ('[{"a": 1}, {"a"', [{"a": 1}]),
        ('{"atoms": [{"a": 1}]' + " " * 1000, {"atoms": [{"a": 1}]}),
        ('{"atoms": [{"a": 1}], "links": [}', {"atoms": [{"a": 1}], "links": []}),
    ],
)
def test_of_what_is_cut_off_the_whole_items_stay(text: str, value: object) -> None:
    assert read_json(text) == ReadJson(value, mended=True, cut=True)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "I cannot do that.", "{", '{"a', '{"a": ', "{'a': 1}", "]", '{"a": 1 "b"', "[" * 100_000,
        '{"a":' * 50_000, "[" + "9" * 5000 + "]", "[1, [2, {]", "{]",
    ],
)  # fmt: skip
def test_what_is_none_is_said_to_be_none(text: str) -> None:
    try:
        value = read_json(text).value
    except NotJson:
        return
    assert value in ([], [[]], [1], [1, []]), "an empty list that was begun is the most that there is"


@given(OBJECTS)
def test_json_is_read_as_it_is(value: dict[str, object]) -> None:
    assert read_json(json.dumps(value)) == ReadJson(value)
    assert read_json(f"```json\n{json.dumps(value, ensure_ascii=False)}\n```").value == value


@given(st.integers(0, 200))
def test_cut_anywhere_it_holds_no_more_than_was_written(end: int) -> None:
    text = json.dumps(ATOMS)[:end]
    try:
        value = read_json(text).value
    except NotJson:
        return
    assert isinstance(value, dict)
    assert value.get("atoms", []) == ATOMS["atoms"][: len(value.get("atoms", []))]


@given(st.text(alphabet='{}[]",:\\ a1', max_size=60))
def test_anything_ends_in_a_value_or_none(text: str) -> None:
    with contextlib.suppress(NotJson):
        assert isinstance(read_json(text).value, dict | list)
