"""The tables. Vector columns, their indexes and the triggers that empty them are in `spaces.py` and the migrations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from winnow.storage.columns import ROOM_FOR_UPDATES, id_column, moment, now_column, reference


class WithVectors(SQLModel):
    """The columns of a row's vectors, in the active space, in the one that is being built, and in the one before.

    They are untyped until a model has been probed: `spaces.py` gives them their dimension. Never read or written
    through the ORM.
    """

    embedding: Any = Field(default=None, sa_type=Vector, nullable=True, exclude=True)
    embedded_characters: int | None = Field(default=None)
    embedding_next: Any = Field(default=None, sa_type=Vector, nullable=True, exclude=True)
    embedded_characters_next: int | None = Field(default=None)
    embedding_prev: Any = Field(default=None, sa_type=Vector, nullable=True, exclude=True)
    embedded_characters_prev: int | None = Field(default=None)


class Message(WithVectors, table=True):
    """One chat message as its source told it."""

    __tablename__: ClassVar[Any] = "messages"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("source", "channel", "external_id", name="messages_identity"),
        Index("messages_conversation", "source", "channel", "sent_at", "id"),
        Index("messages_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("messages_noise", "id", postgresql_where=text("signal = 'noise'")),
        Index("messages_unscored", "id", postgresql_where=text("importance IS NULL")),
        Index(
            "messages_topic",
            "topic_id",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
        ),
        Index("messages_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=id_column())
    source: str = Field(sa_type=Text)
    channel: str = Field(sa_type=Text)
    external_id: str = Field(sa_type=Text)
    author: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    text: str = Field(sa_type=Text)
    sent_at: datetime = Field(sa_type=DateTime(timezone=True))
    reply_to: str | None = Field(default=None, sa_type=Text)
    thread: str | None = Field(default=None, sa_type=Text)
    topic_id: int | None = Field(
        default=None, sa_column=reference("topic_id", "topics.id", nullable=True, ondelete="SET NULL")
    )
    author_id: str | None = Field(default=None, sa_type=Text)
    edited_at: datetime | None = Field(default=None, sa_column=moment("edited_at"))
    details: Any = Field(default=None, sa_column=Column("details", JSONB))
    importance: float | None = Field(default=None, sa_type=REAL)
    signal: str | None = Field(default=None, sa_type=Text)
    factors: Any = Field(default=None, sa_column=Column("factors", JSONB))
    received_at: datetime | None = Field(default=None, sa_column=now_column("received_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=now_column("text_changed_at"))


class Topic(WithVectors, table=True):
    """What a stretch of conversation was about."""

    __tablename__: ClassVar[Any] = "topics"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("name", name="topics_name"),
        Index("topics_without_vector", "id", postgresql_where=text("embedding IS NULL")),
        Index("topics_truncated", "id", postgresql_where=text("embedded_characters IS NOT NULL")),
        Index("topics_terms", "terms", postgresql_using="gin"),
        ROOM_FOR_UPDATES,
    )

    id: int | None = Field(default=None, sa_column=id_column())
    name: str = Field(sa_type=Text)
    description: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    terms: Any = Field(default=None, sa_column=Column("terms", JSONB, nullable=False, server_default=text("'{}'")))
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    text_changed_at: datetime | None = Field(default=None, sa_column=now_column("text_changed_at"))


class Counter(SQLModel, table=True):
    """Rare events worth a number, counted by all processes together."""

    __tablename__: ClassVar[Any] = "counters"

    name: str = Field(sa_column=Column("name", Text, primary_key=True))
    value: int = Field(default=0, sa_column=Column("value", BigInteger, nullable=False, server_default=text("0")))
    changed_at: datetime | None = Field(default=None, sa_column=now_column("changed_at"))


class ApiKey(SQLModel, table=True):
    """Who may call the API. Of the secret only its hash is kept; a revoked key stays, for the record."""

    __tablename__: ClassVar[Any] = "api_keys"
    __table_args__: ClassVar[Any] = (
        Index("api_keys_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
        CheckConstraint(
            "scopes <@ ARRAY['read', 'write', 'admin'] AND cardinality(scopes) > 0", name="api_keys_scopes"
        ),
    )

    id: int | None = Field(default=None, sa_column=id_column())
    name: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_column=Column("secret_hash", LargeBinary, nullable=False))
    scopes: list[str] = Field(sa_column=Column("scopes", ARRAY(Text), nullable=False))
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    last_used_at: datetime | None = Field(default=None, sa_column=moment("last_used_at"))
    revoked_at: datetime | None = Field(default=None, sa_column=moment("revoked_at"))
