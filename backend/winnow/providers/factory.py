"""From a provider to its embedder: the only place that switches on the protocol."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.pacing import Pace
from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import InvalidSettings
from winnow.providers.address import ServerAddress, parse_address
from winnow.providers.base import FINGERPRINT_TEXT
from winnow.providers.models import Prefixes, known_model, known_prefixes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from winnow.providers.base import Embedder, LanguageModel, ModelCatalogue, ServedModel
    from winnow.providers.batching import RequestLimits
    from winnow.providers.endpoint import Endpoint
    from winnow.providers.gate import SharedPace
    from winnow.settings import Settings

OLLAMA_PORT = 11434
OLLAMAS_OWN_TAG = ":latest"

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
    """Raises `InvalidSettings` as `build_embedder` does, but makes and loads nothing."""
    kind, _ = parse_embedder(settings.embedder)
    provider_of_settings(settings, kind)


def parse_embedder(value: str) -> tuple[ProviderKind, str]:
    """Provider and model in `local`, `ollama:MODEL[:TAG]` or `openai:MODEL`; `local` has the empty model.

    Raises:
        InvalidSettings: anything else.
    """
    kind, colon, model = value.strip().partition(":")
    if kind == ProviderKind.LOCAL and not colon:
        return ProviderKind.LOCAL, ""
    if kind in _URL_VARIABLES and model and model.isprintable() and not any(c.isspace() for c in model):
        return ProviderKind(kind), model
    raise InvalidSettings(
        f"WINNOW_EMBEDDER is {value!r}; choose local, ollama:MODEL (for example ollama:nomic-embed-text) "
        "or openai:MODEL (for example openai:text-embedding-3-small)"
    )


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
    port = OLLAMA_PORT if provider.kind is ProviderKind.OLLAMA else None
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
    pace: SharedPace | None = None,
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
        pace: that all processes keep together towards this provider (`pace_name`); None: this one keeps its own.

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
    from winnow.providers.concurrency import Concurrency, Measured  # noqa: PLC0415
    from winnow.providers.failover import FailOver  # noqa: PLC0415
    from winnow.providers.gate import OwnGate, SharedGate  # noqa: PLC0415
    from winnow.providers.instrumentation import Instrumented  # noqa: PLC0415
    from winnow.providers.line import Line  # noqa: PLC0415
    from winnow.providers.served import ServedEmbedder  # noqa: PLC0415

    timeouts = _Timeouts(first_seconds=first_timeout_seconds, usual_seconds=timeout_seconds)
    served = (_ollama if provider.kind is ProviderKind.OLLAMA else _openai)(provider, model, timeouts)
    endpoints: list[Endpoint] = [Instrumented(endpoint) for endpoint in served.endpoints]
    endpoint = endpoints[0]
    if len(endpoints) > 1 or fingerprint is not None:
        endpoint = FailOver(endpoints, sentence=chosen.document + FINGERPRINT_TEXT, fingerprint=fingerprint)
    at_once: int | Concurrency = provider.at_once or Concurrency(start=served.start_at_once, most=served.most_at_once)
    if isinstance(at_once, Concurrency):
        endpoint = Measured(endpoint, at_once)
    limits = Pace(
        most_requests_per_minute=provider.requests_per_minute, most_tokens_per_minute=provider.tokens_per_minute
    )
    gate = OwnGate(limits) if pace is None else SharedGate(pace, own=limits)
    known = known_model(model)
    return ServedEmbedder(
        identity=EmbedderIdentity(
            provider=provider.kind.value,
            model=served.model,
            document_prefix=chosen.document,
            query_prefix=chosen.query,
        ),
        endpoint=endpoint,
        limits=served.limits,
        line=Line(at_once=at_once, gate=gate),
        context=known.context if known and known.use == "embedding" else None,
    )


def is_own_service(provider: Provider) -> bool:
    """Whether it is the service of the company whose protocol it speaks, which publishes its prices."""
    return provider.kind is ProviderKind.OPENAI and all(address.is_openai for address in addresses_of(provider))


def pace_name(provider: Provider) -> str:
    """By which all processes know the pace of a provider with its key, which cannot be told from it."""
    secret = "" if provider.api_key is None else provider.api_key.get_secret_value()
    of = "\n".join([provider.kind.value, *provider.urls, secret])
    return f"{provider.name} {hashlib.sha256(of.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timeouts:
    """For one answer: the first one, and all others."""

    first_seconds: float
    usual_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What the protocol decides: the model's name in its space, an endpoint for each server, and how they are asked."""

    model: str
    endpoints: list[Endpoint]
    limits: RequestLimits
    start_at_once: int
    most_at_once: int


def _ollama(provider: Provider, model: str, timeouts: _Timeouts) -> _Served:
    addresses = addresses_of(provider)
    from winnow.providers.ollama import AT_ONCE, LIMITS, OllamaEndpoint  # noqa: PLC0415
    from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

    own_name = model.removesuffix(OLLAMAS_OWN_TAG)  # one model, one vector space
    endpoints: list[Endpoint] = [
        OllamaEndpoint(
            server=OllamaServer(address, api_key=provider.api_key, key_setting=key_setting(provider)),
            model=own_name,
            first_timeout_seconds=timeouts.first_seconds,
            timeout_seconds=timeouts.usual_seconds,
        )
        for address in addresses
    ]
    return _Served(model=own_name, endpoints=endpoints, limits=LIMITS, start_at_once=AT_ONCE, most_at_once=AT_ONCE)


def _openai(provider: Provider, model: str, timeouts: _Timeouts) -> _Served:
    addresses = addresses_of(provider)
    from winnow.providers.openai import LIMITS, MOST_AT_ONCE, START_AT_ONCE, OpenAIEndpoint  # noqa: PLC0415 - 0.5 s
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    endpoints: list[Endpoint] = [
        OpenAIEndpoint(
            server=OpenAIServer(address, api_key=provider.api_key, key_setting=key_setting(provider)),
            model=model,
            first_timeout_seconds=timeouts.first_seconds,
            timeout_seconds=timeouts.usual_seconds,
        )
        for address in addresses
    ]
    return _Served(
        model=model, endpoints=endpoints, limits=LIMITS, start_at_once=START_AT_ONCE, most_at_once=MOST_AT_ONCE
    )


def key_setting(provider: Provider) -> str:
    """Where the provider's key is set, for messages."""
    return _KEY_VARIABLE if provider.id is None else f"the key of {provider.name} ({_edit(provider)})"


def build_language_model(
    provider: Provider, model: str, *, first_timeout_seconds: float, timeout_seconds: float
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
        for address in addresses_of(provider)
    ]
    return models[0] if len(models) == 1 else SparedLanguageModel(models)


def build_catalogue(provider: Provider, *, timeout_seconds: float = 10) -> ModelCatalogue:
    """What the provider's server says of its models. Raises as `build_language_model`, but for the built-in model."""
    if provider.kind is ProviderKind.LOCAL:
        from winnow.providers.local_catalogue import LocalCatalogue  # noqa: PLC0415

        return LocalCatalogue()
    from winnow.providers.spares import SparedCatalogue  # noqa: PLC0415

    catalogues = [_catalogue(provider, address, timeout_seconds) for address in addresses_of(provider)]
    return catalogues[0] if len(catalogues) == 1 else SparedCatalogue(catalogues)


async def served_models(provider: Provider, *, timeout_seconds: float) -> list[ServedModel]:
    """All models that the provider's server has, by name. Raises as a `ModelCatalogue` does."""
    catalogue = build_catalogue(provider, timeout_seconds=timeout_seconds)
    try:
        return await catalogue.models()
    finally:
        await catalogue.close()


def _language_model(
    provider: Provider, address: ServerAddress, model: str, first_timeout_seconds: float, timeout_seconds: float
) -> LanguageModel:
    if provider.kind is ProviderKind.OLLAMA:
        from winnow.providers.ollama_chat import OllamaChat  # noqa: PLC0415
        from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

        return OllamaChat(
            server=OllamaServer(address, api_key=provider.api_key, key_setting=key_setting(provider)),
            model=model,
            first_timeout_seconds=first_timeout_seconds,
            timeout_seconds=timeout_seconds,
            at_once=provider.at_once,
        )
    from winnow.providers.openai_chat import Dialect, OpenAIChat  # noqa: PLC0415
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    return OpenAIChat(
        server=OpenAIServer(address, api_key=provider.api_key, key_setting=key_setting(provider)),
        model=model,
        first_timeout_seconds=first_timeout_seconds,
        timeout_seconds=timeout_seconds,
        at_once=provider.at_once,
        dialect=Dialect() if address.is_openai else Dialect(limit="max_tokens"),
    )


def _catalogue(provider: Provider, address: ServerAddress, timeout_seconds: float) -> ModelCatalogue:
    if provider.kind is ProviderKind.OLLAMA:
        from winnow.providers.ollama_catalogue import OllamaCatalogue  # noqa: PLC0415
        from winnow.providers.ollama_client import OllamaServer  # noqa: PLC0415

        return OllamaCatalogue(
            server=OllamaServer(address, api_key=provider.api_key, key_setting=key_setting(provider)),
            timeout_seconds=timeout_seconds,
        )
    from winnow.providers.openai_catalogue import OpenAICatalogue  # noqa: PLC0415
    from winnow.providers.openai_client import OpenAIServer  # noqa: PLC0415

    server = OpenAIServer(address, api_key=provider.api_key, key_setting=key_setting(provider))
    return OpenAICatalogue(server=server, timeout_seconds=timeout_seconds)


def _url_setting(provider: Provider) -> str:
    if provider.id is None and provider.kind in _URL_VARIABLES:
        return _URL_VARIABLES[provider.kind]
    return f"the URL of {provider.name} ({_edit(provider)})"


def _edit(provider: Provider) -> str:
    return f"winnow providers edit {provider.name}"
