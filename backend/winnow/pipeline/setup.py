"""What model servers the environment offers, and how they become providers; nothing remote is asked unbidden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from winnow.domain.providers import SERVED, Provider, variable
from winnow.errors import KeyRefused, ProviderNotFound, ProviderRefused, WinnowError
from winnow.pipeline.provider_rules import without_key
from winnow.pipeline.providers import ProviderChanges, check_provider, create_provider, edit_provider
from winnow.providers.address import check_reachable_place, parse_address
from winnow.providers.factory import served_models
from winnow.providers.models import model_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from winnow.domain.providers import ProviderKind
    from winnow.pipeline.providers import Checked, Registry
    from winnow.providers.base import ServedModel
    from winnow.settings import Settings
    from winnow.storage.providers import StoredProvider

# The best of those that a server has is proposed. Sizes and qualities: the models' own cards.
PREFERRED = (
    "text-embedding-3-small", "qwen3-embedding", "mxbai-embed-large", "bge-m3", "embeddinggemma", "nomic-embed-text",
    "all-minilm",
)  # fmt: skip
# Those that are known to keep to a schema at a small price or size, best first.
PREFERRED_CHATS = ("gpt-4.1-mini", "gpt-4o-mini", "qwen3", "qwen2.5", "gemma3", "mistral-small", "llama3.1")
LOOK_SECONDS = 10.0
NOBODY = "this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model server that the environment names.

    Attributes:
        kind: its protocol, which is also the name it gets as a provider.
        url: without credentials.
        said_by: the variable that names it; `NOBODY`: none, it is looked for where it usually is.
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
        return proposed(self.models or (), own_tag=self.offer.kind.traits.own_tag)

    @property
    def chat_model(self) -> str | None:
        """The one to propose for extraction."""
        return proposed_chat(self.models or (), own_tag=self.offer.kind.traits.own_tag)


def offers(settings: Settings) -> list[Offer]:
    """What the settings and the variables of the kinds' own programs name; an Ollama may be here without being named.

    Raises:
        InvalidSettings: one of them is no URL, or of no possible model server.
    """
    return [offer for kind in SERVED if (offer := _offered(settings, kind)) is not None]


def _offered(settings: Settings, kind: ProviderKind) -> Offer | None:
    """The server of this kind; None: nobody names one, and to look where it usually is would be to ask a stranger."""
    traits = kind.traits
    url: str | None = getattr(settings, traits.own_url.field) if traits.own_url else None
    key: SecretStr | None = getattr(settings, traits.own_key.field) if traits.own_key else None
    named = [of.name for of, value in ((traits.own_url, url), (traits.own_key, key)) if of and value]
    if named:
        place = traits.read_url(url) if url else str(traits.usual_url)
        return replace(_offer(kind, place, " and ".join(named)), api_key=key)
    if traits.is_service or traits.url_setting is None:
        return None
    chosen = traits.url_setting in settings.model_fields_set
    return _offer(kind, getattr(settings, traits.url_setting), variable(traits.url_setting) if chosen else NOBODY)


def proposed(models: Sequence[ServedModel], *, own_tag: str) -> str | None:
    """The best known model for embeddings, else any that says it is one, without `own_tag`; None: there is none."""
    able = [model.name for model in models if model.embeds is not False]
    for wanted in PREFERRED:
        for name in able:
            if model_name(name) == wanted:
                return name.removesuffix(own_tag)
    sure = [model.name for model in models if model.embeds or (model.embeds is None and "embed" in model.name.lower())]
    return sure[0].removesuffix(own_tag) if sure else None


def proposed_chat(models: Sequence[ServedModel], *, own_tag: str) -> str | None:
    """The best known model that answers prompts, else any that says it is one; None: there is none for sure."""
    able = [model.name for model in models if model.chats is not False]
    for wanted in PREFERRED_CHATS:
        for name in able:
            if model_name(name) == wanted:
                return name.removesuffix(own_tag)
    sure = [model.name for model in models if model.chats]
    return sure[0].removesuffix(own_tag) if sure else None


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
    return Look(offer=offer, trouble=without_key(_by_its_own_names(offer, trouble), [offer.api_key]))


def _by_its_own_names(offer: Offer, trouble: str) -> str:
    """The trouble with the variables that name the server here instead of those of Winnow's own settings."""
    traits = offer.kind.traits
    for setting, own in ((traits.url_setting, traits.own_url), (traits.key_setting, traits.own_key)):
        if setting is not None and own is not None and variable(setting) != offer.said_by:
            trouble = trouble.replace(variable(setting), own.name)
    return trouble


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
        given["chat_model"] = found.chat_model
        stored = await create_provider(tools, name=offer.kind.value, kind=offer.kind, given=given)
    else:
        if known.kind is not offer.kind:
            raise ProviderRefused(
                f"the provider named {known.name} is of kind {known.kind.value}; give it another name first: "
                f"winnow providers edit {known.name} --name NAME"
            )
        if known.embedding_model is None:
            given["embedding_model"] = found.embedding_model
        if known.chat_model is None:
            given["chat_model"] = found.chat_model
        if offer.url in known.urls:
            given["urls"] = known.urls
        stored = await edit_provider(tools, known.id, given)
    checked = await check_provider(tools, stored)
    return stored, checked


def _offer(kind: ProviderKind, url: str, said_by: str) -> Offer:
    address = parse_address(url, setting=said_by, default_port=kind.traits.default_port)
    if address.basic_auth is not None:
        raise ProviderRefused(
            f"{said_by} has credentials in it, which setup does not write down; add that server yourself: winnow "
            f"providers add NAME --kind {kind.value} --url URL --key -"
        )
    return Offer(kind=kind, url=address.url, said_by=said_by, is_local=address.is_loopback)
