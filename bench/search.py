"""How fast a search answers, and how good the answer is."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from bench.scifact import Bm25, find_scifact, ndcg, read_scifact, recall
from bench.stage import chat_files, embed_all, messages_of, repeated, stage
from bench.tables import Table, percentile, say
from bench.timing import silent_units

from winnow.domain.fusion import fuse
from winnow.domain.jobs import Kind, Lane
from winnow.domain.messages import IncomingMessage
from winnow.pipeline.extract import extract_knowledge
from winnow.pipeline.ingest import ingest
from winnow.pipeline.search import search
from winnow.storage.search import full_text, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.scifact import SciFact
    from bench.stage import Stage
    from bench.tables import Cell, Options

    from winnow.bootstrap import Winnow

MANY = 50_000
CHUNK = 2_000
LEAST_WORDS, MOST_WORDS = 5, 15
LONG_QUERY_CHARACTERS = 2_000
WORDS_OF = (
    "SELECT {id} AS name, entry.lexeme, cardinality(entry.positions) AS number "
    "FROM {source}, unnest(public.winnow_words({text})) AS entry"
)


async def run(options: Options) -> list[Table]:
    """Speed over the sample, over many messages and over SciFact's longer texts; quality where there are judgements."""
    messages = messages_of(chat_files(options.data))
    questions = _questions(messages, options.count(300, 60))
    speed = Table(
        title="search: speed of pipeline.search, one after the other",
        columns=("over", "queries", "p50, ms", "p99, ms", "full text alone: p50", "p99", "vectors alone: p50", "p99"),
        notes=[
            (
                "Queries are questions people asked in the sample, 5 to 15 words. Many messages: pairs of "
                "the sample's, "
                f"put together by chance. {LONG_QUERY_CHARACTERS:,} characters is the longest query that is taken."
            ),
        ],
    )
    async with stage() as made:
        await _fill_with_knowledge(made.winnow, messages)
        speed.rows.append(await _speed(made, f"the sample: {await _counts(made)}", questions))
    async with stage() as made:
        many = options.count(MANY, 5_000)
        await _fill(made, _pairs(messages, many))
        speed.rows.append(await _speed(made, f"{many:,} messages", questions))
        speed.rows.append(
            await _speed(made, f"{many:,} messages, by {LONG_QUERY_CHARACTERS:,} characters", _long(messages))
        )
    say(f"search: {[row[2] for row in speed.rows]} ms")
    folder = find_scifact(options.data)
    if folder is None:
        speed.notes.append("Quality not measured: no scifact.zip in the folder of --data.")
        return [speed]
    return [speed, await _quality(folder, options, speed)]


# -- data


async def _fill_with_knowledge(winnow: Winnow, messages: Sequence[IncomingMessage]) -> None:
    for _, said in groupby(messages, key=lambda message: message.channel):
        ids = (await ingest(silent_units(winnow), list(said), lane=Lane.BULK)).ids
        await extract_knowledge(replace(winnow.extracting(), units=silent_units(winnow)), ids, lane=Lane.BULK)
    await embed_all(winnow)
    await _settle(winnow)


async def _fill(made: Stage, messages: Sequence[IncomingMessage]) -> dict[int, str]:
    """Stores and embeds, the index built at the end; external ids by id."""
    winnow = made.winnow
    ids: dict[int, str] = {}
    for start in range(0, len(messages), CHUNK):
        chunk = messages[start : start + CHUNK]
        stored = (await ingest(silent_units(winnow), chunk, lane=Lane.BULK)).ids
        ids |= dict(zip(stored, (message.external_id for message in chunk), strict=True))
    async with winnow.database.transaction() as connection:
        found = await connection.exec_driver_sql("SELECT indexdef FROM pg_indexes WHERE indexname = 'messages_nearest'")
        index = found.scalar_one()
        await connection.exec_driver_sql("DROP INDEX messages_nearest")
    await embed_all(winnow)
    async with winnow.database.transaction() as connection:
        await connection.exec_driver_sql(index)
    await _settle(winnow)
    return ids


async def _settle(winnow: Winnow) -> None:
    """What autovacuum does within a minute."""
    async with winnow.database.autocommit() as connection:
        await connection.exec_driver_sql("VACUUM ANALYZE")


async def _counts(made: Stage) -> str:
    counts = await made.winnow.embeddings.counts()
    return ", ".join(f"{count.total:,} {kind.value}" for kind, count in counts.items())


def _pairs(messages: Sequence[IncomingMessage], count: int) -> list[IncomingMessage]:
    chance = random.Random(1)
    made = repeated(messages, count, channel="many")
    return [replace(message, text=f"{message.text} {chance.choice(messages).text}") for message in made]


def _questions(messages: Sequence[IncomingMessage], count: int) -> list[str]:
    asked = sorted(
        {one.text for one in messages if "?" in one.text and LEAST_WORDS <= len(one.text.split()) <= MOST_WORDS}
    )
    random.Random(1).shuffle(asked)
    return asked[:count]


def _long(messages: Sequence[IncomingMessage]) -> list[str]:
    said = " ".join(message.text for message in messages)
    places = range(0, min(len(said), 20 * LONG_QUERY_CHARACTERS), LONG_QUERY_CHARACTERS)
    return [said[place : place + LONG_QUERY_CHARACTERS] for place in places]


# -- speed


async def _speed(made: Stage, name: str, queries: Sequence[str]) -> tuple[Cell, ...]:
    winnow = made.winnow
    space = await winnow.spaces.ours()
    whole, words, vectors = [], [], []
    for query in queries[:10]:
        await search(winnow.searching(), query)
    for query in queries:
        started = time.perf_counter()
        await search(winnow.searching(), query)
        whole.append(time.perf_counter() - started)
        started = time.perf_counter()
        await full_text(winnow.database, Kind.MESSAGES, query)
        words.append(time.perf_counter() - started)
        started = time.perf_counter()
        vector = (await winnow.embedder.embed([query], input_type="query")).vectors[0]
        await nearest(winnow.database, Kind.MESSAGES, vector, space)
        vectors.append(time.perf_counter() - started)
    figures = [percentile(values, share) * 1000 for values in (whole, words, vectors) for share in (0.5, 0.99)]
    return (name, len(queries), *figures)


# -- quality


@dataclass
class Scores:
    """nDCG@10 and recall@100 of each query."""

    ndcg: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)


async def _quality(folder: Path, options: Options, speed: Table) -> Table:
    data = read_scifact(folder)
    table = Table(
        title=f"search: quality on SciFact, {len(data.documents):,} abstracts, {len(data.queries)} queries",
        columns=("way", "nDCG@10", "recall@100"),
        notes=[
            (
                "BM25 by others: 0.664 (the data's README), 0.676 (the project's own earlier experiment). `BM25 over "
                "everything` is computed here over the same words as the product's SQL sees: the difference is what "
                "the SQL's shortcuts cost."
            ),
        ],
    )
    now = datetime.now(UTC)
    said = [
        IncomingMessage(source="scifact", channel="scifact", external_id=name, author="", text=text, sent_at=now)
        for name, text in data.documents.items()
    ]
    async with stage() as made:
        names = await _fill(made, said)
        claims = list(data.queries.values())
        speed.rows.append(await _speed(made, f"SciFact: {len(said):,} abstracts", claims[: options.count(300, 60)]))
        found = await _judged(made.winnow, data, names)
        found["BM25 over everything"] = await _exact(made.winnow, data, names)
    for way, scores in found.items():
        recalls = sum(scores.recall) / len(scores.recall) if scores.recall else "–"
        table.rows.append((way, sum(scores.ndcg) / len(scores.ndcg), recalls))
    return table


async def _judged(winnow: Winnow, data: SciFact, names: dict[int, str]) -> dict[str, Scores]:
    space = await winnow.spaces.ours()
    weight = winnow.settings.vector_weight
    found = {name: Scores() for name in ("full text (our BM25)", "vectors alone", f"fused, vectors at {weight:g}")}
    whole = found["pipeline.search, messages"] = Scores()
    for query, text in data.queries.items():
        by_words = await full_text(winnow.database, Kind.MESSAGES, text)
        vector = (await winnow.embedder.embed([text], input_type="query")).vectors[0]
        by_vectors = await nearest(winnow.database, Kind.MESSAGES, vector, space)
        both = fuse(by_words, by_vectors, vector_weight=weight)
        for scores, kept in zip(found.values(), (by_words, by_vectors, both), strict=False):
            ranked = [names[row] for row in sorted(kept, key=lambda row: (-kept[row], row))]
            scores.ndcg.append(ndcg(ranked, data.judgements[query]))
            scores.recall.append(recall(ranked, data.judgements[query]))
        answer = await search(winnow.searching(), text, kinds=[Kind.MESSAGES])
        whole.ndcg.append(ndcg([names[hit.record.id] for hit in answer.hits], data.judgements[query]))
    return found


async def _exact(winnow: Winnow, data: SciFact, names: dict[int, str]) -> Scores:
    counts: dict[str, dict[str, int]] = {name: {} for name in names.values()}
    asked: dict[str, list[str]] = {query: [] for query in data.queries}
    async with winnow.database.autocommit() as connection:
        of_documents = WORDS_OF.format(id="t.external_id", source="messages t", text="t.text")
        for row in await connection.exec_driver_sql(of_documents):
            counts[row.name][row.lexeme] = row.number
        given = "unnest($1::text[], $2::text[]) AS q (id, text)"
        of_queries = WORDS_OF.format(id="q.id", source=given, text="q.text")
        values = (list(data.queries), list(data.queries.values()))
        for row in await connection.exec_driver_sql(of_queries, values):
            asked[row.name].append(row.lexeme)
    bm25, scores = Bm25(counts), Scores()
    for query, words in asked.items():
        ranked = bm25.search(words)
        scores.ndcg.append(ndcg(ranked, data.judgements[query]))
        scores.recall.append(recall(ranked, data.judgements[query]))
    return scores
