"""Which models the server of a provider has."""

from __future__ import annotations

import orjson

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import AnswerInvalid, SetupFault
from winnow.providers.base import ServedModel
from winnow.providers.factory import ollama_server, openai_server
from winnow.providers.patience import Patience


async def served_models(provider: Provider, *, timeout_seconds: float) -> list[ServedModel]:
    """All models of the provider's first server, by name.

    Raises:
        Transient, SetupFault: as an embedder does.
    """
    patience = Patience(first_seconds=timeout_seconds, usual_seconds=timeout_seconds)
    if provider.kind is ProviderKind.OLLAMA:
        ollama = ollama_server(provider)
        try:
            content = await ollama.get("/api/tags", patience=patience)
        finally:
            await ollama.close()
        return _named(content, "models", "name", shown=ollama.name.shown)
    if provider.kind is ProviderKind.OPENAI:
        openai = openai_server(provider)
        try:
            raw = await openai.ask(lambda client: client.models.with_raw_response.list(), patience=patience, model="")
        finally:
            await openai.close()
        return _named(raw.content, "data", "id", shown=openai.name.shown)
    raise SetupFault("the built-in model needs no provider; it is called local")


def _named(content: bytes, place: str, name: str, *, shown: str) -> list[ServedModel]:
    if content.lstrip().startswith(b"<"):
        raise SetupFault(f"{shown} answers with a web page; name a model server")
    try:
        names = sorted(str(item[name]) for item in orjson.loads(content)[place] or [])
    except (ValueError, KeyError, TypeError):
        raise AnswerInvalid(f"{shown} gave no readable list of its models") from None
    return [ServedModel(name=each) for each in names]
