"""From the setting to the embedder: the only place that switches on the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from winnow.domain.providers import ProviderKind
from winnow.errors import InvalidSettings
from winnow.providers.address import parse_address
from winnow.providers.models import Prefixes, known_prefixes

if TYPE_CHECKING:
    from winnow.domain.providers import Provider as WrittenProvider
    from winnow.providers.address import ServerAddress
    from winnow.providers.base import Embedder, LanguageModel, ModelCatalogue
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


def build_language_model(
    provider: WrittenProvider, model: str, *, first_timeout_seconds: float, timeout_seconds: float
) -> LanguageModel:
    """A language model of the provider; nothing is connected before its first prompt.

    Raises:
        InvalidSettings: the built-in model, no URL or one that is none, or OpenAI's own service without a key.
    """
    if provider.kind is ProviderKind.LOCAL:
        raise InvalidSettings("the built-in model makes vectors and does not chat; choose ollama:MODEL or openai:MODEL")
    from winnow.providers.spares import SparedLanguageModel  # noqa: PLC0415

    models = [
        _language_model(provider, address, model, first_timeout_seconds, timeout_seconds)
        for address in _addresses(provider)
    ]
    return models[0] if len(models) == 1 else SparedLanguageModel(models)


def build_catalogue(provider: WrittenProvider, *, timeout_seconds: float = 10) -> ModelCatalogue:
    """What the provider's server says of its models. Raises as `build_language_model`, but for the built-in model."""
    if provider.kind is ProviderKind.LOCAL:
        from winnow.providers.local_catalogue import LocalCatalogue  # noqa: PLC0415

        return LocalCatalogue()
    from winnow.providers.spares import SparedCatalogue  # noqa: PLC0415

    catalogues = [_catalogue(provider, address, timeout_seconds) for address in _addresses(provider)]
    return catalogues[0] if len(catalogues) == 1 else SparedCatalogue(catalogues)


def _language_model(
    provider: WrittenProvider, address: ServerAddress, model: str, first_timeout_seconds: float, timeout_seconds: float
) -> LanguageModel:
    if provider.kind is ProviderKind.OLLAMA:
        from winnow.providers.ollama_chat import OllamaChat  # noqa: PLC0415
        from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

        return OllamaChat(
            server=OllamaServer(address),
            model=model,
            first_timeout_seconds=first_timeout_seconds,
            timeout_seconds=timeout_seconds,
            at_once=provider.at_once,
        )
    from winnow.providers.openai_chat import Dialect, OpenAIChat  # noqa: PLC0415
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    return OpenAIChat(
        server=OpenAIServer(address, api_key=provider.api_key, key_setting=_key_words(provider)),
        model=model,
        first_timeout_seconds=first_timeout_seconds,
        timeout_seconds=timeout_seconds,
        at_once=provider.at_once,
        dialect=Dialect() if address.is_openai else Dialect(limit="max_tokens"),
    )


def _catalogue(provider: WrittenProvider, address: ServerAddress, timeout_seconds: float) -> ModelCatalogue:
    if provider.kind is ProviderKind.OLLAMA:
        from winnow.providers.ollama_catalogue import OllamaCatalogue  # noqa: PLC0415
        from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

        return OllamaCatalogue(server=OllamaServer(address), timeout_seconds=timeout_seconds)
    from winnow.providers.openai_catalogue import OpenAICatalogue  # noqa: PLC0415
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    server = OpenAIServer(address, api_key=provider.api_key, key_setting=_key_words(provider))
    return OpenAICatalogue(server=server, timeout_seconds=timeout_seconds)


def _addresses(provider: WrittenProvider) -> list[ServerAddress]:
    """Of the provider's servers, at least one."""
    words = _url_words(provider)
    port = OLLAMA_PORT if provider.kind is ProviderKind.OLLAMA else None
    addresses = [parse_address(url, setting=words, default_port=port) for url in provider.urls]
    if not addresses:
        raise InvalidSettings(f"{words} is missing; give one like http://host:port")
    has_key = provider.api_key is not None and provider.api_key.get_secret_value()
    if provider.kind is ProviderKind.OPENAI and not has_key and any(address.is_openai for address in addresses):
        raise InvalidSettings(f"{_key_words(provider)} is missing, and OpenAI's own service wants a key")
    return addresses


def _url_words(provider: WrittenProvider) -> str:
    """Where the URL is set, as messages say it."""
    if provider.id is None:
        return "WINNOW_OLLAMA_URL" if provider.kind is ProviderKind.OLLAMA else "WINNOW_OPENAI_URL"
    return f"the URL of {provider.name} (winnow providers edit {provider.name})"


def _key_words(provider: WrittenProvider) -> str:
    """Where the key is set, as messages say it."""
    if provider.id is None:
        return "WINNOW_OPENAI_API_KEY"
    return f"the key of {provider.name} (winnow providers edit {provider.name})"
