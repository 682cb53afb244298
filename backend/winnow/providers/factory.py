"""From the setting to the embedder: the only place that switches on the provider."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr

from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidSettings, SetupFault
from winnow.providers.address import parse_address
from winnow.providers.models import Prefixes, known_prefixes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.domain import providers as domain
    from winnow.providers.address import ServerAddress
    from winnow.providers.base import Embedder
    from winnow.providers.ollama_client import OllamaServer
    from winnow.providers.openai_client import OpenAIServer
    from winnow.settings import Settings

Provider = Literal["local", "ollama", "openai"]

OLLAMA_PORT = 11434


def build_embedder(settings: Settings) -> Embedder:
    """The embedder the settings choose; nothing is connected or loaded before its first text.

    Raises:
        InvalidSettings: no such embedder, an address that is not a URL, or OpenAI's own service without a key.
    """
    provider, model = parse_embedder(settings.embedder)
    if provider == "ollama":
        return _ollama(settings, model)
    if provider == "openai":
        return _openai(settings, model)
    from winnow.providers.local import LocalEmbedder  # noqa: PLC0415 - each provider's libraries load when chosen

    prefixes = _prefixes(settings, Prefixes())
    return LocalEmbedder(document_prefix=prefixes.document, query_prefix=prefixes.query)


def check_embedder(settings: Settings) -> None:
    """Raises `InvalidSettings` as `build_embedder` does, but makes and loads nothing."""
    provider, _ = parse_embedder(settings.embedder)
    if provider == "ollama":
        _ollama_address(settings)
    if provider == "openai":
        _openai_address(settings)


def parse_embedder(value: str) -> tuple[Provider, str]:
    """Provider and model in `local`, `ollama:MODEL[:TAG]` or `openai:MODEL`; `local` has the empty model.

    Raises:
        InvalidSettings: anything else.
    """
    provider, colon, model = value.strip().partition(":")
    if provider == "local" and not colon:
        return "local", ""
    if provider in ("ollama", "openai") and model and model.isprintable() and not any(c.isspace() for c in model):
        return ("ollama" if provider == "ollama" else "openai"), model
    raise InvalidSettings(
        f"WINNOW_EMBEDDER is {value!r}; choose local, ollama:MODEL (for example ollama:nomic-embed-text) "
        "or openai:MODEL (for example openai:text-embedding-3-small)"
    )


def _ollama(settings: Settings, model: str) -> Embedder:
    from winnow.providers.ollama import OllamaEmbedder  # noqa: PLC0415
    from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

    prefixes = _prefixes(settings, known_prefixes(model))
    return OllamaEmbedder(
        server=OllamaServer(_ollama_address(settings)),
        model=model,
        document_prefix=prefixes.document,
        query_prefix=prefixes.query,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
    )


def _ollama_address(settings: Settings) -> ServerAddress:
    return parse_address(settings.ollama_url, setting="WINNOW_OLLAMA_URL", default_port=OLLAMA_PORT)


def _openai(settings: Settings, model: str) -> Embedder:
    address = _openai_address(settings)
    from winnow.providers.openai import OpenAIEmbedder  # noqa: PLC0415 - 0.5 s
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    prefixes = _prefixes(settings, known_prefixes(model))
    return OpenAIEmbedder(
        server=OpenAIServer(address, api_key=settings.key_for_openai),
        model=model,
        document_prefix=prefixes.document,
        query_prefix=prefixes.query,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
    )


def _openai_address(settings: Settings) -> ServerAddress:
    address = parse_address(settings.openai_url, setting="WINNOW_OPENAI_URL")
    key = settings.key_for_openai
    if address.is_openai and not (key and key.get_secret_value()):
        raise InvalidSettings("WINNOW_OPENAI_API_KEY is not set, and OpenAI's own service wants a key")
    return address


def _prefixes(settings: Settings, known: Prefixes) -> Prefixes:
    document, query = settings.document_prefix, settings.query_prefix
    return Prefixes(
        document=known.document if document is None else document, query=known.query if query is None else query
    )


def build_embedder_of(
    provider: domain.Provider,
    model: str,
    *,
    first_timeout_seconds: float,
    timeout_seconds: float,
    document_prefix: str | None = None,
    query_prefix: str | None = None,
    fingerprint: Sequence[float] | None = None,
) -> Embedder:
    """The embedder of a model of a provider; nothing is connected or loaded before its first text.

    Prefixes that are None are the provider's, or else the model's own.

    Raises:
        InvalidSettings: an address that is not a URL, or of no possible model server.
        SetupFault: the built-in model is no stored provider's.
    """
    del fingerprint
    known = known_prefixes(model)
    document = next(each for each in (document_prefix, provider.document_prefix, known.document) if each is not None)
    query = next(each for each in (query_prefix, provider.query_prefix, known.query) if each is not None)
    if provider.kind is ProviderKind.OLLAMA:
        from winnow.providers.ollama import OllamaEmbedder  # noqa: PLC0415

        return OllamaEmbedder(
            server=ollama_server(provider),
            model=model,
            document_prefix=document,
            query_prefix=query,
            first_timeout_seconds=first_timeout_seconds,
            timeout_seconds=timeout_seconds,
        )
    if provider.kind is ProviderKind.OPENAI:
        from winnow.providers.openai import OpenAIEmbedder  # noqa: PLC0415

        return OpenAIEmbedder(
            server=openai_server(provider),
            model=model,
            document_prefix=document,
            query_prefix=query,
            first_timeout_seconds=first_timeout_seconds,
            timeout_seconds=timeout_seconds,
        )
    raise SetupFault("the built-in model needs no provider; it is called local")


def ollama_server(provider: domain.Provider) -> OllamaServer:
    """The connections to the first of the provider's URLs; its key is sent as proxies before an Ollama want it."""
    from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

    address = parse_address(provider.urls[0], setting=f"the URL of {provider.name}", default_port=OLLAMA_PORT)
    if provider.api_key:
        address = replace(address, basic_auth=SecretStr(f"Bearer {provider.api_key.get_secret_value()}"))
    return OllamaServer(address)


def openai_server(provider: domain.Provider) -> OpenAIServer:
    """The connections to the first of the provider's URLs."""
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    address = parse_address(provider.urls[0], setting=f"the URL of {provider.name}")
    return OpenAIServer(address, api_key=provider.api_key, key_setting=f"the key of {provider.name}")
