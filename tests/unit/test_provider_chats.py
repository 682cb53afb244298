"""What a server is asked for in a chat: a schema that strict mode takes, a context that fits, and what it knows of."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._strict_schemas import fault_of
from winnow.providers.chatting import with_schema, without_thinking
from winnow.providers.ollama_chat import context_for
from winnow.providers.openai_chat import Dialect
from winnow.providers.strict_schema import strict_schema

NULL = {"type": "null"}


def closed(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "string"}, {"type": "string"}),
        ({"type": "object"}, closed()),
        (
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            closed(a={"type": "integer"}),
        ),
        ({"properties": {"a": {"type": "string"}}}, closed(a={"type": ["string", "null"]}) | {"type": "object"}),
        (
            {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "additionalProperties": True},
            closed(a={"type": ["string", "null"]}),
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}}},
            closed(a={"type": ["string", "null"], "enum": ["x", "y", None]}),
        ),
        ({"type": "object", "properties": {"a": {"enum": ["x"]}}}, closed(a={"anyOf": [{"enum": ["x"]}, NULL]})),
        (
            {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
            closed(a={"type": ["string", "null"]}),
        ),
        (
            {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, NULL], "default": None}}},
            closed(a={"anyOf": [{"type": "string"}, NULL]}),
        ),
        (
            {"type": "object", "properties": {"a": {"oneOf": [{"type": "object"}, {"type": "string"}]}}},
            closed(a={"anyOf": [{"anyOf": [closed(), {"type": "string"}]}, NULL]}),
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/A", "description": "x"}}, "required": ["a"]},
            closed(a={"$ref": "#/$defs/A"}),
        ),
        (
            {"type": "object", "properties": {"a": {"allOf": [{"$ref": "#/$defs/A"}], "title": "x"}}},
            closed(a={"anyOf": [{"$ref": "#/$defs/A"}, NULL]}),
        ),
        (
            {"type": "array", "items": {"type": "object", "properties": {"default": {"type": "string"}}}},
            {"type": "array", "items": closed(default={"type": ["string", "null"]})},
        ),
        (
            {
                "$schema": "x",
                "$defs": {"A": {"type": "object", "properties": {"b": {"const": 1}}}},
                "$ref": "#/$defs/A",
            },
            {"$defs": {"A": closed(b={"anyOf": [{"const": 1}, NULL]})}, "$ref": "#/$defs/A"},
        ),
    ],
)
def test_a_schema_in_strict_form(schema: dict[str, Any], strict: dict[str, Any]) -> None:
    before = copy.deepcopy(schema)
    assert strict_schema(schema) == strict
    assert schema == before


LEAVES = st.sampled_from(
    [{"type": "string"}, {"type": "integer", "default": 3}, {"enum": ["a"]}, {"const": 1}, {"$ref": "#/$defs/A"}]
)
NAMES = st.sampled_from(["a", "b", "type", "items", "default", "$ref"])


def larger(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": parts}),
        st.fixed_dictionaries({"anyOf": st.lists(parts, min_size=1, max_size=3)}),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(NAMES, parts, max_size=3)},
            optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": st.booleans()},
        ),
    )


@given(st.recursive(LEAVES, larger, max_leaves=12))
def test_openai_finds_no_fault_with_any_of_them(schema: dict[str, Any]) -> None:
    strict = strict_schema(schema)
    assert fault_of({"name": "answer", "schema": strict}) is None
    assert strict_schema(strict) == strict


@given(st.integers(1, 200_000), st.none() | st.integers(1, 200_000), st.integers(1, 50_000))
def test_a_context_holds_the_tokens_and_is_never_above_the_models_own(
    tokens: int, largest: int | None, least: int
) -> None:
    context = context_for(tokens, largest=largest, least=least)
    if context is None:
        assert largest is not None
        assert tokens > largest
    else:
        assert context >= tokens
        assert largest is None or context <= largest
        assert context in (largest, least) or context & context - 1 == 0


@pytest.mark.parametrize(
    ("words", "plainer"),
    [
        ("Unrecognized request argument supplied: max_completion_tokens", Dialect(limit="max_tokens")),
        ("'temperature' does not support 0 with this model", Dialect(has_temperature=False)),
        ("'response_format.type' must be 'json_object' or 'text'", Dialect(held_by="json_object")),
        ("Invalid schema for response_format 'answer'", Dialect(held_by="json_object")),
        ("JSON mode is not enabled for this model", Dialect(held_by="json_object")),
        ("Failed to initialize samplers: failed to parse grammar", Dialect(held_by="json_object")),
        ("'$.input' is invalid", None),
        ("", None),
    ],
)
def test_what_is_tried_after_a_refusal(words: str, plainer: Dialect | None) -> None:
    assert Dialect().plainer(words, has_schema=True) == plainer


@given(
    st.lists(
        st.sampled_from(["max_completion_tokens", "max_tokens", "temperature", "json_schema", "x"]), max_size=4
    ).map(" ".join),
    st.sampled_from([Dialect(), Dialect(limit="max_tokens")]),
)
def test_a_server_that_refuses_everything_is_not_asked_for_ever(words: str, first: Dialect) -> None:
    dialect: Dialect | None = first
    tried: set[Dialect] = set()
    while dialect is not None:
        assert dialect not in tried
        tried.add(dialect)
        dialect = dialect.plainer(words, has_schema=True, tried=tried)
    assert len(tried) <= 12


def test_the_limit_that_is_refused_is_called_by_its_other_name() -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    assert Dialect(limit="max_tokens").plainer(words, has_schema=True) == Dialect()


def test_a_schema_is_no_matter_without_one() -> None:
    assert Dialect().plainer("response_format", has_schema=False) is None
    assert with_schema("Find.", None) == "Find."
    assert '{"type":"object"}' in with_schema("Find.", {"type": "object"})


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("plain", "plain"),
        ("<think>so</think>\n\n{}", "{}"),
        ("so it is</think>{}", "{}"),
        ("<think>without end", ""),
        ('{"quote": "<think></think>"}', '{"quote": "<think></think>"}'),
        ('["</think>"]', '["</think>"]'),
        ("", ""),
    ],
)
def test_thoughts_are_no_answer(text: str, answer: str) -> None:
    assert without_thinking(text) == answer
