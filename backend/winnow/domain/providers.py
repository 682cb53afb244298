"""Providers as they are written down: who makes vectors and answers, and how to reach them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from pydantic import SecretStr


class ProviderKind(StrEnum):
    """The protocols: the built-in model, Ollama's, and OpenAI's with all servers that speak it."""

    LOCAL = "local"
    OLLAMA = "ollama"
    OPENAI = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider with everything needed to ask it.

    Attributes:
        id: in `llm_providers`; None: it is made of the settings (`WINNOW_OLLAMA_URL`, `WINNOW_OPENAI_URL`).
        name: as people call it, unique.
        kind: the protocol it speaks.
        urls: of servers that have the same models, the preferred one first; none for the built-in model.
        embedding_model: the one to embed with, where no other is named.
        chat_model: the one to extract with.
        api_key: in the clear, sent to these URLs only; never shown, logged, or put into a task.
        active: whether it may be used.
        document_prefix, query_prefix: instead of the model's own; None: the model's own.
        requests_per_minute, tokens_per_minute: limits to keep; None: what the server says.
        at_once: requests in flight; None: found by measuring.
    """

    kind: ProviderKind
    name: str
    id: UUID | None = None
    urls: tuple[str, ...] = ()
    embedding_model: str | None = None
    chat_model: str | None = None
    api_key: SecretStr | None = None
    active: bool = True
    document_prefix: str | None = None
    query_prefix: str | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    at_once: int | None = None
