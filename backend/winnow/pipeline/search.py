"""Search: full text and vectors, fused by weight; by words alone, and saying so, when the model is away."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from winnow.domain.fusion import fuse
from winnow.domain.jobs import Kind
from winnow.domain.messages import storable
from winnow.domain.usage import Noting, Purpose, Tariff, Unnoted, Use, tokens_by_bytes
from winnow.errors import InvalidInput, Permanent, SpaceMismatch, Transient
from winnow.storage import search as store
from winnow.storage.messages import MessageRecord, messages_by_id
from winnow.storage.reading import AtomRecord, atoms_by_id
from winnow.storage.reading_topics import TopicRecord, topics_by_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.spaces import Space
    from winnow.pipeline.spaces import Spaces
    from winnow.providers.base import EmbeddingResult
    from winnow.storage.conditions import Said
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

MOST_QUERY_CHARACTERS = 2000
MOST_HITS = 100
# An atom says in one sentence what its messages say in several: of equals, it comes first.
ATOM_ADVANTAGE = 1.2
# A person is waiting: words alone, now, beat vectors later.
MODEL_PATIENCE_SECONDS = 5.0

Key = tuple[Kind, int]
Record = AtomRecord | TopicRecord | MessageRecord
Among = dict[Kind, store.Narrowed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """What a search needs; `vector_weight` is against 1 for full text. What the model took goes to `meter`."""

    database: Database
    spaces: Spaces
    vector_weight: float
    worker: str = ""
    meter: Noting = field(default_factory=Unnoted)
    tariff: Tariff = field(default_factory=Tariff)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One thing found: an atom with its quotes, a topic or a message. `score` compares within one answer only."""

    kind: Kind
    score: float
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """Best hits first. `degraded` says why vectors took no part, when they did not."""

    query: str
    hits: tuple[Hit, ...]
    degraded: str | None


async def search(
    tools: Searching,
    query: str,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    limit: int = 10,
    said: Said | None = None,
) -> SearchAnswer:
    """The best hits among the kinds; a message that an atom quotes, or a topic's heading, is shown as that.

    With `said`, only messages like that, what rests on their words, and topics that they are filed under.

    Raises:
        InvalidInput: the query is blank or too long, or the limit is out of range.
        DatabaseUnavailable: the database does not answer.
    """
    query = storable(query.replace("\x00", " ")).strip()
    if not query:
        raise InvalidInput("the query is empty; say what to look for")
    if len(query) > MOST_QUERY_CHARACTERS:
        raise InvalidInput(f"the query has {len(query)} characters; {MOST_QUERY_CHARACTERS} at most")
    if not 1 <= limit <= MOST_HITS:
        raise InvalidInput(f"limit is {limit}; choose 1 to {MOST_HITS}")
    among: Among = {}
    if said is not None and not said.any_message:
        among = {kind: await store.narrowed(tools.database, kind, said) for kind in kinds}
    by_text, (by_vector, degraded) = await _both_arms(tools, query, kinds, among)
    fused = fuse(by_text, by_vector, vector_weight=tools.vector_weight)
    scores = {key: score * (ATOM_ADVANTAGE if key[0] == Kind.ATOMS else 1.0) for key, score in fused.items()}
    best = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[: limit * 4])
    hits = _fold_twins(await _read(tools.database, best))
    return SearchAnswer(query=query, hits=tuple(hits[:limit]), degraded=degraded)


async def _both_arms(
    tools: Searching, query: str, kinds: Sequence[Kind], among: Among
) -> tuple[dict[Key, float], tuple[dict[Key, float], str | None]]:
    """Side by side: while the model makes the query's vector, the database looks for its words."""
    try:
        async with asyncio.TaskGroup() as group:
            by_text = group.create_task(_text_arm(tools, query, kinds, among), name="search by words")
            by_vector = group.create_task(_vector_arm(tools, query, kinds, among), name="search by vector")
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return by_text.result(), by_vector.result()


async def _text_arm(tools: Searching, query: str, kinds: Sequence[Kind], among: Among) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for kind in kinds:
        hits = await store.full_text(tools.database, kind, query, among.get(kind))
        found |= {(kind, identity): score for identity, score in hits.items()}
    return found


async def _vector_arm(
    tools: Searching, query: str, kinds: Sequence[Kind], among: Among
) -> tuple[dict[Key, float], str | None]:
    space = await tools.spaces.current()
    if space is None:
        return {}, "nothing is embedded yet"
    try:
        vector = await _query_vector(tools, query, space)
    except (Transient, Permanent, TimeoutError) as error:
        reason = str(error) or f"the model did not answer within {MODEL_PATIENCE_SECONDS:.0f} s"
        log.warning("search.by_words_only", reason=reason)
        return {}, reason
    found: dict[Key, float] = {}
    for kind in kinds:
        try:
            hits = await store.nearest(tools.database, kind, vector, space, among.get(kind))
        except SpaceMismatch:  # another model's vectors are searched since a moment ago
            return await _vector_arm(tools, query, kinds, among)
        found |= {(kind, identity): score for identity, score in hits.items()}
    return found, None


async def _query_vector(tools: Searching, query: str, space: Space) -> NDArray[np.float32]:
    embedder = await tools.spaces.embedder_of(space)
    async with asyncio.timeout(MODEL_PATIENCE_SECONDS):
        started = time.perf_counter()
        result = await embedder.embed([query], input_type="query")
    tools.meter.add(_use(tools, query, space, result, seconds=time.perf_counter() - started))
    vector: NDArray[np.float32] = result.vectors[0]
    if len(vector) != space.dimensions:
        raise Permanent(f"the model now makes {len(vector)} dimensions, the stored vectors have {space.dimensions}")
    return vector


def _use(tools: Searching, query: str, space: Space, result: EmbeddingResult, *, seconds: float) -> Use:
    tokens = result.tokens
    if tokens is None:
        tokens = tokens_by_bytes([query], prefix=space.identity.query_prefix)
    return Use(
        purpose=Purpose.SEARCH,
        worker=tools.worker,
        provider=space.identity.provider,
        model=space.identity.model,
        provider_id=space.provider_id,
        space_id=space.id,
        requests=result.requests or 1,
        texts=1,
        tokens=tokens,
        estimated=result.tokens is None,
        seconds=result.seconds or seconds,
        price_usd=tools.tariff.price_usd(space.identity, space.provider_id, tokens),
    )


async def _read(database: Database, scores: Mapping[Key, float]) -> list[Hit]:
    ids = {kind: [identity for of, identity in scores if of == kind] for kind in Kind}
    atoms, topics, messages = await asyncio.gather(
        atoms_by_id(database, ids[Kind.ATOMS]),
        topics_by_id(database, ids[Kind.TOPICS]),
        messages_by_id(database, ids[Kind.MESSAGES]),
    )
    records: dict[Kind, Mapping[int, Record]] = {Kind.ATOMS: atoms, Kind.TOPICS: topics, Kind.MESSAGES: messages}
    return [
        Hit(kind=kind, score=score, record=records[kind][identity])
        for (kind, identity), score in scores.items()
        if identity in records[kind]
    ]


def _fold_twins(hits: Sequence[Hit]) -> list[Hit]:
    """Hits that say the same thing become one, at the better place.

    A message goes into the atom that quotes it, or into the topic whose heading it is.
    """
    messages = {hit.record.id: hit for hit in hits if isinstance(hit.record, MessageRecord)}
    folded: set[int] = set()
    kept = []
    for hit in hits:
        twins = _twins(hit.record, messages)
        folded |= twins.keys()
        kept.append(replace(hit, score=max([hit.score, *(twin.score for twin in twins.values())])))
    left = [hit for hit in kept if hit.kind != Kind.MESSAGES or hit.record.id not in folded]
    return sorted(left, key=lambda hit: -hit.score)


def _twins(record: Record, messages: Mapping[int, Hit]) -> dict[int, Hit]:
    match record:
        case AtomRecord():
            quoted = {quote.message_id for quote in record.evidence}
            return {identity: hit for identity, hit in messages.items() if identity in quoted}
        case TopicRecord():
            return {identity: hit for identity, hit in messages.items() if _announces(hit.record, record)}
        case MessageRecord():
            return {}


def _announces(message: Record, topic: TopicRecord) -> bool:
    """Whether a message is no more than its topic's heading, as in `Topic: Test Suite`."""
    if not isinstance(message, MessageRecord) or message.topic != topic.name:
        return False
    return message.text.strip().casefold().endswith(topic.name.casefold())
