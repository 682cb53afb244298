"""Builds everything from Settings; importing any other module opens nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from winnow.domain.jobs import Lane
from winnow.domain.scoring import ScoreRules
from winnow.domain.spaces import Role, Wish
from winnow.domain.usage import Purpose, Tariff
from winnow.errors import QueueUnavailable
from winnow.pipeline.backfill import Backfilling
from winnow.pipeline.channels import Channelling
from winnow.pipeline.choices import Choosing
from winnow.pipeline.embed import Embedding
from winnow.pipeline.embedders import (
    Embedders,
    embedder_at,
    is_remote_provider,
    paced_embedder,
    paced_language_model,
    provider_behind_vectors,
    ways_of,
)
from winnow.pipeline.estimate import Asked
from winnow.pipeline.examine import Examining
from winnow.pipeline.examine_extractor import examine_extractor
from winnow.pipeline.examine_model import ExaminingModel
from winnow.pipeline.extract import Extracting
from winnow.pipeline.extractors import Extractors
from winnow.pipeline.memory import memory_of
from winnow.pipeline.metering import Meter, NotedEmbedder, NotedLanguageModel
from winnow.pipeline.overview import Overviewing
from winnow.pipeline.providers import Registry, registry_of
from winnow.pipeline.request_extraction import Requesting
from winnow.pipeline.score import Scoring
from winnow.pipeline.score_by_model import ModelScorer, scorer_of
from winnow.pipeline.search import Searching
from winnow.pipeline.spaces import Spaces
from winnow.pipeline.sweep import Sweeping
from winnow.pipeline.tariffs import tariff_here, tariff_of
from winnow.pipeline.teach import Bench
from winnow.pipeline.turns import Turns, half_of
from winnow.pipeline.windowing import limits_of
from winnow.providers.chosen import parse_embedder, parse_extractor
from winnow.providers.factory import build_catalogue, provider_of_settings
from winnow.providers.models import known_model
from winnow.queue.broker import JetStreamBroker
from winnow.queue.events import NatsAnnouncer
from winnow.queue.facts import jetstream_facts
from winnow.queue.lanes import LANES
from winnow.queue.middleware import LogContextMiddleware
from winnow.queue.view import JetStreamView
from winnow.servers import external_servers
from winnow.storage.embeddings import EmbeddingStore
from winnow.storage.engine import Database
from winnow.storage.extraction import ExtractionStore
from winnow.storage.unit_of_work import UnitsOfWork
from winnow.tasks.dispatch import TaskDispatcher, register_tasks
from winnow.tasks.tools import Tools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from winnow.domain.providers import Provider
    from winnow.domain.spaces import Space
    from winnow.pipeline.choices import Choice
    from winnow.pipeline.overview import QueueView
    from winnow.providers.base import Embedder, LanguageModel, ModelCatalogue
    from winnow.providers.ways import Ways
    from winnow.servers import Servers
    from winnow.settings import Settings


@dataclass(slots=True)
class Winnow:
    """One process's share of Winnow: the tools of every use case over one pool and one connection to each server."""

    settings: Settings
    servers: Servers
    database: Database
    ways: Ways
    embedder: Embedder
    brokers: dict[Lane, JetStreamBroker]
    scorer: ModelScorer | None = field(init=False)
    extractors: Extractors = field(init=False)
    spaces: Spaces = field(init=False)
    embeddings: EmbeddingStore = field(init=False)
    extractions: ExtractionStore = field(init=False)
    dispatcher: TaskDispatcher = field(init=False)
    units: UnitsOfWork = field(init=False)
    meter: Meter = field(init=False)
    _source: Embedders = field(init=False)
    _queue_started: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._source = self._embedders()
        self.spaces = self._spaces()
        # Half of the tasks ask the model server, half write what it answered.
        self.embeddings = EmbeddingStore(self.database, large_writes=max(2, self.settings.bulk_concurrency // 2))
        self.extractions = ExtractionStore(self.database)
        self.meter = Meter(self.database)
        self.scorer = scorer_of(self.settings, make=self._maker(Purpose.SCORE), database=self.database)
        self.extractors = Extractors(
            settings=self.settings,
            registry=self.registry(),
            make=self._maker(Purpose.EXTRACT),
            tariff_of=tariff_of,
            database=self.database,
        )
        self.dispatcher = TaskDispatcher(self.brokers)
        self.units = UnitsOfWork(
            self.database,
            self.dispatcher,
            batch_size=self.settings.batch_size,
            rules=self.score_rules if self.scorer is None else None,
            thresholds=self.score_rules,
        )
        for lane, broker in self.brokers.items():
            register_tasks(broker)
            broker.state.tools = self.task_tools()
            broker.state.lane = lane

    def _spaces(self) -> Spaces:
        """The stored spaces: those the settings have nothing against, each with its own provider."""
        settings, identity = self.settings, self.embedder.identity
        prefixes = Wish(document_prefix=settings.document_prefix, query_prefix=settings.query_prefix)
        chosen = "embedder" in settings.model_fields_set
        wish = replace(prefixes, provider=identity.provider, model=identity.model) if chosen else prefixes
        return Spaces(self.database, self.embedder, wish=wish, source=self._source)

    def _embedders(self) -> Embedders:
        return Embedders(
            providers=self.registry(),
            of_settings=lambda kind: provider_behind_vectors(self.settings, kind),
            make=self._embedder_for,
        )

    def _embedder_for(self, provider: Provider, space: Space) -> Embedder:
        """Held to the space's fingerprint, where there is a server that could have another model."""
        if not provider.urls and space.identity == self.embedder.identity:
            return self.embedder
        return self.embedder_of(provider, space.identity.model, space=space)

    def embedder_of(self, provider: Provider, model: str, *, space: Space | None = None) -> Embedder:
        """One with this model of this provider; with the prefixes of the space, and held to it, if it is for one."""
        return paced_embedder(self.settings, self.ways, provider, model, space=space)

    def language_model_of(self, provider: Provider, model: str, purpose: Purpose) -> LanguageModel:
        """This model of this provider, noted as asked for that purpose, at the pace of all who ask it."""
        made = paced_language_model(self.settings, self.ways, provider, model)
        return NotedLanguageModel(
            model=made,
            named=model,
            purpose=purpose,
            provider=provider,
            tariff=tariff_of(provider),
            worker=self.worker,
            meter=self.meter,
        )

    def _maker(self, purpose: Purpose) -> Callable[[Provider, str], LanguageModel]:
        return lambda provider, model: self.language_model_of(provider, model, purpose)

    def catalogue_of(self, provider: Provider) -> ModelCatalogue:
        """Of the models of the provider's server."""
        return build_catalogue(provider, ways=self.ways)

    def asked(self, choice: Choice, embedder: Embedder) -> Asked:
        """What it would cost to have this choice's embedder asked."""
        return Asked(
            embedder=embedder,
            tariff=tariff_of(choice.provider),
            worker=self.worker,
            provider_id=choice.provider.id,
            provider_name=choice.provider.name,
            remote=is_remote_provider(choice.provider),
        )

    def choosing(self) -> Choosing:
        """For naming models."""
        return Choosing(registry=self.registry(), of_settings=lambda kind: provider_of_settings(self.settings, kind))

    async def start_queue(self) -> None:
        """Connects to NATS. Use cases that only read the database do without.

        Raises:
            QueueUnavailable: NATS does not answer.
        """
        if self._queue_started:
            return
        started: list[JetStreamBroker] = []
        try:
            for broker in self.brokers.values():
                await broker.startup()
                started.append(broker)
        except BaseException:
            await asyncio.gather(*(broker.shutdown() for broker in started))
            raise
        self._queue_started = True

    async def start_queue_if_there(self) -> None:
        """Connects to NATS when it answers; for use cases that can do without, and say so."""
        with contextlib.suppress(QueueUnavailable):
            await self.start_queue()

    async def close(self) -> None:
        """Closes what was opened."""
        await self.units.drain()
        if self._queue_started:
            await asyncio.gather(*(broker.shutdown() for broker in self.brokers.values()))
        await self.meter.close()
        if self.scorer is not None:
            await self.scorer.model.close()
        await self.extractors.close()
        await self.spaces.close()
        await self.database.close()

    @property
    def worker(self) -> str:
        """What this process is called: host:pid."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def tariff(self) -> Tariff:
        """What the use of models costs here."""
        return tariff_here(self.settings, self._source, first_kind=self.embedder.identity.provider)

    @property
    def concurrency(self) -> dict[Lane, int]:
        """Tasks at once of each lane, in one worker."""
        return {Lane.LIVE: self.settings.live_concurrency, Lane.BULK: self.settings.bulk_concurrency}

    def task_tools(self) -> Tools:
        """What tasks are given."""
        slow = parse_extractor(self.settings.extractor) is not None  # the rules take no time that anybody waits for
        return Tools(
            scoring=self.scoring(),
            embedding=self.embedding(),
            extracting=self.extracting(),
            extraction_turns=half_of(self.concurrency) if slow else Turns({}),
        )

    @property
    def score_rules(self) -> ScoreRules:
        """By which messages are scored."""
        return ScoreRules(signal_from=self.settings.signal_from, weak_from=self.settings.weak_from)

    def scoring(self) -> Scoring:
        """For scoring and linking messages in this process."""
        return Scoring(database=self.database, units=self.units, rules=self.score_rules, model=self.scorer)

    def embedding(self) -> Embedding:
        """For embedding rows in this process."""
        return Embedding(
            store=self.embeddings,
            spaces=self.spaces,
            worker=self.worker,
            lease_seconds=self.settings.lease_seconds,
            max_attempts=self.settings.max_attempts,
            announcer=NatsAnnouncer(self.brokers[Lane.LIVE]),
            tariff=self.tariff(),
            dispatcher=self.dispatcher,
        )

    def extracting(self) -> Extracting:
        """For extracting knowledge in this process."""
        return Extracting(
            database=self.database,
            units=self.units,
            store=self.extractions,
            extractor_for=self.extractors.of,
            lease_seconds=self.settings.lease_seconds,
            limits=limits_of(self.settings),
            rules=self.score_rules,
            memory=memory_of(self.settings),
            bench=Bench(self.database),
        )

    def requesting(self) -> Requesting:
        """For asking for extractions by hand, and for runs."""
        return Requesting(database=self.database, units=self.units, dispatcher=self.dispatcher)

    def searching(self) -> Searching:
        """For searches."""
        return Searching(
            database=self.database,
            spaces=self.spaces,
            vector_weight=self.settings.vector_weight,
            worker=self.worker,
            meter=self.meter,
            tariff=self.tariff(),
        )

    def channelling(self) -> Channelling:
        """For choosing what is done with a channel."""
        return Channelling(database=self.database, embeddings=self.embeddings, spaces=self.spaces)

    def backfilling(self) -> Backfilling:
        """For backfills."""
        return Backfilling(
            database=self.database,
            store=self.embeddings,
            dispatcher=self.dispatcher,
            workforce=JetStreamView(self.brokers[Lane.BULK]),
            embedding=self.embedding(),
        )

    def sweeping(self) -> Sweeping:
        """For the sweeper."""
        return Sweeping(
            database=self.database,
            units=self.units,
            embeddings=self.embeddings,
            extractions=self.extractions,
            spaces=self.spaces,
            dispatcher=self.dispatcher,
            backlog=JetStreamView(self.brokers[Lane.BULK]),
            every_seconds=self.settings.sweep_seconds,
            age_seconds=self.settings.sweep_age_seconds,
            batch_size=self.settings.batch_size,
            extraction_threshold=self.settings.extraction_threshold,
            extraction_quiet_seconds=self.settings.extraction_quiet_seconds,
        )

    def registry(self) -> Registry:
        """For providers."""
        return registry_of(self.settings, self.database)

    def examining(self, *, measure: bool) -> Examining:
        """For `winnow doctor`."""
        client = self.brokers[Lane.LIVE].client
        return Examining(
            database=self.database,
            queue=lambda: jetstream_facts(client),
            model=lambda role: self._examining_model(role, measure=measure),
            extractor=lambda: examine_extractor(self.extractors),
            data_dir=self.settings.data_dir if external_servers(self.settings) is None else None,
        )

    async def _examining_model(self, role: Role, *, measure: bool) -> ExaminingModel | None:
        space = (await self.spaces.all()).get(role)
        if space is None and role != Role.ACTIVE:
            return None
        embedder = await self.spaces.embedder_of(space) if space else self.embedder
        provider = await self._source.provider_of(space) if space else None
        if provider is None:
            provider = provider_behind_vectors(self.settings, embedder.identity.provider)
        asked = Asked(embedder=embedder, tariff=tariff_of(provider), worker=self.worker, provider_id=provider.id)
        several = provider.urls if len(provider.urls) > 1 else ()
        return ExaminingModel(
            area="model" if role == Role.ACTIVE else "next model",
            servers={url: embedder_at(self.settings, provider, url, embedder.identity) for url in several},
            embedder=NotedEmbedder(asked=asked, meter=self.meter),
            space=space,
            catalogue=self.catalogue_of(provider),
            known=known_model(embedder.identity.model),
            measure=measure,
        )

    def overviewing(self) -> Overviewing:
        """For `winnow status` and its kin."""
        view: QueueView = JetStreamView(self.brokers[Lane.LIVE])
        return Overviewing(
            database=self.database,
            embeddings=self.embeddings,
            spaces=self.spaces,
            queue=view,
            extractor=self.settings.extractor,
        )


def build(settings: Settings, servers: Servers, *, pool_size: int = 10) -> Winnow:
    """Everything of one process, with nothing opened yet.

    Raises:
        InvalidSettings: a setting names something that does not exist.
    """
    brokers = {}
    for lane in Lane:
        broker = JetStreamBroker(servers.nats_url, LANES[lane.value], ack_wait_seconds=settings.ack_wait_seconds)
        broker.add_middlewares(LogContextMiddleware())
        brokers[lane] = broker
    database = Database(servers.database_url, pool_size=pool_size)
    ways = ways_of(database)
    kind, model = parse_embedder(settings.embedder)
    return Winnow(
        settings=settings,
        servers=servers,
        database=database,
        ways=ways,
        embedder=paced_embedder(settings, ways, provider_of_settings(settings, kind), model),
        brokers=brokers,
    )


@asynccontextmanager
async def opened(settings: Settings, servers: Servers, *, queue: bool = True) -> AsyncIterator[Winnow]:
    """Builds, connects to NATS unless told not to, and closes at the end."""
    winnow = build(settings, servers)
    try:
        if queue:
            await winnow.start_queue()
        yield winnow
    finally:
        await winnow.close()
