"""Providers as people set them up: written down, changed, tried, and their keys put under another secret."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from winnow.domain.providers import Provider
from winnow.errors import (
    InvalidSettings,
    ModelNotFound,
    ProviderNotFound,
    ProviderRefused,
    SetupFault,
    Transient,
    WinnowError,
)
from winnow.pipeline.provider_rules import (
    NAME,
    require_key_stays,
    server_addresses,
    valid_key,
    valid_setup,
    without_key,
)
from winnow.providers.address import check_reachable_place
from winnow.providers.base import probe_dimensions
from winnow.providers.factory import build_embedder_of, served_models
from winnow.secrets import secrets_of
from winnow.storage.providers import ProviderSetup, ProviderStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from winnow.domain.providers import ProviderKind
    from winnow.secrets import Secrets
    from winnow.settings import Settings
    from winnow.storage.engine import Database
    from winnow.storage.providers import EncryptedKey, StoredProvider

MOST_SAID_CHARACTERS = 500
_MAKES = re.compile(r" makes vectors of (?P<dimensions>\d+) dimensions(;|$)")


class ProviderChanges(TypedDict, total=False):
    """What is to be other than it is; what is not there stays. None takes a value away, or leaves it to the model."""

    name: str
    urls: Sequence[str]
    embedding_model: str | None
    chat_model: str | None
    active: bool
    document_prefix: str | None
    query_prefix: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    at_once: int | None
    api_key: SecretStr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What the use cases of this module work with.

    Attributes:
        store: of the providers.
        secrets: that their keys are encrypted with.
        first_timeout_seconds: for an answer while a model may have to be loaded.
        timeout_seconds: for one otherwise.
    """

    store: ProviderStore
    secrets: Secrets
    first_timeout_seconds: float
    timeout_seconds: float

    async def get(self, provider_id: UUID) -> Provider:
        """A provider with its key in the clear.

        Raises:
            ProviderNotFound: it is gone.
            SetupFault: its key was encrypted with another secret than this machine's.
        """
        return provider_of(await self.store.get(provider_id), self.secrets)


def registry_of(settings: Settings, database: Database) -> Registry:
    """Over the stored providers of this database."""
    return Registry(
        store=ProviderStore(database),
        secrets=secrets_of(settings),
        first_timeout_seconds=settings.provider_first_timeout_seconds,
        timeout_seconds=settings.provider_timeout_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a look at a provider's servers found, in a sentence that holds no key.

    Attributes:
        passed: it can be used; `warning`: though one of its servers is away.
        said: the sentence.
        dimensions: of its vectors.
    """

    passed: bool
    said: str
    warning: bool = False
    dimensions: int | None = None


def provider_of(row: StoredProvider, secrets: Secrets) -> Provider:
    """The provider as it is asked, its key in the clear.

    Raises:
        SetupFault: the key was encrypted with another secret than this machine's.
    """
    return Provider(
        kind=row.kind,
        name=row.name,
        id=row.id,
        urls=row.urls,
        embedding_model=row.embedding_model,
        chat_model=row.chat_model,
        api_key=None if row.api_key is None else secrets.decrypt(row.api_key, of=row.name),
        active=row.active,
        document_prefix=row.document_prefix,
        query_prefix=row.query_prefix,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
        at_once=row.at_once,
    )


async def named(tools: Registry, name_or_id: str) -> StoredProvider:
    """The provider of this id, or else of this name, whichever is given.

    Raises:
        ProviderNotFound: there is none.
    """
    with suppress(ValueError):
        return await tools.store.get(UUID(name_or_id))
    if not re.fullmatch(NAME, name_or_id):  # not all that can be in a URL is text to the database
        raise ProviderNotFound(f"there is no provider {name_or_id[:100]!r}; see: winnow providers list")
    return await tools.store.get(name_or_id)


async def create_provider(tools: Registry, *, name: str, kind: ProviderKind, given: ProviderChanges) -> StoredProvider:
    """Writes one down; no server is asked.

    Raises:
        ProviderRefused: something in it cannot be, or the name is taken.
        SetupFault: its key cannot be encrypted.
    """
    key = given.get("api_key")
    setup = valid_setup(_changed(ProviderSetup(name=name, kind=kind), given), has_key=key is not None)
    await _require_places(setup)
    if key is None:
        return await tools.store.create(setup)
    valid_key(key)
    return await tools.store.create(setup, lambda: tools.secrets.encrypt(key))


async def edit_provider(tools: Registry, name_or_id: str | UUID, given: ProviderChanges) -> StoredProvider:
    """Changes what is given and nothing else; no server is asked.

    Raises:
        ProviderNotFound: there is none.
        ProviderInUse: it would be inactive, and vectors are made or searched with it.
        ProviderRefused: something in it cannot be, the new name is taken, or the key would go to a server it was not
            given for.
        SetupFault: its key cannot be encrypted.
    """
    key = given.get("api_key")
    if key is not None:
        valid_key(key)
    stored = await tools.store.get(name_or_id)
    if "urls" in given:
        await _require_places(_changed(stored.setup, given))

    def change(stored: StoredProvider) -> tuple[ProviderSetup, bytes | None]:
        has_key = key is not None or ("api_key" not in given and stored.has_key)
        setup = valid_setup(_changed(stored.setup, given), has_key=has_key)
        if key is not None:
            return setup, tools.secrets.encrypt(key)
        if "api_key" in given:
            return setup, None
        require_key_stays(stored, setup)
        return setup, stored.api_key

    return await tools.store.change(stored.id, change)


async def check_provider(tools: Registry, stored: StoredProvider) -> Checked:
    """Asks every server of a provider whether it is there and has the models, and notes what came of it."""
    provider = None
    try:
        provider = provider_of(stored, tools.secrets)
        await _require_places(stored.setup)
        checked = await _look(tools, provider)
    except WinnowError as error:
        checked = Checked(passed=False, said=str(error))
    said = without_key(checked.said, [provider.api_key if provider else None])[:MOST_SAID_CHARACTERS]
    await tools.store.note_check(stored, passed=checked.passed, said=said)
    return replace(checked, said=said)


async def rotate_secret(tools: Registry) -> int:
    """Encrypts all stored keys anew with the first secret of the ring, a new one where the ring is in a file.

    May be interrupted at any point, and run again: a secret leaves the file only when no key needs it any more. Returns
    how many keys there are.

    Raises:
        SetupFault: one of them cannot be decrypted; none is changed.
    """
    secrets = tools.secrets

    def exchange(keys: Sequence[EncryptedKey]) -> dict[UUID, bytes]:
        clear = {key.id: secrets.decrypt(key.api_key, of=key.name) for key in keys}
        if keys:
            secrets.renew()
        return {key_id: secrets.encrypt(each) for key_id, each in clear.items()}

    def tidy(keys: Sequence[EncryptedKey]) -> dict[UUID, bytes]:
        secrets.forget_unused(key.api_key for key in keys)
        return {}

    done = await tools.store.exchange_keys(exchange)
    await tools.store.exchange_keys(tidy)  # after the commit: until then the old secret may still be needed
    return done


def _changed(setup: ProviderSetup, given: ProviderChanges) -> ProviderSetup:
    values = {name: value for name, value in given.items() if name != "api_key"}
    if "urls" in given:
        values["urls"] = tuple(given["urls"])
    return replace(setup, **values)  # type: ignore[arg-type]  # the TypedDict's fields are the dataclass's


async def _require_places(setup: ProviderSetup) -> None:
    for address in server_addresses(setup):
        try:
            await check_reachable_place(address)
        except InvalidSettings as error:
            raise ProviderRefused(str(error)) from error


def checked_dimensions(row: StoredProvider) -> int | None:
    """Of the vectors of its embedding model, as the last check found them; None: there was none of the set-up as it is.

    The sentence is all that is kept of a check.
    """
    found = _MAKES.search(row.check_said or "") if row.check_passed and row.embedding_model else None
    return int(found["dimensions"]) if found else None


async def _look(tools: Registry, provider: Provider) -> Checked:
    found: dict[str, int | None] = {}
    away: list[Transient] = []
    for url in provider.urls:
        one = replace(provider, urls=(url,))
        try:
            if provider.chat_model or not provider.embedding_model:
                await _require_chat_model(one, timeout_seconds=tools.timeout_seconds)
            found[url] = await _dimensions(tools, one)
        except Transient as error:
            away.append(error)
    if not found:
        raise away[0]
    if len(set(found.values())) > 1:
        told = ", ".join(f"{url} {dimensions}" for url, dimensions in found.items())
        raise SetupFault(f"the servers have different models of the name {provider.embedding_model}: dimensions {told}")
    dimensions = next(iter(found.values()))
    models = [f"{provider.embedding_model} makes vectors of {dimensions} dimensions"] if dimensions else []
    models += [f"{provider.chat_model} is there"] if provider.chat_model else []
    answers = "the server answers" if len(provider.urls) == 1 else f"all {len(found)} servers answer"
    if away:
        answers = f"{len(found)} of {len(provider.urls)} servers answer"
    said = "; ".join([answers, *models, *map(str, away)])
    return Checked(passed=True, said=said, warning=bool(away), dimensions=dimensions)


async def _dimensions(tools: Registry, provider: Provider) -> int | None:
    if provider.embedding_model is None:
        return None
    embedder = build_embedder_of(
        provider,
        provider.embedding_model,
        first_timeout_seconds=tools.first_timeout_seconds,
        timeout_seconds=tools.timeout_seconds,
    )
    try:
        return await probe_dimensions(embedder)
    finally:
        await embedder.close()


async def _require_chat_model(provider: Provider, *, timeout_seconds: float) -> None:
    models = await served_models(provider, timeout_seconds=timeout_seconds)
    wanted = provider.chat_model
    tag = provider.kind.traits.own_tag
    if wanted and not any(model.name.removesuffix(tag) == wanted.removesuffix(tag) for model in models):
        raise ModelNotFound(f"{provider.urls[0]} does not have the model {wanted}; see what it has, or have it pulled")
