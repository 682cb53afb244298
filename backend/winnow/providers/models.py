"""What known embedding models want before a text. Never their dimensions: those are probed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain.spaces import EmbedderIdentity
    from winnow.providers.base import InputType


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """What is put before each embedded text and before each search query."""

    document: str = ""
    query: str = ""


# From the models' own cards. A model is found by its family's name anywhere in its own, see `known_prefixes`.
_FAMILIES = {
    "mxbai-embed-large": Prefixes(query="Represent this sentence for searching relevant passages: "),
    "nomic-embed-text": Prefixes(document="search_document: ", query="search_query: "),
    "qwen3-embedding": Prefixes(
        query="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    ),
    "bge-m3": Prefixes(),
    "embeddinggemma": Prefixes(document="title: none | text: ", query="task: search result | query: "),
    "all-minilm": Prefixes(),
    "text-embedding-3-small": Prefixes(),
    "text-embedding-3-large": Prefixes(),
}


def known_prefixes(model: str) -> Prefixes:
    """The prefixes of the model's family; none for a model that is not known.

    Names differ by server: `nomic-embed-text:latest` (Ollama), `nomic-ai/nomic-embed-text-v1.5` (Hugging Face),
    `text-embedding-nomic-embed-text-v1.5` (LM Studio) are one family.
    """
    name = model_name(model)
    for family, prefixes in _FAMILIES.items():
        if re.search(rf"(?<![a-z0-9]){re.escape(family)}(?![a-z0-9])", name):
            return prefixes
    return Prefixes()


def model_name(model: str) -> str:
    """The bare name in lower case: without organisation or registry (`org/`) and tag (`:latest`, `:0.6b`)."""
    return model.lower().rsplit("/", 1)[-1].split(":", 1)[0]


def with_prefix(texts: Sequence[str], identity: EmbedderIdentity, input_type: InputType) -> list[str]:
    """The texts as the model is given them."""
    prefix = identity.query_prefix if input_type == "query" else identity.document_prefix
    return [prefix + text for text in texts]
