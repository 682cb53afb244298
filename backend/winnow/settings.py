"""Every setting, in one frozen object: from the environment (`WINNOW_…`), `.env`, or the command line."""

from __future__ import annotations

import base64
import binascii
import contextlib
import difflib
import hashlib
import hmac
import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import platformdirs
from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from winnow.errors import InvalidSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

SECRET_BYTES = 32
# As @BotFather gives them: 123456789:AAE… Nothing else can become part of a URL.
BOT_TOKEN = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{20,200}", re.ASCII)
WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
CHAT_IDS = re.compile(r"-?\d{1,18}(\s*,\s*-?\d{1,18})*\s*,?", re.ASCII)
Seconds = Annotated[float, Field(gt=0, le=1_000_000)]


def default_data_dir() -> Path:
    """The user's data folder; for root `/var/lib/winnow`, whose parents are open to PostgreSQL's own account."""
    if os.geteuid() == 0:
        return Path("/var/lib/winnow")
    return platformdirs.user_data_path("winnow")


class Settings(BaseSettings):
    """All that can be chosen. The description of a field is what the README's table says of it."""

    model_config = SettingsConfigDict(
        env_prefix="WINNOW_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # secrets are among the values
    )

    # where
    data_dir: Path = Field(default_factory=default_data_dir, description="Folder of the embedded servers' data.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL", "WINNOW_DATABASE_URL"),
        description="PostgreSQL to use instead of the embedded one, `postgresql://user:password@host/database`.",
    )
    nats_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("NATS_URL", "WINNOW_NATS_URL"),
        description="NATS with JetStream to use instead of the embedded one, `nats://host:4222`.",
    )
    api_host: str = Field("127.0.0.1", description="Address the API listens on; `0.0.0.0`: all of this machine's.")
    api_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the API; unset: 8420, or any free one when that is taken; 0: any."
    )
    api_keys: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether callers need an API key: `always`, `never`, `auto` (when it listens beyond loopback).",
    )
    api_max_body_bytes: int = Field(5_000_000, ge=1000, description="Largest body of a request.")
    api_requests_per_second: float = Field(
        100, gt=0, le=1_000_000, description="Requests of one API key; twice as many in a burst."
    )
    api_concurrency: int = Field(64, ge=1, le=1000, description="Requests in hand at once; others wait their turn.")

    # Telegram
    telegram_token: SecretStr | None = Field(
        None, description="The bot's token from @BotFather: for the webhook and `winnow telegram …`."
    )
    telegram_secret: SecretStr | None = Field(
        None, description="What Telegram sends with each update to the webhook; unset: made from the token."
    )
    telegram_chats: str | None = Field(
        None, description="Ids of the chats that are read, with commas between them; unset: all that the bot is in."
    )
    telegram_api_url: str = Field(
        "https://api.telegram.org", description="Bot API server; another than Telegram's if you run your own."
    )

    # models
    embedder: str = Field(
        "local",
        description="`local`, `ollama:MODEL` or `openai:MODEL` for a new database; unset: what its vectors are of.",
    )
    ollama_url: str = Field("http://127.0.0.1:11434", description="Ollama server, when the embedder is `ollama:…`.")
    openai_url: str = Field(
        "https://api.openai.com/v1", description="OpenAI-compatible server, when the embedder is `openai:…`."
    )
    openai_api_key: SecretStr | None = Field(
        None,
        description="Its key; for api.openai.com `OPENAI_API_KEY` serves as well. Read only for `openai:…`.",
    )
    ambient_openai_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_API_KEY"),
        description="OpenAI's own variable; never sent to another server than api.openai.com.",
    )
    ambient_ollama_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OLLAMA_HOST"),
        description="Ollama's own variable; read by `winnow setup` only.",
    )
    ambient_openai_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description="OpenAI's own variable; read by `winnow setup` only.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts the keys of stored providers; unset: `secret.key` in the data folder, made when needed.",
    )
    document_prefix: str | None = Field(None, description="Put before each embedded text; unset: the model's own.")
    query_prefix: str | None = Field(None, description="Put before each search query; unset: the model's own.")
    provider_timeout_seconds: Seconds = Field(60, description="Longest wait for one answer of a model server.")
    provider_first_timeout_seconds: Seconds = Field(300, description="The same for the first, while a model loads.")

    # work
    lanes: str = Field("live,bulk", description="Lanes this worker serves.")
    live_concurrency: int = Field(8, ge=1, le=256, description="Tasks at once on the live lane, in one worker.")
    bulk_concurrency: int = Field(4, ge=1, le=256, description="Tasks at once on the bulk lane, in one worker.")
    batch_size: int = Field(100, ge=1, le=2048, description="Rows in one embedding task.")
    max_attempts: int = Field(3, ge=1, description="Tries for a text that is itself at fault.")

    # scoring
    signal_from: float = Field(0.5, ge=0, le=1, description="Importance from which a message is signal.")
    weak_from: float = Field(
        0.2, ge=0, le=1, description="Importance from which it is no noise; from noise nothing is extracted."
    )
    scorer: str = Field("rules", description="`rules`, or the model that scores: `ollama:MODEL`, `openai:MODEL`.")

    # extraction
    extractor: str = Field(
        "rules", description="`rules`, or the model that extracts: `PROVIDER:MODEL`, for example `ollama:qwen3:8b`."
    )
    mask_contacts: bool = Field(
        False, description="Telephone numbers and e-mail addresses are masked, too, before text leaves for a model."
    )
    extraction_threshold: int = Field(
        10, ge=1, description="Waiting messages of a conversation that start an extraction."
    )
    extraction_quiet_seconds: Seconds = Field(
        180, description="A conversation this long quiet is extracted below it, too."
    )
    window_messages: int = Field(25, ge=1, le=200, description="Messages in one extraction window.")
    window_context: int = Field(8, ge=0, le=50, description="Earlier messages shown to the extractor beside them.")
    window_tokens: int = Field(
        3000, ge=100, le=200_000, description="About how many tokens (4 bytes each) of messages are in one window."
    )
    extraction_cut: float = Field(
        0.5, ge=0, le=1, description="Confidence below which what was found waits, hidden, for a person."
    )
    auto_approve: Literal["off", "safe", "all"] = Field(
        "safe", description="Which new wordings replace the current one without a person: off, safe, all."
    )

    # search
    vector_weight: float = Field(0.4, ge=0, le=10, description="Weight of the vector arm against full text (1).")

    # timers
    ack_wait_seconds: Seconds = Field(60, description="JetStream hands a task to another worker after this silence.")
    lease_seconds: Seconds = Field(60, description="A row in hand is free again after this silence.")
    sweep_seconds: Seconds = Field(1, description="How often the sweeper looks for what is due.")
    sweep_age_seconds: float = Field(
        1, ge=0, le=1_000_000, description="A row NULL for this long, and unclaimed, is swept."
    )
    drain_seconds: Seconds = Field(25, description="SIGTERM waits this long for tasks in hand.")

    # output
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on terminals and in commands for people, else JSON."
    )

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("nats_url")
    @classmethod
    def _address_of_nats(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            written = value.get_secret_value()
            try:
                parts = urlsplit(written if "://" in written else f"nats://{written}")
                known = parts.scheme in {"nats", "tls", "ws", "wss"} and parts.hostname and parts.port != 0
            except ValueError:  # its port is no number
                known = False
            if not known:
                raise ValueError("this is no address of NATS; write nats://host:4222")
        return value

    @field_validator("secret_key")
    @classmethod
    def _secrets(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(map(_is_secret, _split(value))):
            raise ValueError("this is no secret of 32 bytes in base64; make one with: openssl rand -base64 32")
        return value

    @field_validator("telegram_token")
    @classmethod
    def _token_of_a_bot(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not BOT_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("this is no token of a bot; copy it whole from @BotFather: digits, a colon, 35 characters")
        return value

    @field_validator("telegram_secret")
    @classmethod
    def _secret_of_a_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not WEBHOOK_SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("Telegram takes 1 to 256 characters of A-Z a-z 0-9 _ -; leave it unset, or mend it")
        return value

    @field_validator("telegram_chats")
    @classmethod
    def _chats(cls, value: str | None) -> str | None:
        if value is not None and not CHAT_IDS.fullmatch(value.strip()):
            raise ValueError("write the chats' ids with commas between them, for example -1001234567890,42")
        return value

    @field_validator("telegram_api_url")
    @classmethod
    def _address_of_telegram(cls, value: str) -> str:
        try:
            parts = urlsplit(value.strip())
            more = parts.username or parts.password or parts.query or parts.fragment
            known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not more
        except ValueError:  # its port is no number
            known = False
        if not known:
            raise ValueError("this is no address of a Bot API server; write https://host, without a user or a query")
        return value.strip().rstrip("/")

    @field_validator("weak_from")
    @classmethod
    def _below_signal(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("signal_from", 1):
            raise ValueError(f"{value:g} is above WINNOW_SIGNAL_FROM; choose one below it")
        return value

    @field_validator("lanes")
    @classmethod
    def _known_lanes(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        if not names or set(names) - {"live", "bulk"}:
            raise ValueError("choose from live and bulk, for example live,bulk")
        return ",".join(dict.fromkeys(names))

    @property
    def key_for_openai(self) -> SecretStr | None:
        """The key to send to `openai_url`; one that merely lies in the environment goes to OpenAI alone."""
        at_openai = urlsplit(self.openai_url).hostname == "api.openai.com"
        return self.openai_api_key or (self.ambient_openai_key if at_openai else None)

    @property
    def secret_keys(self) -> tuple[SecretStr, ...]:
        """What keys are encrypted with: the first encrypts, all decrypt; none: a file in the data folder has them."""
        return tuple(map(SecretStr, _split(self.secret_key))) if self.secret_key else ()

    @property
    def telegram_webhook_secret(self) -> SecretStr | None:
        """What Telegram is told to send with each update: the chosen one, or one that follows from the token."""
        if self.telegram_secret or not self.telegram_token:
            return self.telegram_secret
        token = self.telegram_token.get_secret_value().encode()
        return SecretStr(hmac.new(token, b"winnow telegram webhook", hashlib.sha256).hexdigest())

    @property
    def telegram_chat_ids(self) -> frozenset[int]:
        """The chats that are read; none: all are."""
        return frozenset(int(one) for one in (self.telegram_chats or "").split(",") if one.strip())

    @property
    def on_loopback(self) -> bool:
        """Whether the API listens where only this machine's own programs can call it."""
        if self.api_host == "localhost":
            return True
        try:
            return ip_address(self.api_host).is_loopback
        except ValueError:
            return False

    @property
    def keys_required(self) -> bool:
        """Whether the API asks its callers for a key."""
        return self.api_keys == "always" or (self.api_keys == "auto" and not self.on_loopback)

    @property
    def lane_names(self) -> tuple[str, ...]:
        """The lanes as a tuple."""
        return tuple(self.lanes.split(","))


def _split(secrets: SecretStr) -> list[str]:
    return [secret.strip() for secret in secrets.get_secret_value().split(",")]


def _is_secret(value: str) -> bool:
    try:
        return len(base64.b64decode(value.translate(str.maketrans("-_", "+/")), validate=True)) == SECRET_BYTES
    except (binascii.Error, ValueError):
        return False


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment and `.env`, with the command line's `overrides` on top (None: not given).

    Raises:
        InvalidSettings: a value cannot be used, or a variable that begins as ours do is none of them; the message names
            it.
    """
    try:
        given = {name: value for name, value in overrides.items() if value is not None}
        _refuse_unknown([*os.environ, *env_file_values()])
        return Settings(_env_file=_env_file(), **given)  # type: ignore[arg-type]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"the file .env of this folder cannot be read: {error}") from error
    except ValidationError as error:
        raise InvalidSettings(
            "; ".join(_sentence(detail["loc"], detail["msg"]) for detail in error.errors())
        ) from error


def variables_of(name: str) -> list[str]:
    """The environment variables that a field is read from, the usual one first."""
    aliases = getattr(Settings.model_fields[name].validation_alias, "choices", [])
    return [alias for alias in aliases if alias.isupper()] or [f"WINNOW_{name.upper()}"]


def _refuse_unknown(names: Iterable[str]) -> None:
    known = sorted({variable for name in Settings.model_fields for variable in variables_of(name)})
    bare = {variable.removeprefix("WINNOW_"): variable for variable in known}
    for name in sorted({name.upper() for name in names}):
        if name.startswith("WINNOW_") and name not in known:
            near = difflib.get_close_matches(name.removeprefix("WINNOW_"), bare, n=1, cutoff=0.7)
            meant = f"did you mean {bare[near[0]]}?" if near else "unset it; the README lists those there are"
            raise InvalidSettings(f"{name} is no setting; {meant}")


def _env_file() -> Path | None:
    with contextlib.suppress(OSError):  # a working folder that we may not enter has no .env for us
        return Path(".env") if Path(".env").is_file() else None
    return None


def env_file_values() -> dict[str, str | None]:
    """The variables in `.env` of the working folder; none where there is none."""
    path = _env_file()
    return dotenv_values(path) if path else {}


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else "settings"
    shown = name if name.isupper() else f"WINNOW_{name.upper()}"
    return f"{shown}: {message.removeprefix('Value error, ')}"
