"""What model servers the environment offers, and how they become providers; nothing remote is asked unbidden."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

from winnow.domain.providers import Provider, ProviderKind
from winnow.errors import KeyRefused, ProviderNotFound, ProviderRefused, WinnowError
from winnow.pipeline.provider_rules import USUAL_URLS, without_key
from winnow.pipeline.providers import ProviderChanges, check_provider, create_provider, edit_provider
from winnow.providers.address import check_reachable_place, parse_address
from winnow.providers.factory import OLLAMA_PORT, served_models
from winnow.providers.models import model_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from winnow.pipeline.providers import Checked, Registry
    from winnow.providers.base import ServedModel
    from winnow.settings import Settings
    from winnow.storage.providers import StoredProvider

# The best of those that a server has is proposed. Sizes and qualities: the models' own cards.
PREFERRED = (
    "text-embedding-3-small", "qwen3-embedding", "mxbai-embed-large", "bge-m3", "embeddinggemma", "nomic-embed-text",
    "all-minilm",
)  # fmt: skip
LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model server that the environment names.

    Attributes:
        kind: its protocol, which is also the name it gets as a provider.
        url: without credentials.
        said_by: the variable that names it, or the machine itself.
        is_local: on loopback, so that looking at it tells nobody anything.
        api_key: in the clear.
    """

    kind: ProviderKind
    url: str
    said_by: str
    is_local: bool
    api_key: SecretStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What an offered server answered: its models, or what is wrong. Both are None before it was asked."""

    offer: Offer
    models: Sequence[ServedModel] | None = None
    trouble: str | None = None

    @property
    def embedding_model(self) -> str | None:
        """The one to propose."""
        return proposed(self.models or ())


def offers(settings: Settings) -> list[Offer]:
    """What the settings and the variables of Ollama and OpenAI name; an Ollama on this machine is where it usually is.

    Raises:
        InvalidSettings: one of them is no URL, or of no possible model server.
    """
    if settings.ambient_ollama_url:
        found = [_offer(ProviderKind.OLLAMA, ollama_url(settings.ambient_ollama_url), "OLLAMA_HOST")]
    else:
        said_by = "WINNOW_OLLAMA_URL" if "ollama_url" in settings.model_fields_set else "this machine"
        found = [_offer(ProviderKind.OLLAMA, settings.ollama_url, said_by)]
    key, url = settings.ambient_openai_key, settings.ambient_openai_url
    if key or url:
        named = " and ".join(
            name for name, value in (("OPENAI_BASE_URL", url), ("OPENAI_API_KEY", key)) if value is not None
        )
        openai = _offer(ProviderKind.OPENAI, url or USUAL_URLS[ProviderKind.OPENAI], named)
        found.append(replace(openai, api_key=key))
    return found


def ollama_url(host: str) -> str:
    """The URL in `OLLAMA_HOST`, read as Ollama reads it; an address to listen on everywhere means this machine.

    https://github.com/ollama/ollama/blob/main/envconfig/config.go (Host)
    """
    written = host.strip().strip("\"'")
    scheme, found, rest = written.partition("://")
    if not found:
        scheme, rest = "http", written
    default_port = {"http": "80", "https": "443"}.get(scheme, "") if found else str(OLLAMA_PORT)
    place, slash, path = rest.partition("/")
    if "@" in place:  # no form of Ollama's; whoever reads the URL says what is wrong with credentials
        return written
    parted = re.fullmatch(r"(\[[^\]]*\]|[^:]*):([^:]*)", place)
    name, port = parted.groups() if parted else (place, default_port)
    name = name.strip("[]")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        port = default_port
    if not name or _is_everywhere(name):
        name = "127.0.0.1"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}{slash}{path}".rstrip(":/")


def proposed(models: Sequence[ServedModel]) -> str | None:
    """The best known model for embeddings, else any that says it is one; None: there is none."""
    able = [model.name for model in models if model.embeds is not False]
    for wanted in PREFERRED:
        for name in able:
            if model_name(name) == wanted:
                return name.removesuffix(":latest")
    sure = [model.name for model in models if model.embeds or (model.embeds is None and "embed" in model.name.lower())]
    return sure[0].removesuffix(":latest") if sure else None


async def look(offer: Offer, *, with_key: bool) -> Look:
    """Asks an offered server for its models. Without consent that is for local ones only, and without the key."""
    provider = Provider(
        kind=offer.kind,
        name=offer.kind.value,
        urls=(offer.url,),
        api_key=offer.api_key if with_key else None,
    )
    try:
        await check_reachable_place(parse_address(offer.url, setting=offer.said_by))
        return Look(offer=offer, models=await served_models(provider, timeout_seconds=LOOK_SECONDS))
    except KeyRefused as error:
        if not with_key and offer.api_key:
            return Look(offer=offer)  # it is there, and has to be asked with the key
        trouble = str(error)
    except WinnowError as error:
        trouble = str(error)
    return Look(offer=offer, trouble=without_key(trouble, [offer.api_key]))


async def write_down(tools: Registry, found: Look) -> tuple[StoredProvider, Checked]:
    """Makes a provider of it, or of the one of that name, and checks that; done twice it changes nothing.

    Raises:
        ProviderRefused: that name has a provider of another kind, or with a key that was given for another server.
        SetupFault: the key cannot be encrypted.
    """
    offer = found.offer
    given = ProviderChanges(urls=(offer.url,), active=True)
    if offer.api_key is not None:
        given["api_key"] = offer.api_key
    try:
        known = await tools.store.get(offer.kind.value)
    except ProviderNotFound:
        given["embedding_model"] = found.embedding_model
        stored = await create_provider(tools, name=offer.kind.value, kind=offer.kind, given=given)
    else:
        if known.kind is not offer.kind:
            raise ProviderRefused(
                f"the provider named {known.name} is of kind {known.kind.value}; give it another name first: "
                f"winnow providers edit {known.name} --name NAME"
            )
        if known.embedding_model is None:
            given["embedding_model"] = found.embedding_model
        if offer.url in known.urls:
            given["urls"] = known.urls
        stored = await edit_provider(tools, known.id, given)
    checked = await check_provider(tools, stored)
    return stored, checked


def _offer(kind: ProviderKind, url: str, said_by: str) -> Offer:
    default_port = OLLAMA_PORT if kind is ProviderKind.OLLAMA else None
    address = parse_address(url, setting=said_by, default_port=default_port)
    if address.basic_auth is not None:
        raise ProviderRefused(
            f"{said_by} has credentials in it, which setup does not write down; add that server yourself: winnow "
            f"providers add NAME --kind {kind.value} --url URL --key -"
        )
    return Offer(kind=kind, url=address.url, said_by=said_by, is_local=address.is_loopback)


def _is_everywhere(name: str) -> bool:
    try:
        return ip_address(name).is_unspecified
    except ValueError:
        return False
