"""The tables of extraction and of what it remembers: runs, atoms with versions and evidence, what people judged."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from winnow.domain.knowledge import AtomStatus, AtomType, LinkType
from winnow.storage.columns import ROOM_FOR_UPDATES, id_column, moment, now_column, one_of, reference
from winnow.storage.tables import WithVectors

RUN_STATES = ("running", "done", "failed", "cancelled", "abandoned")


class ExtractionRun(SQLModel, table=True):
    """One window given to one extractor: committed whole, or its messages given back.

    `answer` is what a model said where nothing could be made of it; it may hold words of the messages `context_ids`,
    which were shown beside those that were read.
    """

    __tablename__: ClassVar[Any] = "extraction_runs"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("state", RUN_STATES), name="extraction_runs_state"),
        CheckConstraint(one_of("asked", ("quiet", "threshold", "hand", "retry")), name="extraction_runs_asked"),
        Index("extraction_runs_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index("extraction_runs_window", "window_hash", postgresql_where=text("state = 'done'")),
        Index("extraction_runs_messages", "message_ids", postgresql_using="gin"),
        Index(
            "extraction_runs_context",
            "context_ids",
            postgresql_using="gin",
            postgresql_where=text("answer IS NOT NULL"),
        ),
        Index("extraction_runs_failed", "finished_at", postgresql_where=text("state = 'failed'")),
    )

    id: int | None = Field(default=None, sa_column=id_column())
    source: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    extractor: str = Field(sa_type=Text)
    extractor_version: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    asked: str = Field(default="hand", sa_type=Text, sa_column_kwargs={"server_default": "hand"})
    window_hash: bytes | None = Field(default=None, sa_column=Column("window_hash", LargeBinary))
    state: str = Field(default="running", sa_type=Text, sa_column_kwargs={"server_default": "running"})
    message_ids: list[int] = Field(sa_column=Column("message_ids", ARRAY(BigInteger), nullable=False))
    context_ids: list[int] = Field(
        default_factory=list,
        sa_column=Column("context_ids", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    )
    atoms: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    topics: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    links: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    unproven: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    requests: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    input_tokens: int = Field(
        default=0, sa_column=Column("input_tokens", BigInteger, nullable=False, server_default=text("0"))
    )
    output_tokens: int = Field(
        default=0, sa_column=Column("output_tokens", BigInteger, nullable=False, server_default=text("0"))
    )
    cost_usd: Decimal | None = Field(default=None, sa_column=Column("cost_usd", Numeric))
    answer: str | None = Field(default=None, sa_type=Text)
    error: str | None = Field(default=None, sa_type=Text)
    lease_until: datetime | None = Field(default=None, sa_column=moment("lease_until"))
    started_at: datetime | None = Field(default=None, sa_column=now_column("started_at"))
    finished_at: datetime | None = Field(default=None, sa_column=moment("finished_at"))


class ExtractionQueueEntry(SQLModel, table=True):
    """A message no committed run has read yet; `run_id` is set while a run has it in hand.

    `failures` counts the runs that failed with it by a fault of their own; at three it is left aside. `parked`: nothing
    is extracted from its channel.
    """

    __tablename__: ClassVar[Any] = "extraction_queue"
    __table_args__: ClassVar[Any] = (
        Index("extraction_queue_run", "run_id"),
        Index(
            "extraction_queue_due",
            "message_id",
            postgresql_where=text("run_id IS NULL AND NOT parked AND failures < 3"),
        ),
    )

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
        default=None, sa_column=reference("run_id", "extraction_runs.id", nullable=True, ondelete="SET NULL")
    )
    failures: int = Field(
        default=0, sa_column=Column("failures", SmallInteger, nullable=False, server_default=text("0"))
    )
    parked: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class Atom(WithVectors, table=True):
    """One typed piece of knowledge; a type never holds the same content twice.

    `raw_confidence` is the extractor's own. It holds from `said_at` until `valid_until`, when `superseded_by` took
    over; a question or problem that came to an end outside of the chat is `closed_at`.
    """

    __tablename__: ClassVar[Any] = "atoms"
    __table_args__: ClassVar[Any] = (
        Index("atoms_identity", "type", text("md5(lower(content))"), unique=True),
        CheckConstraint(one_of("type", AtomType), name="atoms_type"),
        CheckConstraint(one_of("status", AtomStatus), name="atoms_status"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="atoms_confidence"),
        Index("atoms_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("atoms_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        Index("atoms_topic", "topic_id"),
        Index("atoms_run", "run_id"),  # else a run that is forgotten reads the whole table for its foreign key
        Index("atoms_superseded_by", "superseded_by", postgresql_where=text("superseded_by IS NOT NULL")),
        Index("atoms_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
        Index("atoms_said", "said_at", "id"),
        Index("atoms_waiting", "status", "id", postgresql_where=text("status IN ('candidate', 'unproven')")),
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=id_column())
    type: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    confidence: float = Field(sa_type=REAL, sa_column_kwargs={"server_default": text("1")})
    status: str = Field(default="active", sa_type=Text, sa_column_kwargs={"server_default": "active"})
    topic_id: int | None = Field(
        default=None, sa_column=reference("topic_id", "topics.id", nullable=True, ondelete="SET NULL")
    )
    run_id: int | None = Field(
        default=None, sa_column=reference("run_id", "extraction_runs.id", nullable=True, ondelete="SET NULL")
    )
    extractor: str = Field(default="rules", sa_type=Text, sa_column_kwargs={"server_default": "rules"})
    raw_confidence: float | None = Field(default=None, sa_type=REAL)
    said_at: datetime | None = Field(default=None, sa_column=moment("said_at"))
    version: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    valid_until: datetime | None = Field(default=None, sa_column=moment("valid_until"))
    superseded_by: int | None = Field(
        default=None, sa_column=reference("superseded_by", "atoms.id", nullable=True, ondelete="SET NULL")
    )
    superseded_because: str | None = Field(default=None, sa_type=Text)
    closed_at: datetime | None = Field(default=None, sa_column=moment("closed_at"))
    closed_because: str | None = Field(default=None, sa_type=Text)
    merged_into: int | None = Field(default=None, sa_column=reference("merged_into", "atoms.id", nullable=True))
    reviewed_at: datetime | None = Field(default=None, sa_column=moment("reviewed_at"))
    reviewed_by: str | None = Field(default=None, sa_type=Text)
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=now_column("text_changed_at"))


class AtomLink(SQLModel, table=True):
    """`source_id` TYPE `target_id`: an answer `answers` its question."""

    __tablename__: ClassVar[Any] = "atom_links"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("type", LinkType), name="atom_links_type"),
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


class AtomVersion(SQLModel, table=True):
    """A wording that an atom has, had or may get; the atom itself holds the current one."""

    __tablename__: ClassVar[Any] = "atom_versions"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("state", ("current", "past", "proposed", "rejected")), name="atom_versions_state"),
        Index("atom_versions_proposed", "atom_id", postgresql_where=text("state = 'proposed'")),
        Index("atom_versions_run", "run_id"),
    )

    atom_id: int = Field(
        sa_column=Column("atom_id", BigInteger, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True)
    )
    version: int = Field(sa_column=Column("version", Integer, primary_key=True, autoincrement=False))
    state: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    confidence: float = Field(sa_type=REAL)
    made_by: str = Field(sa_type=Text)
    run_id: int | None = Field(
        default=None, sa_column=reference("run_id", "extraction_runs.id", nullable=True, ondelete="SET NULL")
    )
    reason: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    decided_at: datetime | None = Field(default=None, sa_column=moment("decided_at"))
    decided_by: str | None = Field(default=None, sa_type=Text)


class AtomClaim(SQLModel, table=True):
    """A message that an unproven atom was read in, and the words it was said to hold."""

    __tablename__: ClassVar[Any] = "atom_claims"
    __table_args__: ClassVar[Any] = (Index("atom_claims_message", "message_id"),)

    atom_id: int = Field(
        sa_column=Column("atom_id", BigInteger, ForeignKey("atoms.id", ondelete="CASCADE"), primary_key=True)
    )
    place: int = Field(sa_column=Column("place", SmallInteger, primary_key=True, autoincrement=False))
    message_id: int = Field(sa_column=reference("message_id", "messages.id"))
    quote: str = Field(sa_type=Text)


class AtomReview(SQLModel, table=True):
    """What a person judged of an atom, and the words it had then."""

    __tablename__: ClassVar[Any] = "atom_reviews"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("verdict", ("accept", "reject", "edit", "merge")), name="atom_reviews_verdict"),
        Index("atom_reviews_atom", "atom_id"),
    )

    id: int | None = Field(default=None, sa_column=id_column())
    atom_id: int = Field(sa_column=reference("atom_id", "atoms.id"))
    verdict: str = Field(sa_type=Text)
    extractor: str = Field(sa_type=Text)
    type: str = Field(sa_type=Text)
    title: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)
    confidence: float = Field(sa_type=REAL)
    reviewer: str = Field(sa_type=Text)
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))


class Judge(SQLModel, table=True):
    """A classifier that was taught by the reviews; the latest one judges."""

    __tablename__: ClassVar[Any] = "judges"

    id: int | None = Field(default=None, sa_column=id_column())
    reviews: int
    weights: bytes = Field(sa_column=Column("weights", LargeBinary, nullable=False))
    report: Any = Field(sa_column=Column("report", JSONB, nullable=False))
    trained_at: datetime | None = Field(default=None, sa_column=now_column("trained_at"))
