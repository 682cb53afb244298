"""JSON schemas in the form OpenAI's strict mode takes: closed objects, whose fields are all required."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NULL = {"type": "null"}

# Strict mode refuses a schema with a default; a model gives every field anyway.
_DROPPED = frozenset({"default", "$schema", "$id"})
_LISTS_OF_SCHEMAS = ("anyOf", "prefixItems")
_MAPS_OF_SCHEMAS = ("$defs", "definitions")


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with `additionalProperties: false` and all fields required in every object; a new one.

    A field that was optional may be null instead, so whoever reads the answer takes null for left out. `oneOf` becomes
    `anyOf`, an `allOf` of one is that one, and a `$ref` loses what stands beside it, for strict mode knows none of
    these. An object with free keys becomes one without; an `allOf` of several is left for the server to refuse.
    """
    if "$ref" in schema:
        schema = {keyword: schema[keyword] for keyword in ("$ref", *_MAPS_OF_SCHEMAS) if keyword in schema}
    if len(alone := schema.get("allOf", ())) == 1:
        rest = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
        return strict_schema({**rest, **alone[0]})
    strict = {keyword: value for keyword, value in schema.items() if keyword not in _DROPPED}
    if "oneOf" in strict:
        strict["anyOf"] = [*strict.get("anyOf", ()), *strict.pop("oneOf")]
    for keyword in _LISTS_OF_SCHEMAS:
        if keyword in strict:
            strict[keyword] = [strict_schema(part) for part in strict[keyword]]
    for keyword in _MAPS_OF_SCHEMAS:
        if keyword in strict:
            strict[keyword] = {name: strict_schema(part) for name, part in strict[keyword].items()}
    if isinstance(strict.get("items"), dict):
        strict["items"] = strict_schema(strict["items"])
    if "properties" in strict or "object" in _types(strict):
        strict |= _closed(strict)
    return strict


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    fields, required = schema.get("properties", {}), schema.get("required", ())
    return {
        "type": schema.get("type", "object"),
        "properties": {
            name: strict_schema(field) if name in required else _nullable(strict_schema(field))
            for name, field in fields.items()
        },
        "required": list(fields),
        "additionalProperties": False,
    }


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    types = _types(schema)
    if "null" in types or NULL in schema.get("anyOf", ()):
        return schema
    if not types or "const" in schema or "anyOf" in schema:
        return {"anyOf": [schema, NULL]}
    nullable = schema | {"type": [*types, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    types = schema.get("type", ())
    return (types,) if isinstance(types, str) else tuple(types)
