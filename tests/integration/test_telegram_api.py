"""The Bot API's client: every answer becomes a result or one sentence, and the token is in none of them."""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from plugins.telegram_server import TOKEN
from winnow.errors import InvalidInput, TelegramRefused, TelegramUnavailable, WebhookSet
from winnow.sources import telegram_api
from winnow.sources.telegram import READ_KINDS
from winnow.sources.telegram_api import BotApi, check_webhook_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.telegram_server import TelegramServer


@pytest.fixture
async def api(telegram_server: TelegramServer) -> AsyncIterator[BotApi]:
    api = BotApi(url=telegram_server.url, token=SecretStr(TOKEN))
    yield api
    await api.close()


async def asked(api: BotApi, **values: Any) -> list[object]:
    return await api.updates(**({"offset": None, "kinds": READ_KINDS, "wait_seconds": 0} | values))


async def test_a_webhook_is_set_seen_and_deleted(api: BotApi, telegram_server: TelegramServer) -> None:
    assert (await api.webhook()).url == ""
    await api.set_webhook("https://bot.example/hook", secret=SecretStr("s"), kinds=READ_KINDS)
    telegram_server.last_error = {"last_error_date": 1767225600, "last_error_message": "Connection refused"}
    telegram_server.say()
    seen = await api.webhook()
    assert (seen.url, seen.pending, seen.kinds) == ("https://bot.example/hook", 1, READ_KINDS)
    assert (seen.last_error, seen.last_error_at) == ("Connection refused", datetime(2026, 1, 1, tzinfo=UTC))
    assert telegram_server.webhook["secret_token"] == "s"
    with pytest.raises(WebhookSet, match="winnow telegram delete"):
        await asked(api)
    await api.delete_webhook()
    assert len(await asked(api)) == 1
    assert (await api.me()).username == "winnow_test_bot"


async def test_a_webhook_of_another_program_is_shown_without_the_token_in_it(
    api: BotApi, telegram_server: TelegramServer
) -> None:
    telegram_server.webhook = {"url": f"https://bot.example/{TOKEN}"}
    telegram_server.last_error = {"last_error_date": 1, "last_error_message": f"404 at /{TOKEN.replace(':', '%3A')}"}
    seen = await api.webhook()
    assert (seen.url, seen.last_error) == ("https://bot.example/…", "404 at /…")


async def test_updates_come_until_those_behind_them_are_asked_for(api: BotApi, telegram_server: TelegramServer) -> None:
    given = [telegram_server.say(f"text {number}") for number in range(150)]
    assert await asked(api) == given[:100]
    assert await asked(api) == given[:100], "they are not settled by being given"
    assert await asked(api, offset=given[99]["update_id"] + 1) == given[100:]
    assert telegram_server.called("getUpdates")[-1]["allowed_updates"] == list(READ_KINDS)


WEATHER = ("down", "broken", "busy", "dropped", "cut", "another_asks", "nonsense", "strange")


@pytest.mark.parametrize("name", WEATHER)
async def test_what_will_pass_is_weather(
    name: Any, api: BotApi, telegram_server: TelegramServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="winnow")
    telegram_server.fail_next(name)
    telegram_server.retry_after = 17
    with pytest.raises(TelegramUnavailable) as caught:
        await asked(api)
    assert caught.value.retry_after_seconds == (17 if name == "busy" else None)
    assert_no_token(caught.value, caplog)
    assert await asked(api) == []


async def test_no_answer_in_time_and_no_server_are_weather(
    api: BotApi, telegram_server: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telegram_api, "ANSWER_SECONDS", 0.2)
    telegram_server.fail_next("hangs")
    with pytest.raises(TelegramUnavailable, match="no answer in time") as caught:
        await asked(api)
    assert_no_token(caught.value)
    telegram_server.stop()
    with pytest.raises(TelegramUnavailable, match=r"127\.0\.0\.1") as caught:
        await asked(api)
    assert_no_token(caught.value)


def assert_no_token(error: Exception, *logs: pytest.LogCaptureFixture) -> None:
    """Not in its words, its traceback, or what it was made of."""
    told = "".join(traceback.format_exception(error)) + repr(vars(error)) + "".join(log.text for log in logs)
    assert TOKEN not in told
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("token", ["123456789:AAanother-token-that-nobody-knows-of_x", "no token at all"])
async def test_a_wrong_token_is_told_without_it(token: str, telegram_server: TelegramServer) -> None:
    api = BotApi(url=telegram_server.url, token=SecretStr(token))
    with pytest.raises(TelegramRefused, match="@BotFather") as caught:
        await api.me()
    assert token not in str(caught.value)
    await api.close()


async def test_what_telegram_refuses_is_told_in_its_words(api: BotApi) -> None:
    with pytest.raises(TelegramRefused, match="Failed to resolve host"):
        await api.set_webhook("https://resolve.invalid/x", secret=SecretStr("s"), kinds=READ_KINDS)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://bot.example", "HTTPS only"),
        ("bot.example", "HTTPS only"),
        ("https://", "HTTPS only"),
        ("https://bot.example:8420", "443, 80, 88, 8443"),
        ("https://bot.example:x", "no URL"),
        (f"https://bot.example/{TOKEN}", "secret"),
        ("https://ana:pw@bot.example/", "secret"),
    ],
)
def test_a_url_that_telegram_would_refuse_is_refused_before(url: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        check_webhook_url(url, token=SecretStr(TOKEN))
    assert TOKEN not in str(caught.value)


def test_a_good_url_is_taken() -> None:
    for url in ("https://bot.example/x", "https://bot.example:8443", "https://[2001:db8::1]:443/x"):
        check_webhook_url(url, token=SecretStr(TOKEN))
