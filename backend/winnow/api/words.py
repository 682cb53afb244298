"""What is wrong with a request, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What pydantic finds, by its own name for it, in words for people.
# https://docs.pydantic.dev/latest/errors/validation_errors/
WORDS = {
    "missing": "it is missing",
    "extra_forbidden": "there is no such member",
    "string_type": "give text",
    "string_too_short": "give {min_length} or more characters",
    "string_too_long": "give {max_length} or fewer characters",
    "bool_type": "give true or false",
    "int_type": "give a whole number",
    "int_parsing": "give a whole number",
    "greater_than_equal": "give {ge} or more",
    "less_than_equal": "give {le} or less",
    "list_type": "give a list",
    "too_short": "give {min_length} or more",
    "too_long": "give {max_length} or fewer",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
    "literal_error": "choose {expected}",
    "enum": "choose {expected}",
    "timezone_aware": "give its time zone, too, as in 2026-01-31T09:30:00Z",
    "datetime_parsing": "write it like 2026-01-31T09:30:00Z",
    "datetime_from_date_parsing": "write it like 2026-01-31T09:30:00Z",
}


def sentence_of(detail: Mapping[str, Any], place: Sequence[str | int]) -> str:
    """What pydantic found at a place, in a few words."""
    said = f"{'.'.join(map(str, place))}: " if place else ""
    words = WORDS.get(detail["type"])
    found = words.format_map(detail.get("ctx", {})) if words else detail["msg"].removeprefix("Value error, ")
    return f"{said}{found}"
