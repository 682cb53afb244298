"""The tables of vector spaces, of what is being embedded, and of the providers that do it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Numeric,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlmodel import Field, SQLModel

from winnow.storage.columns import ROOM_FOR_UPDATES, id_column, moment, now_column, one_of


class EmbeddingSpace(SQLModel, table=True):
    """One vector space: vectors of two spaces are never compared, however many dimensions they share."""

    __tablename__: ClassVar[Any] = "embedding_spaces"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(
            one_of("status", ("building", "active", "previous", "retired")), name="embedding_spaces_status"
        ),
        Index("embedding_spaces_roles", "status", unique=True, postgresql_where=text("status <> 'retired'")),
    )

    id: int | None = Field(default=None, sa_column=Column("id", SmallInteger, Identity(always=False), primary_key=True))
    provider: str = Field(sa_type=Text)
    model: str = Field(sa_type=Text)
    dimensions: int
    document_prefix: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    query_prefix: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    status: str = Field(default="active", sa_type=Text, sa_column_kwargs={"server_default": "active"})
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    provider_id: UUID | None = Field(
        default=None, sa_column=Column("provider_id", Uuid, ForeignKey("llm_providers.id", ondelete="SET NULL"))
    )
    # The vector of a fixed sentence: a server that makes another one of it has another model.
    fingerprint: Any = Field(default=None, sa_column=Column("fingerprint", ARRAY(REAL)), exclude=True)
    # While its model server is away, or wrongly set up, nobody claims rows: how often in a row, until when, since when.
    pauses: int = Field(default=0, sa_column=Column("pauses", SmallInteger, nullable=False, server_default=text("0")))
    paused_until: datetime | None = Field(default=None, sa_column=moment("paused_until"))
    paused_since: datetime | None = Field(default=None, sa_column=moment("paused_since"))
    paused_kind: str | None = Field(default=None, sa_type=Text)
    paused_because: str | None = Field(default=None, sa_type=Text)


class EmbeddingJob(SQLModel, table=True):
    """Only rows that are in hand, waiting, failed or skipped; a NULL embedding without a row here is plainly pending.

    No index on the state: it would end cheap (HOT) updates of a table that is nothing but updates.
    """

    __tablename__: ClassVar[Any] = "embedding_jobs"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("state", ("leased", "waiting", "failed", "skipped")), name="embedding_jobs_state"),
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
    lease_until: datetime | None = Field(default=None, sa_column=moment("lease_until"))
    token: UUID | None = Field(default=None, sa_type=Uuid)
    worker: str | None = Field(default=None, sa_type=Text)
    not_before: datetime | None = Field(default=None, sa_column=moment("not_before"))
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


class Usage(SQLModel, table=True):
    """One use of a model: a batch of rows that got vectors, a search, an extraction. Rates and bills are of these.

    `rows` that got a vector are `embedded`, those of them without asking `saved`; `texts` were sent in `requests`.
    `tokens` went in, `output_tokens` came out, both as the server counted them or, if `estimated`, as we did. The price
    is NULL where it is not known, and 0 where nothing is paid.
    """

    __tablename__: ClassVar[Any] = "llm_usage"
    __table_args__: ClassVar[Any] = (
        CheckConstraint(one_of("purpose", ("embed", "search", "extract", "score", "check")), name="llm_usage_purpose"),
        Index("llm_usage_finished", "finished_at"),
    )

    id: int | None = Field(default=None, sa_column=id_column())
    kind: str | None = Field(default=None, sa_type=Text)
    space_id: int | None = Field(
        default=None,
        sa_column=Column("space_id", SmallInteger, ForeignKey("embedding_spaces.id", ondelete="CASCADE")),
    )
    worker: str = Field(sa_type=Text)
    embedded: int
    saved: int
    tokens: int | None = Field(default=None, sa_type=BigInteger)
    seconds: float = Field(sa_type=REAL)
    finished_at: datetime | None = Field(default=None, sa_column=now_column("finished_at"))
    purpose: str = Field(default="embed", sa_type=Text, sa_column_kwargs={"server_default": "embed"})
    run: str | None = Field(default=None, sa_type=Text)
    provider_id: UUID | None = Field(default=None, sa_type=Uuid)
    provider: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    model: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})
    requests: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    texts: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    estimated: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    output_tokens: int | None = Field(default=None, sa_type=BigInteger)
    price_usd: Decimal | None = Field(default=None, sa_type=cast("Any", Numeric(18, 9)))


class LlmProvider(SQLModel, table=True):
    """Who makes vectors or answers prompts. `urls` are of servers with the same models, the first one preferred.

    `api_key` is encrypted (`winnow.secrets`). Limits and prefixes that are NULL are the model's, or the server's, own.
    """

    __tablename__: ClassVar[Any] = "llm_providers"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("name", name="llm_providers_name"),
        CheckConstraint(one_of("kind", ("local", "ollama", "openai")), name="llm_providers_kind"),
        CheckConstraint(
            "requests_per_minute > 0 AND tokens_per_minute > 0 AND at_once > 0", name="llm_providers_limits"
        ),
    )

    id: UUID | None = Field(
        default=None, sa_column=Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    )
    name: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    urls: list[str] = Field(sa_column=Column("urls", ARRAY(Text), nullable=False, server_default=text("'{}'")))
    embedding_model: str | None = Field(default=None, sa_type=Text)
    chat_model: str | None = Field(default=None, sa_type=Text)
    api_key: bytes | None = Field(default=None, sa_column=Column("api_key", LargeBinary), exclude=True)
    active: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    document_prefix: str | None = Field(default=None, sa_type=Text)
    query_prefix: str | None = Field(default=None, sa_type=Text)
    requests_per_minute: int | None = Field(default=None)
    tokens_per_minute: int | None = Field(default=None)
    at_once: int | None = Field(default=None, sa_type=SmallInteger)
    created_at: datetime | None = Field(default=None, sa_column=now_column("created_at"))
    changed_at: datetime | None = Field(default=None, sa_column=now_column("changed_at"))
    checked_at: datetime | None = Field(default=None, sa_column=moment("checked_at"))
    check_passed: bool | None = Field(default=None)
    check_said: str | None = Field(default=None, sa_type=Text)


class ProviderRate(SQLModel, table=True):
    """How fast a server may be asked, and when the next request may come, for all processes: docs/adr/0019."""

    __tablename__: ClassVar[Any] = "provider_rates"
    __table_args__: ClassVar[Any] = ({"prefixes": ["UNLOGGED"]},)

    name: str = Field(sa_column=Column("name", Text, primary_key=True))
    requests_per_minute: float | None = Field(default=None)
    tokens_per_minute: float | None = Field(default=None)
    requests_at: datetime | None = Field(default=None, sa_column=moment("requests_at"))
    tokens_at: datetime | None = Field(default=None, sa_column=moment("tokens_at"))
    open_at: datetime | None = Field(default=None, sa_column=moment("open_at"))
    spacing_seconds: float = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    refused_at: datetime | None = Field(default=None, sa_column=moment("refused_at"))
    refused_since: datetime | None = Field(default=None, sa_column=moment("refused_since"))
    changed_at: datetime | None = Field(default=None, sa_column=now_column("changed_at"))


class Unprobed(SQLModel, table=True):
    """Why the model cannot be probed, before there is a space; one row, or none."""

    __tablename__: ClassVar[Any] = "unprobed"
    __table_args__: ClassVar[Any] = (CheckConstraint("single", name="unprobed_single"),)

    single: bool = Field(
        default=True, sa_column=Column("single", Boolean, primary_key=True, server_default=text("true"))
    )
    since: datetime | None = Field(default=None, sa_column=now_column("since"))
    error_kind: str = Field(sa_type=Text)
    because: str = Field(sa_type=Text)
