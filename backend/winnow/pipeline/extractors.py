"""Which extractor reads a channel: the rules, or the model that somebody chose, where the channel's text may go."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from winnow.domain.providers import SERVED, ProviderKind
from winnow.errors import InvalidSettings, SetupFault, Transient
from winnow.pipeline.embedders import LOOK_EVERY_SECONDS, is_remote_provider
from winnow.pipeline.extract_by_model import ModelExtractor
from winnow.pipeline.providers import provider_of
from winnow.providers.chosen import parse_extractor
from winnow.providers.factory import provider_of_settings
from winnow.providers.rules import RuleExtractor
from winnow.storage.channels import is_local_only, private_offers
from winnow.storage.messages import private_messages

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from winnow.domain.knowledge import Extraction, Extractor, Window
    from winnow.domain.providers import Provider
    from winnow.domain.usage import Tariff
    from winnow.pipeline.providers import Registry
    from winnow.providers.base import LanguageModel
    from winnow.settings import Settings
    from winnow.storage.engine import Database


@dataclass(frozen=True, slots=True)
class _Made:
    provider: Provider
    extractor: ModelExtractor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unusable:
    """In place of an extractor that cannot be made."""

    name: str
    fault: str
    version: str = ""
    wants_known: bool = False

    async def extract(self, _window: Window) -> Extraction:
        raise SetupFault(self.fault)


@dataclass(slots=True, kw_only=True)
class Extractors:
    """Gives out the extractor that the settings choose, and the rules where a text may not leave.

    A provider that a person edits is used as it was for a few seconds.

    Attributes:
        settings: that choose `rules`, or provider and model: `gpu:qwen3:8b`.
        registry: of the providers that are written down.
        make: a model of a provider, whose use is noted.
        tariff_of: what a provider's models cost.
        database: where channels are marked local-only.
    """

    settings: Settings
    registry: Registry
    make: Callable[[Provider, str], LanguageModel]
    tariff_of: Callable[[Provider], Tariff]
    database: Database
    rules: Extractor = field(default_factory=RuleExtractor)
    _made: _Made | None = field(default=None, init=False)
    _replaced: list[LanguageModel] = field(default_factory=list, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def of(self, source: str, channel: str) -> Extractor:
        """The one for a channel: what is marked local-only is read by no model that is elsewhere.

        Where the chosen provider cannot be used, it is one that reads nothing and says why, so that a run says it.
        """
        try:
            model = await self.model()
        except SetupFault as fault:
            return _Unusable(name=self.settings.extractor, fault=str(fault))
        if model is None or (model.is_remote and await is_local_only(self.database, source, channel)):
            return self.rules
        return model

    async def model(self) -> ModelExtractor | None:
        """The one with the chosen model; None: the rules are chosen.

        Raises:
            SetupFault: the chosen provider is gone, switched off, or its key cannot be read.
        """
        chosen = parse_extractor(self.settings.extractor)
        if chosen is None:
            return None
        name, model = chosen
        async with self._turn:
            if self._made is not None and time.monotonic() - self._looked_at < LOOK_EVERY_SECONDS:
                return self._made.extractor
            provider = await self._provider(name)
            if self._made is None or self._made.provider != provider:
                if self._made is not None:
                    self._replaced.append(self._made.extractor.model)  # somebody may be asking it still
                self._made = _Made(provider, self._extractor(provider, model))
            self._looked_at = time.monotonic()
            return self._made.extractor

    async def close(self) -> None:
        """Closes the models that were given out."""
        models = [*self._replaced, *([self._made.extractor.model] if self._made else [])]
        self._made = None
        self._replaced.clear()
        await asyncio.gather(*(model.close() for model in models))

    def _extractor(self, provider: Provider, model: str) -> ModelExtractor:
        tariff = self.tariff_of(provider)

        def price_usd(tokens: int, output_tokens: int) -> Decimal | None:
            return tariff.chat_price_usd(provider.kind.value, model, provider.id, tokens, output_tokens)

        remote = is_remote_provider(provider)
        return ModelExtractor(
            model=self.make(provider, model),
            is_remote=remote,
            mask_contacts=self.settings.mask_contacts,
            price_usd=price_usd,
            may_leave=self._may_leave if remote else None,
        )

    async def _may_leave(self, window: Window) -> Window:
        """The window without atoms and topics that a local-only channel has a part in.

        Raises:
            Transient: its own channel is local-only by now.
        """
        if await private_messages(self.database, [one.id for one in (*window.context, *window.messages)]):
            raise Transient("its channel was marked local-only meanwhile; its messages are read without this model")
        atoms, topics = await private_offers(self.database, [atom.id for atom in window.known], window.topics)
        return replace(
            window,
            known=tuple(atom for atom in window.known if atom.id not in atoms),
            topics=tuple(name for name in window.topics if name not in topics),
        )

    async def _provider(self, name: str) -> Provider:
        rows = [row for row in await self.registry.store.all() if name in {row.name, str(row.id)}]
        if rows:
            provider = provider_of(rows[0], self.registry.secrets)
        elif name in SERVED:
            try:
                provider = provider_of_settings(self.settings, ProviderKind(name))
            except InvalidSettings as error:
                raise SetupFault(str(error)) from error
        else:
            raise SetupFault(
                f"WINNOW_EXTRACTOR is {self.settings.extractor}, and there is no provider {name}; add it: "
                f"winnow providers add {name}"
            )
        if not provider.active:
            raise SetupFault(f"the provider {name} is switched off; run: winnow providers edit {name} --active")
        return provider
