"""The tables. Vector columns, their indexes and the triggers that empty them are in `spaces.py` and the migrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlmodel import Field, SQLModel

from winnow.domain.knowledge import AtomType, LinkType

# Updates of rows that have an indexed vector stay cheap only while they find room on their own page (HOT).
ROOM_FOR_UPDATES = {"postgresql_with": {"fillfactor": "50"}}


def _id() -> Any:
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def _reference(name: str, target: str, *, nullable: bool = False, ondelete: str = "CASCADE") -> Any:
    return Column(name, BigInteger, ForeignKey(target, ondelete=ondelete), nullable=nullable)


def _now(name: str) -> Any:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _moment(name: str) -> Any:
    return Column(name, DateTime(timezone=True))


def _embedding() -> Any:
    # Untyped until a model has been probed: `spaces.py` gives it its dimension. Never read or written through the ORM.
    return Column("embedding", Vector(), nullable=True)


def _one_of(column: str, values: Any) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


class Message(SQLModel, table=True):
    """One chat message as its source told it."""

    __tablename__: ClassVar[Any] = "messages"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("source", "channel", "external_id", name="messages_identity"),
        Index("messages_conversation", "source", "channel", "sent_at", "id"),
        Index("messages_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("messages_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=_id())
    source: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    external_id: str = Field(sa_type=Text)
    author: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    text: str = Field(sa_type=Text)
    sent_at: datetime = Field(sa_type=DateTime(timezone=True))
    reply_to: str | None = Field(default=None, sa_type=Text)
    thread: str | None = Field(default=None, sa_type=Text)
    topic_id: int | None = Field(
        default=None, sa_column=_reference("topic_id", "topics.id", nullable=True, ondelete="SET NULL")
    )
    importance: float | None = Field(default=None, sa_type=REAL)
    signal: str | None = Field(default=None, sa_type=Text)
    received_at: datetime | None = Field(default=None, sa_column=_now("received_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=_now("text_changed_at"))
    embedding: Any = Field(default=None, sa_column=_embedding(), exclude=True)
    embedded_characters: int | None = Field(default=None)


class Topic(SQLModel, table=True):
    """What a stretch of conversation was about."""

    __tablename__: ClassVar[Any] = "topics"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("name", name="topics_name"),
        Index("topics_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("topics_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=_id())
    name: str = Field(sa_type=Text)
    description: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    created_at: datetime | None = Field(default=None, sa_column=_now("created_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=_now("text_changed_at"))
    embedding: Any = Field(default=None, sa_column=_embedding(), exclude=True)
    embedded_characters: int | None = Field(default=None)


class ExtractionRun(SQLModel, table=True):
    """One window given to one extractor: committed whole, or failed and its messages given back."""

    __tablename__: ClassVar[Any] = "extraction_runs"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(_one_of("state", ("running", "done", "failed")), name="extraction_runs_state"),
        Index("extraction_runs_running", "lease_until", postgresql_where=text("state = 'running'")),
    )

    id: int | None = Field(default=None, sa_column=_id())
    source: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    extractor: str = Field(sa_type=Text)
    state: str = Field(default="running", sa_type=Text, sa_column_kwargs={"server_default": "running"})
    message_ids: list[int] = Field(sa_column=Column("message_ids", ARRAY(BigInteger), nullable=False))
    atoms: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    topics: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    links: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    error: str | None = Field(default=None, sa_type=Text)
    lease_until: datetime | None = Field(default=None, sa_column=_moment("lease_until"))
    started_at: datetime | None = Field(default=None, sa_column=_now("started_at"))
    finished_at: datetime | None = Field(default=None, sa_column=_moment("finished_at"))


class ExtractionQueueEntry(SQLModel, table=True):
    """A message no committed run has read yet; `run_id` is set while a run has it in hand.

    `failures` counts the runs that failed with it by a fault of their own; at three it is left aside.
    """

    __tablename__: ClassVar[Any] = "extraction_queue"
    __table_args__: ClassVar[Any] = (Index("extraction_queue_run", "run_id"),)

    message_id: int = Field(
        sa_column=Column(
            "message_id",
            BigInteger,
            ForeignKey("messages.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        )
    )
    run_id: int | None = Field(
        default=None, sa_column=_reference("run_id", "extraction_runs.id", nullable=True, ondelete="SET NULL")
    )
    failures: int = Field(
        default=0, sa_column=Column("failures", SmallInteger, nullable=False, server_default=text("0"))
    )


class Atom(SQLModel, table=True):
    """One typed piece of knowledge; a type never holds the same content twice."""

    __tablename__: ClassVar[Any] = "atoms"
    __table_args__: ClassVar[Any] = (
        Index("atoms_identity", "type", text("md5(lower(content))"), unique=True),
        CheckConstraint(_one_of("type", AtomType), name="atoms_type"),
        CheckConstraint(_one_of("status", ("active", "unproven", "rejected")), name="atoms_status"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="atoms_confidence"),
        Index("atoms_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("atoms_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        Index("atoms_topic", "topic_id"),
        Index("atoms_run", "run_id"),  # else a run that is forgotten reads the whole table for its foreign key
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=_id())
    type: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    confidence: float = Field(sa_type=REAL, sa_column_kwargs={"server_default": text("1")})
    status: str = Field(default="active", sa_type=Text, sa_column_kwargs={"server_default": "active"})
    topic_id: int | None = Field(
        default=None, sa_column=_reference("topic_id", "topics.id", nullable=True, ondelete="SET NULL")
    )
    run_id: int | None = Field(
        default=None, sa_column=_reference("run_id", "extraction_runs.id", nullable=True, ondelete="SET NULL")
    )
    created_at: datetime | None = Field(default=None, sa_column=_now("created_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=_now("text_changed_at"))
    embedding: Any = Field(default=None, sa_column=_embedding(), exclude=True)
    embedded_characters: int | None = Field(default=None)


class AtomLink(SQLModel, table=True):
    """`source_id` TYPE `target_id`: an answer `answers` its question."""

    __tablename__: ClassVar[Any] = "atom_links"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(_one_of("type", LinkType), name="atom_links_type"),
        CheckConstraint("source_id <> target_id", name="atom_links_not_to_itself"),
        Index("atom_links_target", "target_id"),
    )

    source_id: int = Field(
        sa_column=Column("source_id", BigInteger, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True)
    )
    target_id: int = Field(
        sa_column=Column("target_id", BigInteger, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True)
    )
    type: str = Field(sa_column=Column("type", Text, primary_key=True))
    confidence: float = Field(sa_type=REAL, sa_column_kwargs={"server_default": text("1")})


class AtomEvidence(SQLModel, table=True):
    """The exact words an atom rests on: characters `start_char` to `end_char` of the message's text."""

    __tablename__: ClassVar[Any] = "atom_evidence"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("0 <= start_char AND start_char < end_char", name="atom_evidence_span"),
        Index("atom_evidence_message", "message_id"),
    )

    atom_id: int = Field(
        sa_column=Column("atom_id", BigInteger, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True)
    )
    message_id: int = Field(
        sa_column=Column("message_id", BigInteger, ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    )
    start_char: int = Field(primary_key=True)
    end_char: int = Field(primary_key=True)
    quote: str = Field(sa_type=Text)


class EmbeddingSpace(SQLModel, table=True):
    """One vector space: vectors of two spaces are never compared, however many dimensions they share."""

    __tablename__: ClassVar[Any] = "embedding_spaces"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(_one_of("status", ("building", "active", "retired")), name="embedding_spaces_status"),
        Index("embedding_spaces_active", "status", unique=True, postgresql_where=text("status = 'active'")),
    )

    id: int | None = Field(default=None, sa_column=Column("id", SmallInteger, Identity(always=False), primary_key=True))
    provider: str = Field(sa_type=Text)
    model: str = Field(sa_type=Text)
    dimensions: int
    document_prefix: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    query_prefix: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    status: str = Field(default="active", sa_type=Text, sa_column_kwargs={"server_default": "active"})
    created_at: datetime | None = Field(default=None, sa_column=_now("created_at"))
    # While its model server is away, or wrongly set up, nobody claims rows: how often in a row, until when, since when.
    pauses: int = Field(default=0, sa_column=Column("pauses", SmallInteger, nullable=False, server_default=text("0")))
    paused_until: datetime | None = Field(default=None, sa_column=_moment("paused_until"))
    paused_since: datetime | None = Field(default=None, sa_column=_moment("paused_since"))
    paused_kind: str | None = Field(default=None, sa_type=Text)
    paused_because: str | None = Field(default=None, sa_type=Text)


class EmbeddingJob(SQLModel, table=True):
    """Only rows that are in hand, waiting, failed or skipped; a NULL embedding without a row here is plainly pending.

    No index on the state: it would end cheap (HOT) updates of a table that is nothing but updates.
    """

    __tablename__: ClassVar[Any] = "embedding_jobs"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(_one_of("state", ("leased", "waiting", "failed", "skipped")), name="embedding_jobs_state"),
        Index(
            "embedding_jobs_text",
            "kind",
            "space_id",
            "text_hash",
            unique=True,
            postgresql_where=text("text_hash IS NOT NULL"),
        ),
        ROOM_FOR_UPDATES,
    )

    kind: str = Field(sa_column=Column("kind", Text, primary_key=True))
    entity_id: int = Field(sa_column=Column("entity_id", BigInteger, primary_key=True, autoincrement=False))
    space_id: int = Field(
        sa_column=Column(
            "space_id", SmallInteger, ForeignKey("embedding_spaces.id", ondelete="CASCADE"), primary_key=True
        )
    )
    state: str = Field(sa_type=Text)
    lease_until: datetime | None = Field(default=None, sa_column=_moment("lease_until"))
    token: UUID | None = Field(default=None, sa_type=Uuid)
    worker: str | None = Field(default=None, sa_type=Text)
    not_before: datetime | None = Field(default=None, sa_column=_moment("not_before"))
    attempts: int = Field(
        default=0, sa_column=Column("attempts", SmallInteger, nullable=False, server_default=text("0"))
    )
    waits: int = Field(default=0, sa_column=Column("waits", SmallInteger, nullable=False, server_default=text("0")))
    error_kind: str | None = Field(default=None, sa_type=Text)
    error: str | None = Field(default=None, sa_type=Text)
    text_hash: int | None = Field(default=None, sa_type=BigInteger)
    deaths: int = Field(default=0, sa_column=Column("deaths", SmallInteger, nullable=False, server_default=text("0")))
    # A vector that has been paid for and could not be stored yet.
    paid: Any = Field(default=None, sa_column=Column("paid", ARRAY(REAL)), exclude=True)
    about_hash: bytes | None = Field(default=None, sa_column=Column("about_hash", LargeBinary))
    paid_characters: int | None = Field(default=None)


class EmbeddingBatch(SQLModel, table=True):
    """A batch of rows that got their vectors: what rates are made of. Old ones are removed by the sweeper."""

    __tablename__: ClassVar[Any] = "embedding_batches"
    __table_args__: ClassVar[Any] = (Index("embedding_batches_finished", "finished_at"),)

    id: int | None = Field(default=None, sa_column=_id())
    kind: str = Field(sa_type=Text)
    space_id: int = Field(
        sa_column=Column(
            "space_id", SmallInteger, ForeignKey("embedding_spaces.id", ondelete="CASCADE"), nullable=False
        )
    )
    worker: str = Field(sa_type=Text)
    embedded: int
    saved: int
    tokens: int | None = Field(default=None, sa_type=BigInteger)
    seconds: float = Field(sa_type=REAL)
    finished_at: datetime | None = Field(default=None, sa_column=_now("finished_at"))


class Unprobed(SQLModel, table=True):
    """Why the model cannot be probed, before there is a space; one row, or none."""

    __tablename__: ClassVar[Any] = "unprobed"
    __table_args__: ClassVar[Any] = (CheckConstraint("single", name="unprobed_single"),)

    single: bool = Field(
        default=True, sa_column=Column("single", Boolean, primary_key=True, server_default=text("true"))
    )
    since: datetime | None = Field(default=None, sa_column=_now("since"))
    error_kind: str = Field(sa_type=Text)
    because: str = Field(sa_type=Text)


class Counter(SQLModel, table=True):
    """Rare events worth a number, counted by all processes together."""

    __tablename__: ClassVar[Any] = "counters"

    name: str = Field(sa_column=Column("name", Text, primary_key=True))
    value: int = Field(default=0, sa_column=Column("value", BigInteger, nullable=False, server_default=text("0")))
    changed_at: datetime | None = Field(default=None, sa_column=_now("changed_at"))


class ApiKey(SQLModel, table=True):
    """Who may call the API. Of the secret only its hash is kept; a revoked key stays, for the record."""

    __tablename__: ClassVar[Any] = "api_keys"
    __table_args__: ClassVar[Any] = (
        Index("api_keys_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
        CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'admin'] AND cardinality(scopes) > 0", name="api_keys_scopes"
        ),
    )

    id: int | None = Field(default=None, sa_column=_id())
    name: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_column=Column("secret_hash", LargeBinary, nullable=False))
    scopes: list[str] = Field(sa_column=Column("scopes", ARRAY(Text), nullable=False))
    created_at: datetime | None = Field(default=None, sa_column=_now("created_at"))
    last_used_at: datetime | None = Field(default=None, sa_column=_moment("last_used_at"))
    revoked_at: datetime | None = Field(default=None, sa_column=_moment("revoked_at"))
