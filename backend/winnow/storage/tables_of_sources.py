"""The tables around messages: channels, conversations, what was forgotten, and what requests and imports remember."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from winnow.domain.messages import ChannelMode
from winnow.storage.columns import now_column, one_of, reference


class Channel(SQLModel, table=True):
    """What somebody chose for a channel, and how its source names it where that is not its identity."""

    __tablename__: ClassVar[Any] = "channels"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("mode", ChannelMode), name="channels_mode"),
        CheckConstraint("keep_days BETWEEN 1 AND 36500", name="channels_keep_days"),
    )

    source: str = Field(sa_column=Column("source", Text, primary_key=True))
    channel: str = Field(sa_column=Column("channel", Text, primary_key=True))
    title: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    mode: str = Field(default="on", sa_type=Text, sa_column_kwargs={"server_default": "on"})
    local_only: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    keep_days: int | None = Field(default=None)
    changed_at: datetime | None = Field(default=None, sa_column=now_column("changed_at"))


class MessageThread(SQLModel, table=True):
    """The conversation a message is in: the id of the first message of it. `reason` is why it answers `parent_id`."""

    __tablename__: ClassVar[Any] = "message_threads"
    __table_args__: ClassVar[Any] = (
        Index("message_threads_conversation", "conversation_id"),
        Index("message_threads_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
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
    conversation_id: int = Field(sa_column=Column("conversation_id", BigInteger, nullable=False))
    parent_id: int | None = Field(
        default=None, sa_column=reference("parent_id", "messages.id", nullable=True, ondelete="SET NULL")
    )
    reason: str | None = Field(default=None, sa_type=Text)
    vote: int = Field(default=0, sa_column=Column("vote", SmallInteger, nullable=False, server_default=text("0")))


class ForgottenMessage(SQLModel, table=True):
    """The hash of the identity of a message that was forgotten on purpose."""

    __tablename__: ClassVar[Any] = "forgotten_messages"

    identity: bytes = Field(sa_column=Column("identity", LargeBinary, primary_key=True))
    forgotten_at: datetime | None = Field(default=None, sa_column=now_column("forgotten_at"))


class IdempotencyKey(SQLModel, table=True):
    """What a request with this key was answered, for whoever sends it again."""

    __tablename__: ClassVar[Any] = "idempotency_keys"
    __table_args__: ClassVar[Any] = (Index("idempotency_keys_created", "created_at"),)

    caller: str = Field(sa_column=Column("caller", Text, primary_key=True))
    key: str = Field(sa_column=Column("key", Text, primary_key=True))
    request_hash: bytes = Field(sa_column=Column("request_hash", LargeBinary, nullable=False))
    status: int = Field(sa_column=Column("status", SmallInteger, nullable=False))
    answer: Any = Field(sa_column=Column("answer", JSONB, nullable=False))
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))


class ImportProgress(SQLModel, table=True):
    """How many items of a file are stored, while its import has not come to the end."""

    __tablename__: ClassVar[Any] = "import_progress"

    fingerprint: bytes = Field(sa_column=Column("fingerprint", LargeBinary, primary_key=True))
    items: int = Field(sa_column=Column("items", BigInteger, nullable=False))
    changed_at: datetime | None = Field(default=None, sa_column=now_column("changed_at"))
