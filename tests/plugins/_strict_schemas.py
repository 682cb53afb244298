"""OpenAI's rules of a strict JSON schema, as its refusals tell them."""

from __future__ import annotations

from typing import Any


def fault_of(named: dict[str, Any]) -> str | None:
    """What OpenAI says against a strict schema, if there is anything."""
    said = f"Invalid schema for response_format '{named['name']}': In context="
    waiting: list[tuple[tuple[str, ...], Any]] = [((), named["schema"])]
    while waiting:
        place, part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(((*place, str(index)), item) for index, item in enumerate(part))
        if not isinstance(part, dict):
            continue
        if part.get("type") == "object" or "object" in (part.get("type") or ()):
            if part.get("additionalProperties") is not False:
                return f"{said}{place}, 'additionalProperties' is required to be supplied and to be false."
            missing = sorted(set(part.get("properties", {})) - set(part.get("required", ())))
            if missing:
                words = "'required' is required to be supplied and to be an array including every key in properties."
                return f"{said}{place}, {words} Missing '{missing[0]}'."
        waiting.extend(((*place, keyword), part.get(keyword)) for keyword in ("items", "anyOf"))
        for keyword in ("properties", "$defs"):
            waiting.extend(((*place, keyword, key), value) for key, value in part.get(keyword, {}).items())
    return None
