"""How the settings name models: a provider, a colon, and the model as the provider's server calls it."""

from __future__ import annotations

from winnow.domain.providers import SERVED, ProviderKind
from winnow.errors import InvalidSettings


def parse_embedder(value: str) -> tuple[ProviderKind, str]:
    """Provider and model in `local`, `ollama:MODEL[:TAG]` or `openai:MODEL`; `local` has the empty model.

    Raises:
        InvalidSettings: anything else.
    """
    kind, colon, model = value.strip().partition(":")
    if kind == ProviderKind.LOCAL and not colon:
        return ProviderKind.LOCAL, ""
    if kind in SERVED and _may_be_model(model):
        return ProviderKind(kind), model
    raise InvalidSettings(
        f"WINNOW_EMBEDDER is {value!r}; choose local, ollama:MODEL (for example ollama:nomic-embed-text) "
        "or openai:MODEL (for example openai:text-embedding-3-small)"
    )


def parse_scorer(value: str) -> tuple[ProviderKind, str] | None:
    """Provider and model in `ollama:MODEL[:TAG]` or `openai:MODEL`; None for `rules`.

    Raises:
        InvalidSettings: anything else.
    """
    if value.strip() == "rules":
        return None
    kind, _, model = value.strip().partition(":")
    if kind in SERVED and _may_be_model(model):
        return ProviderKind(kind), model
    raise InvalidSettings(
        f"WINNOW_SCORER is {value!r}; choose rules, ollama:MODEL (for example ollama:qwen3:4b) or openai:MODEL"
    )


def parse_extractor(value: str) -> tuple[str, str] | None:
    """Provider, by its name or id, and model in `PROVIDER:MODEL`; None for `rules`.

    Raises:
        InvalidSettings: anything else.
    """
    if value.strip() == "rules":
        return None
    name, _, model = value.strip().partition(":")
    if name and name != ProviderKind.LOCAL and _may_be_model(name) and _may_be_model(model):
        return name, model
    raise InvalidSettings(
        f"WINNOW_EXTRACTOR is {value!r}; choose rules, or PROVIDER:MODEL (for example ollama:qwen3:8b); "
        "`winnow providers list` shows which there are"
    )


def _may_be_model(name: str) -> bool:
    return bool(name) and name.isprintable() and not any(char.isspace() for char in name)
