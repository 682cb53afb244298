"""From a provider to its embedder: the only place that switches on the protocol."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import InvalidSettings
from winnow.providers.address import ServerAddress, parse_address
from winnow.providers.base import FINGERPRINT_TEXT
from winnow.providers.chosen import parse_embedder, parse_extractor, parse_scorer
from winnow.providers.models import Prefixes, known_model, known_prefixes
from winnow.providers.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.providers.base import Embedder, LanguageModel, ModelCatalogue, ServedModel
    from winnow.providers.batching import RequestLimits
    from winnow.providers.endpoint import Endpoint
    from winnow.providers.ollama_client import OllamaServer
    from winnow.providers.openai_client import OpenAIServer
    from winnow.providers.ways import Way
    from winnow.settings import Settings


# Requests at once to all models of a server together, before anything was measured and at most. Of Ollama's, one is
# worked while the next one travels; of more, it lets all others wait. OpenAI takes many, a server on one GPU few.
_AT_ONCE = {ProviderKind.OLLAMA: (2, 2), ProviderKind.OPENAI: (4, 32)}

_URL_VARIABLES = {ProviderKind.OLLAMA: "WINNOW_OLLAMA_URL", ProviderKind.OPENAI: "WINNOW_OPENAI_URL"}
_KEY_VARIABLE = "WINNOW_OPENAI_API_KEY"


def build_embedder(settings: Settings) -> Embedder:
    """The embedder the settings choose; nothing is connected or loaded before its first text.

    Raises:
        InvalidSettings: no such embedder, an address that is not a URL, or OpenAI's own service without a key.
    """
    kind, model = parse_embedder(settings.embedder)
    return build_embedder_of(
        provider_of_settings(settings, kind),
        model,
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
        document_prefix=settings.document_prefix,
        query_prefix=settings.query_prefix,
    )


def check_embedder(settings: Settings) -> None:
    """Raises `InvalidSettings` for an embedder, scorer or extractor that cannot be; makes and loads nothing."""
    parse_extractor(settings.extractor)
    for chosen in (parse_embedder(settings.embedder), parse_scorer(settings.scorer)):
        if chosen is not None:
            provider_of_settings(settings, chosen[0])


def provider_of_settings(settings: Settings, kind: ProviderKind) -> Provider:
    """The provider of this kind as the settings describe it: named like its kind, without an id.

    Raises:
        InvalidSettings: its address is not a URL, or is OpenAI's own service without a key.
    """
    urls = {ProviderKind.OLLAMA: settings.ollama_url, ProviderKind.OPENAI: settings.openai_url}
    provider = Provider(
        kind=kind,
        name=kind.value,
        urls=(urls[kind],) if kind in urls else (),
        api_key=settings.key_for_openai if kind is ProviderKind.OPENAI else None,
    )
    if kind in urls:
        addresses_of(provider)
    return provider


def addresses_of(provider: Provider) -> list[ServerAddress]:
    """Where its servers are, the preferred one first; messages about them will name the place to mend.

    Raises:
        InvalidSettings: it has no URL, one of them is none, or OpenAI's own service is to be asked without a key.
    """
    setting = _url_setting(provider)
    if not provider.urls:
        raise InvalidSettings(f"{setting} is not set; give one like http://host:port")
    port = provider.kind.traits.default_port
    addresses = [parse_address(url, setting=setting, default_port=port) for url in provider.urls]
    has_key = provider.api_key is not None and bool(provider.api_key.get_secret_value())
    if any(address.is_openai for address in addresses) and not has_key:
        raise InvalidSettings(f"{key_setting(provider)} is not set, and OpenAI's own service wants a key")
    return addresses


def build_embedder_of(
    provider: Provider,
    model: str,
    *,
    first_timeout_seconds: float,
    timeout_seconds: float,
    document_prefix: str | None = None,
    query_prefix: str | None = None,
    fingerprint: Sequence[float] | None = None,
    ways: Ways | None = None,
) -> Embedder:
    """An embedder with this model of this provider; nothing is connected or loaded before its first text.

    Args:
        provider: with at least one URL, but for the built-in model.
        model: as the provider's servers name it; the built-in provider has one only.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.
        document_prefix: instead of the provider's own, which is instead of the model's own.
        query_prefix: the same for searches.
        fingerprint: `fingerprint_of` the vector space; servers whose vectors are of another one are not used.
        ways: that the process shares; None: this embedder has its own.

    Raises:
        InvalidSettings: an address that is not a URL, or OpenAI's own service without a key.
    """
    chosen = Prefixes() if provider.kind is ProviderKind.LOCAL else known_prefixes(model)
    for own in ((provider.document_prefix, provider.query_prefix), (document_prefix, query_prefix)):
        chosen = Prefixes(
            document=chosen.document if own[0] is None else own[0], query=chosen.query if own[1] is None else own[1]
        )
    if provider.kind is ProviderKind.LOCAL:
        from winnow.providers.local import LocalEmbedder  # noqa: PLC0415 - each provider's libraries load when chosen

        return LocalEmbedder(document_prefix=chosen.document, query_prefix=chosen.query)
    from winnow.providers.concurrency import Measured  # noqa: PLC0415
    from winnow.providers.failover import FailOver  # noqa: PLC0415
    from winnow.providers.instrumentation import Instrumented  # noqa: PLC0415
    from winnow.providers.served import ServedEmbedder  # noqa: PLC0415

    ways = ways or Ways()
    timeouts = _Timeouts(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
    served = (_ollama if provider.kind is ProviderKind.OLLAMA else _openai)(provider, model, timeouts, ways)
    endpoints: list[Endpoint] = [Instrumented(endpoint) for endpoint in served.endpoints]
    endpoint = endpoints[0]
    if len(endpoints) > 1 or fingerprint is not None:
        endpoint = FailOver(endpoints, sentence=chosen.document + FINGERPRINT_TEXT, fingerprint=fingerprint)
    way = _way(provider, served.model, ways)
    if way.concurrency is not None:
        endpoint = Measured(endpoint, way.concurrency)
    return ServedEmbedder(
        identity=EmbedderIdentity(
            provider=provider.kind.value,
            model=served.model,
            document_prefix=chosen.document,
            query_prefix=chosen.query,
        ),
        endpoint=endpoint,
        limits=served.limits,
        line=way.line,
        context=served.context,
    )


def is_own_service(provider: Provider) -> bool:
    """Whether it is the service of the company whose protocol it speaks, which publishes its prices."""
    return provider.kind is ProviderKind.OPENAI and all(address.is_openai for address in addresses_of(provider))


def pace_name(provider: Provider, model: str) -> str:
    """By which all processes know the pace of a provider with its key, which cannot be told from it.

    Limits that a person set are the provider's. Those that servers tell are mostly a model's.
    """
    preferred = addresses_of(provider)[0]
    secrets = [one.get_secret_value() for one in (preferred.basic_auth, provider.api_key) if one is not None]
    is_set = provider.requests_per_minute is not None or provider.tokens_per_minute is not None
    of = "\n".join([provider.kind.value, preferred.url, *secrets, "" if is_set else model])
    return f"{preferred.host} {hashlib.sha256(of.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeouts:
    """For one answer: the first one, and all others."""

    first_seconds: float
    usual_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What the protocol decides: the model in its space, its context, and how each of its servers is asked."""

    model: str
    endpoints: list[Endpoint]
    limits: RequestLimits
    context: int | None


def _ollama(provider: Provider, model: str, timeouts: _Timeouts, ways: Ways) -> _Served:
    addresses = addresses_of(provider)
    from winnow.providers.ollama import LIMITS, MOST_CONTEXT, OllamaEndpoint  # noqa: PLC0415

    own_name = model.removesuffix(provider.kind.traits.own_tag)  # one model, one vector space
    known = _known_context(model)
    context = None if known is None else min(known, MOST_CONTEXT)
    endpoints: list[Endpoint] = [
        OllamaEndpoint(
            server=_ollama_server(provider, address, ways),
            model=own_name,
            first_timeout_seconds=timeouts.first_seconds,
            timeout_seconds=timeouts.usual_seconds,
            context=context,
        )
        for address in addresses
    ]
    return _Served(model=own_name, endpoints=endpoints, limits=LIMITS, context=context)


def _openai(provider: Provider, model: str, timeouts: _Timeouts, ways: Ways) -> _Served:
    addresses = addresses_of(provider)
    from winnow.providers.openai import LIMITS, OpenAIEndpoint  # noqa: PLC0415 - 0.5 s

    endpoints: list[Endpoint] = [
        OpenAIEndpoint(
            server=_openai_server(provider, address, ways),
            model=model,
            first_timeout_seconds=timeouts.first_seconds,
            timeout_seconds=timeouts.usual_seconds,
        )
        for address in addresses
    ]
    return _Served(model=model, endpoints=endpoints, limits=LIMITS, context=_known_context(model))


def _known_context(model: str) -> int | None:
    known = known_model(model)
    return known.context if known and known.use == "embedding" else None


def _ollama_server(provider: Provider, address: ServerAddress, ways: Ways) -> OllamaServer:
    from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

    return OllamaServer(address, api_key=provider.api_key, key_setting=key_setting(provider), ways=ways)


def _openai_server(provider: Provider, address: ServerAddress, ways: Ways) -> OpenAIServer:
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    return OpenAIServer(address, api_key=provider.api_key, key_setting=key_setting(provider), ways=ways)


def _way(provider: Provider, model: str, ways: Ways) -> Way:
    start, most = _AT_ONCE[provider.kind]
    return ways.to(provider, addresses_of(provider)[0], model, start=start, most=most)


def key_setting(provider: Provider) -> str:
    """Where the provider's key is set, for messages."""
    return _KEY_VARIABLE if provider.id is None else f"the key of {provider.name} ({_edit(provider)})"


def build_language_model(
    provider: Provider, model: str, *, first_timeout_seconds: float, timeout_seconds: float, ways: Ways | None = None
) -> LanguageModel:
    """A language model of the provider; nothing is connected before its first prompt.

    Args:
        provider: with at least one URL.
        model: as its servers name it.
        first_timeout_seconds: for one answer while the model may have to be loaded.
        timeout_seconds: for one answer otherwise.
        ways: that the process shares; None: this model has its own.

    Raises:
        InvalidSettings: the built-in model, no URL or one that is none, or OpenAI's own service without a key.
    """
    if provider.kind is ProviderKind.LOCAL:
        raise InvalidSettings("the built-in model makes vectors and does not chat; choose ollama:MODEL or openai:MODEL")
    addresses = addresses_of(provider)
    from winnow.providers.queued import QueuedLanguageModel  # noqa: PLC0415
    from winnow.providers.spares import SparedLanguageModel  # noqa: PLC0415

    ways = ways or Ways()
    make = _ollama_chat if provider.kind is ProviderKind.OLLAMA else _openai_chat
    timeouts = _Timeouts(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
    models = [make(provider, address, model, timeouts, ways) for address in addresses]
    # Ollama works the prompts of one model one by one, unless told otherwise, and loads one large model in the room of
    # another.
    one_by_one = provider.kind is ProviderKind.OLLAMA and provider.at_once is None
    return QueuedLanguageModel(
        models[0] if len(models) == 1 else SparedLanguageModel(models),
        way=_way(provider, model, ways),
        one_by_one=one_by_one,
    )


def build_catalogue(provider: Provider, *, timeout_seconds: float = 10, ways: Ways | None = None) -> ModelCatalogue:
    """What the provider's server says of its models. Raises as `build_language_model`, but for the built-in model."""
    if provider.kind is ProviderKind.LOCAL:
        from winnow.providers.local_catalogue import LocalCatalogue  # noqa: PLC0415

        return LocalCatalogue()
    addresses = addresses_of(provider)
    from winnow.providers.spares import SparedCatalogue  # noqa: PLC0415

    ways = ways or Ways()
    make = _ollama_catalogue if provider.kind is ProviderKind.OLLAMA else _openai_catalogue
    catalogues = [make(provider, address, timeout_seconds, ways) for address in addresses]
    return catalogues[0] if len(catalogues) == 1 else SparedCatalogue(catalogues)


async def served_models(provider: Provider, *, timeout_seconds: float) -> list[ServedModel]:
    """All models that the provider's server has, by name. Raises as a `ModelCatalogue` does."""
    catalogue = build_catalogue(provider, timeout_seconds=timeout_seconds)
    try:
        return await catalogue.models()
    finally:
        await catalogue.close()


def _ollama_chat(
    provider: Provider, address: ServerAddress, model: str, timeouts: _Timeouts, ways: Ways
) -> LanguageModel:
    from winnow.providers.ollama_chat import OllamaChat  # noqa: PLC0415

    return OllamaChat(
        server=_ollama_server(provider, address, ways),
        model=model,
        first_timeout_seconds=timeouts.first_seconds,
        timeout_seconds=timeouts.usual_seconds,
    )


def _openai_chat(
    provider: Provider, address: ServerAddress, model: str, timeouts: _Timeouts, ways: Ways
) -> LanguageModel:
    from winnow.providers.openai_chat import Dialect, OpenAIChat  # noqa: PLC0415

    return OpenAIChat(
        server=_openai_server(provider, address, ways),
        model=model,
        first_timeout_seconds=timeouts.first_seconds,
        timeout_seconds=timeouts.usual_seconds,
        dialect=Dialect() if address.is_openai else Dialect(limit="max_tokens"),
    )


def _ollama_catalogue(provider: Provider, address: ServerAddress, timeout_seconds: float, ways: Ways) -> ModelCatalogue:
    from winnow.providers.ollama_catalogue import OllamaCatalogue  # noqa: PLC0415

    return OllamaCatalogue(server=_ollama_server(provider, address, ways), timeout_seconds=timeout_seconds)


def _openai_catalogue(provider: Provider, address: ServerAddress, timeout_seconds: float, ways: Ways) -> ModelCatalogue:
    from winnow.providers.openai_catalogue import OpenAICatalogue  # noqa: PLC0415

    return OpenAICatalogue(server=_openai_server(provider, address, ways), timeout_seconds=timeout_seconds)


def _url_setting(provider: Provider) -> str:
    if provider.id is None and provider.kind in _URL_VARIABLES:
        return _URL_VARIABLES[provider.kind]
    return f"the URL of {provider.name} ({_edit(provider)})"


def _edit(provider: Provider) -> str:
    return f"winnow providers edit {provider.name}"
