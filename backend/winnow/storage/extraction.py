"""Extraction runs as stored: what is due, who has it in hand, and one commit for all that was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.domain.knowledge import WindowMessage
from winnow.errors import RunLost
from winnow.storage.edits import hold_knowledge
from winnow.storage.messages import from_json, score_columns, write_scores
from winnow.storage.named import fetch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from winnow.domain.knowledge import Extraction
    from winnow.domain.messages import Details
    from winnow.storage.engine import Database
    from winnow.storage.messages import StoredScore
    from winnow.storage.unit_of_work import UnitOfWork

# A message that so many runs failed with is no more given to one, until somebody asks for it.
MOST_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DueChannel:
    """A channel whose unclaimed messages should be extracted; ids in the order they were said."""

    source: str
    channel: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """An unclaimed message with its place.

    `importance` is None until it was scored; `linked` says whether it was joined to its conversation.
    """

    id: int
    source: str
    channel: str
    author: str
    text: str
    sent_at: datetime
    importance: float | None
    details: Details | None
    linked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A message said before, and the topic it was filed under."""

    message: WindowMessage
    topic: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedExtraction:
    """Ids of what a run's commit wrote, new or grown."""

    atom_ids: tuple[int, ...]
    topic_ids: tuple[int, ...]
    links: int


class ExtractionStore:
    """The statements of `sql/extraction.sql` outside the commit of a run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(
        self, *, threshold: int, quiet_seconds: float, most: int, failed_pause_seconds: float
    ) -> list[DueChannel]:
        """Channels with `threshold` unclaimed messages, or fewer and quiet for `quiet_seconds`.

        Messages that `MOST_FAILURES` runs failed with are not among them.
        """
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection, "due_channels", threshold, quiet_seconds, most, failed_pause_seconds, MOST_FAILURES
            )
        return [DueChannel(source=row.source, channel=row.channel, ids=tuple(row.ids)) for row in rows]

    async def unclaimed(self, ids: Sequence[int]) -> list[StoredMessage]:
        """Those of the ids that no run has, ordered by channel and time; however often runs failed with them."""
        async with self._database.autocommit() as connection:
            rows = await fetch(connection, "unclaimed_messages", list(ids))
        return [
            StoredMessage(**{**row._mapping, "details": from_json(row.details)})  # noqa: SLF001 - SQLAlchemy's public name
            for row in rows
        ]

    async def set_aside(self, noise: Sequence[StoredScore]) -> None:
        """Stores the scores of messages that turned out to be noise, and takes them off the queue."""
        await write_scores(self._database, noise)

    async def unclaimed_ids(self, *, channel: str | None, limit: int) -> list[int]:
        """Ids that no run has, of one channel or of all; however often runs failed with them: somebody asks."""
        async with self._database.autocommit() as connection:
            return [row.id for row in await fetch(connection, "unclaimed_ids", channel, limit)]

    async def earlier(self, before: StoredMessage, *, limit: int) -> list[Earlier]:
        """What was said in the channel before a message, oldest first."""
        async with self._database.autocommit() as connection:
            rows = await fetch(
                connection, "earlier_messages", before.source, before.channel, before.sent_at, before.id, limit
            )
        return [
            Earlier(
                message=WindowMessage(
                    id=row.id, author=row.author, text=row.text, sent_at=row.sent_at, importance=row.importance or 0.0
                ),
                topic=row.topic,
            )
            for row in reversed(rows)
        ]

    async def start_run(
        self, *, source: str, channel: str, extractor: str, ids: Sequence[int], lease_seconds: float
    ) -> tuple[int, dict[int, str]] | None:
        """A run and the messages it got, without those that other runs took meanwhile; None when they took all.

        With each the text it has now: who edits it after this gives the run up.
        """
        async with self._database.transaction() as connection:
            await hold_knowledge(connection)
            rows = await fetch(connection, "start_run", source, channel, extractor, list(ids), lease_seconds)
            if not rows:
                return None
            texts = await fetch(connection, "texts_of_messages", rows[0].message_ids)
        return int(rows[0].id), {row.id: row.text for row in texts}

    async def renew_run(self, run_id: int, lease_seconds: float) -> None:
        """The heartbeat of a run."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "renew_run", run_id, lease_seconds)

    async def fail_run(self, run_id: int, reason: str, *, fault: bool) -> None:
        """Ends a run without result and gives its messages back; `fault` counts against them (`MOST_FAILURES`)."""
        async with self._database.transaction() as connection:
            await fetch(connection, "fail_run", run_id, reason)
            await fetch(connection, "give_messages_back", run_id, int(fault))

    async def forget_run(self, run_id: int) -> None:
        """Gives the messages of a running run back as if it had never been."""
        async with self._database.autocommit() as connection:
            await fetch(connection, "forget_run", run_id)

    async def fail_dead_runs(self) -> int:
        """Ends the runs whose worker is gone, gives their messages back, and says how many there were.

        That counts against the messages, for it may be they that kill workers.
        """
        async with self._database.transaction() as connection:
            return len(await fetch(connection, "fail_dead_runs"))


async def save_extraction(
    work: UnitOfWork, run_id: int, extraction: Extraction, scores: Sequence[StoredScore] = ()
) -> SavedExtraction:
    """Writes all that a run found, and takes its messages off the queue, inside the caller's transaction.

    `scores` are stored where a message still has none.

    Raises:
        RunLost: somebody else gave the run up, or changed or removed a message that it quotes; the caller rolls back.
    """
    await work.fetch("hold_knowledge", False)
    names = {atom.topic for atom in extraction.atoms if atom.topic} | set(extraction.message_topics.values())
    await work.fetch("upsert_topics", sorted(names))
    topics = {row.name: int(row.id) for row in await work.fetch("topics_by_name", sorted(names))}
    atom_ids = await _save_atoms(work, run_id, extraction, topics)
    await _save_evidence(work, extraction, atom_ids)
    links = await _save_links(work, extraction, atom_ids)
    filed = {message: topics[name] for message, name in extraction.message_topics.items()}
    await _save_what_was_learned(work, filed, {score.id: score for score in scores})
    # The run first, then its messages: who gives a run up locks them in this order, too.
    if not await work.fetch("finish_run", run_id, len(set(atom_ids)), len(topics), links):
        raise RunLost
    await work.fetch("dequeue_messages", run_id)
    return SavedExtraction(
        atom_ids=tuple(dict.fromkeys(atom_ids)), topic_ids=tuple(sorted(topics.values())), links=links
    )


async def _save_what_was_learned(
    work: UnitOfWork, topics: Mapping[int, int], scores: Mapping[int, StoredScore]
) -> None:
    ids = sorted(topics.keys() | scores.keys())
    found = [scores.get(row) for row in ids]
    await work.fetch(
        "write_what_was_learned",
        ids,
        [topics.get(row) for row in ids],
        *score_columns([score.score if score else None for score in found]),
    )


async def _save_atoms(work: UnitOfWork, run_id: int, extraction: Extraction, topics: Mapping[str, int]) -> list[int]:
    """The id of each atom. They are written in the order of what makes twins, so that runs never wait in a circle."""
    ids: dict[int, int] = {}
    for place, atom in sorted(enumerate(extraction.atoms), key=lambda item: (item[1].type, item[1].content.lower())):
        topic_id = topics.get(atom.topic or "")
        rows = await work.fetch("upsert_atom", atom.type, atom.title, atom.content, atom.confidence, topic_id, run_id)
        ids[place] = int(rows[0].id)
    return [ids[place] for place in range(len(extraction.atoms))]


async def _save_evidence(work: UnitOfWork, extraction: Extraction, atom_ids: Sequence[int]) -> None:
    rows = [
        (atom_id, evidence.message_id, evidence.start, evidence.end, evidence.quote)
        for atom_id, atom in zip(atom_ids, extraction.atoms, strict=True)
        for evidence in atom.evidence
    ]
    if rows:
        atoms, *places = (list(column) for column in zip(*rows, strict=True))
        if (await work.fetch("count_misquoted", *places))[0].number:
            raise RunLost("a message that it quotes was changed or removed meanwhile; its messages are read again")
        await work.fetch("insert_evidence", atoms, *places)


async def _save_links(work: UnitOfWork, extraction: Extraction, atom_ids: Sequence[int]) -> int:
    strongest: dict[tuple[int, int, str], float] = {}
    for link in extraction.links:
        key = (atom_ids[link.source], atom_ids[link.target], link.type.value)
        if key[0] != key[1]:  # twins may have become one atom
            strongest[key] = max(link.confidence, strongest.get(key, 0.0))
    if strongest:
        columns = zip(*(key for key in strongest), strict=True)
        await work.fetch("insert_links", *(list(column) for column in columns), list(strongest.values()))
    return len(strongest)
