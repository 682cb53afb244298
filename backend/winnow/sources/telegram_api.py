"""Telegram's Bot API, as much of it as brings messages in.

https://core.telegram.org/bots/api

A bot's token is part of every URL asked here. So what httpx raises, which holds the URL, goes no further than this
module, not even as the cause of another error.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus as Status
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import httpx

from winnow.errors import InvalidInput, TelegramRefused, TelegramUnavailable, WebhookSet
from winnow.sources.jsonl import parse_value
from winnow.sources.telegram_fields import Fields, display_name, inner, number, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

ANSWER_SECONDS = 20.0
CONNECT_SECONDS = 10.0
MOST_UPDATES = 100
MOST_ANSWER_BYTES = 64 * 2**20
SHOWN_CHARACTERS = 200
PORTS = (443, 80, 88, 8443)
UNKNOWN_BOT = (
    "Telegram does not know this bot (or WINNOW_TELEGRAM_API_URL leads elsewhere); copy its token again from "
    "@BotFather into WINNOW_TELEGRAM_TOKEN"
)
WEBHOOK_IS_SET = "Telegram sends this bot's updates to a webhook; to fetch them instead, first: winnow telegram delete"
ANOTHER_ASKS = "another program fetches this bot's updates, and only one can; end it, or give it a bot of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    """Who a token is for. `sees_all`: in groups, too, it is given what is not said to it (privacy mode is off)."""

    id: int
    name: str
    username: str
    sees_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where Telegram sends a bot's updates (an empty URL: nowhere), how many wait, and what went wrong last."""

    url: str
    pending: int
    last_error: str | None
    last_error_at: datetime | None
    kinds: tuple[str, ...]


def check_webhook_url(url: str, *, token: SecretStr) -> None:
    """Says what Telegram would say of it, before it is asked.

    Raises:
        InvalidInput: Telegram takes only HTTPS on four ports; and a token has no place in a URL that proxies log.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[0]
    except ValueError as error:
        raise InvalidInput("this is no URL; give one like https://winnow.example") from error
    if parts.scheme != "https" or not host:
        raise InvalidInput("Telegram sends updates over HTTPS only; give a URL like https://winnow.example")
    if port not in PORTS:
        raise InvalidInput(f"Telegram sends updates to the ports {', '.join(map(str, PORTS))} only; {port} is another")
    if token.get_secret_value() in url or parts.username or parts.password:
        raise InvalidInput("the URL holds a secret, which every proxy on the way may log; Winnow needs none in it")


class BotApi:
    """One bot at one Bot API server; close it at the end.

    Every method raises:
        TelegramUnavailable: no answer, an error of the server's own, or one to ask again later.
        TelegramRefused: the token is wrong, or what was asked for.

    Args:
        url: of the server, without the bot.
        token: the bot's.
    """

    def __init__(self, *, url: str, token: SecretStr) -> None:
        self._url = url
        self._token = token
        # The whole answer's time is kept in `_ask`. A proxy of the environment is used, but not to this machine.
        local = urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_SECONDS), trust_env=not local)

    async def me(self) -> Bot:
        """Who the bot is."""
        told = await self._fields("getMe")
        return Bot(
            id=number(told, "id") or 0,
            name=display_name(told),
            username=words(told, "username"),
            sees_all=told.get("can_read_all_group_messages") is True,
        )

    async def webhook(self) -> Webhook:
        """Where updates go."""
        told = await self._fields("getWebhookInfo")
        at, kinds = number(told, "last_error_date"), told.get("allowed_updates")
        return Webhook(
            url=self._without_token(words(told, "url")),
            pending=number(told, "pending_update_count") or 0,
            last_error=self._without_token(words(told, "last_error_message")) or None,
            last_error_at=datetime.fromtimestamp(at, UTC) if at is not None and 0 < at < 2**35 else None,
            kinds=tuple(kind for kind in kinds if isinstance(kind, str)) if isinstance(kinds, list) else (),
        )

    async def set_webhook(self, url: str, *, secret: SecretStr, kinds: Sequence[str]) -> None:
        """Has updates of these kinds sent there, the secret with each. Raises InvalidInput, too."""
        check_webhook_url(url, token=self._token)
        given: Fields = {"url": url, "secret_token": secret.get_secret_value(), "allowed_updates": list(kinds)}
        await self._ask("setWebhook", given)

    async def delete_webhook(self) -> None:
        """Has updates sent nowhere; those that wait are kept, for a day."""
        await self._ask("deleteWebhook")

    async def updates(self, *, offset: int | None, kinds: Sequence[str], wait_seconds: int) -> list[object]:
        """The next updates, 100 at most; waits for one as long as the server is asked to.

        With an offset, all with smaller numbers are settled: the server forgets them.

        Raises:
            WebhookSet: they are sent to a webhook.
        """
        asked: Fields = {"timeout": wait_seconds, "limit": MOST_UPDATES, "allowed_updates": list(kinds)}
        if offset is not None:
            asked["offset"] = offset
        found = await self._ask("getUpdates", asked, seconds=wait_seconds + ANSWER_SECONDS)
        if not isinstance(found, list):
            raise TelegramUnavailable("Telegram's answer holds no updates")
        return found

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    def _without_token(self, told: str) -> str:
        """Other programs have their webhooks at addresses that hold the token; nobody is shown these."""
        token = self._token.get_secret_value()
        return told.replace(token, "…").replace(quote(token, safe=""), "…")

    async def _fields(self, method: str) -> Fields:
        told = await self._ask(method)
        return told if isinstance(told, dict) else {}

    async def _ask(self, method: str, given: Fields | None = None, *, seconds: float = ANSWER_SECONDS) -> object:
        url = f"{self._url}/bot{self._token.get_secret_value()}/{method}"
        try:
            async with asyncio.timeout(seconds), self._client.stream("POST", url, json=given or {}) as answer:
                status, content = answer.status_code, await _content(answer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # among them: no answer in time
            why = "no answer in time" if isinstance(error, TimeoutError | httpx.TimeoutException) else _why(error)
        else:
            return _result(status, content)
        parts = urlsplit(self._url)
        raise TelegramUnavailable(
            f"Telegram's server at {parts.netloc} does not answer ({why}); does this machine reach it "
            f"(curl {parts.scheme}://{parts.netloc}), does it need a proxy (HTTPS_PROXY), and is "
            "WINNOW_TELEGRAM_API_URL right?"
        )


def _why(error: Exception) -> str:
    """The kind of an error of httpx; its words may be the URL's."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__).strip()


async def _content(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in answer.aiter_bytes():
        content += chunk
        if len(content) > MOST_ANSWER_BYTES:
            raise TelegramUnavailable(f"Telegram's answer has more than {MOST_ANSWER_BYTES:,} bytes")
    return bytes(content)


def _result(status: int, content: bytes) -> object:
    """What an answer brings.

    https://core.telegram.org/bots/api#making-requests
    """
    try:
        read = parse_value(content)
    except ValueError:
        read = None
    told: Fields = read if isinstance(read, dict) else {}
    if told.get("ok") is True:
        return told.get("result")
    said = " ".join(words(told, "description").split())[:SHOWN_CHARACTERS] or f"status {status}"
    match number(told, "error_code") or status:
        case Status.UNAUTHORIZED | Status.NOT_FOUND:
            raise TelegramRefused(UNKNOWN_BOT)
        case Status.CONFLICT if "webhook" in said:
            raise WebhookSet(WEBHOOK_IS_SET)
        case Status.CONFLICT:
            raise TelegramUnavailable(ANOTHER_ASKS)
        case Status.TOO_MANY_REQUESTS:
            wait = number(inner(told, "parameters"), "retry_after") or 1
            raise TelegramUnavailable(f"Telegram wants to be asked again in {wait} s", retry_after_seconds=wait)
        case code if code >= Status.INTERNAL_SERVER_ERROR or code < Status.BAD_REQUEST:
            raise TelegramUnavailable(f"Telegram's server cannot answer just now ({said})")
        case _:
            raise TelegramRefused(f"Telegram refuses: {said}")
