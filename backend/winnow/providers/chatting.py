"""What language models of all servers share: prompts with a schema, and what of an answer is the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from winnow.errors import AnswerInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

THINKING_ENDS = "</think>"


def with_schema(system: str, schema: Mapping[str, Any] | None) -> str:
    """The system message, and that the answer is to be JSON of this schema if there is one."""
    if schema is None:
        return system
    return f"{system}\n\nAnswer with JSON only, valid by this JSON schema:\n{orjson.dumps(schema).decode()}"


def without_thinking(text: str) -> str:
    """The text after the model's thoughts, which servers that cannot tell them apart leave before the answer.

    Thoughts that never end are no answer. JSON is left as it is: there, the tag is somebody's words.
    """
    if text.lstrip().startswith(("{", "[")):
        return text
    _, tag, answer = text.partition(THINKING_ENDS)
    if tag:
        return answer.lstrip()
    return "" if text.lstrip().startswith("<think>") else text


def checked_text(text: object, *, truncated: bool, shown: str) -> str:
    """The answer's text without thoughts.

    White space alone is one if the answer was `truncated`: a model held to a schema may loop on it.

    Raises:
        AnswerInvalid: there is none, or it is no text.
    """
    answer = without_thinking(text) if isinstance(text, str) else ""
    if answer.strip() or (answer and truncated):
        return answer
    if truncated:
        raise AnswerInvalid(
            f"{shown}: the model used up its output before its answer began; choose one that does not think, or that "
            "can be told not to"
        )
    raise AnswerInvalid(f"{shown}: the model gave an empty answer")


def count(value: object) -> int | None:
    """A number of tokens as servers tell it; None for anything else."""
    return value if type(value) is int else None
