"""`winnow telegram …` brings a bot's messages in either way, says in one sentence what is wrong, and tells no token."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from plugins.program import Call, eventually
from plugins.telegram_server import TOKEN

if TYPE_CHECKING:
    from plugins.nats import NatsServer
    from plugins.program import Program
    from plugins.telegram_server import TelegramServer

WEBHOOK = "/api/v1/webhooks/telegram"
URL = "https://bot.example"


@pytest.fixture
def own(another: Program, database_url: str, nats_server: NatsServer, telegram_server: TelegramServer) -> Program:
    another.variables = {
        "DATABASE_URL": database_url,
        "NATS_URL": nats_server.url,
        "WINNOW_TELEGRAM_TOKEN": TOKEN,
        "WINNOW_TELEGRAM_API_URL": telegram_server.url,
        "WINNOW_LOG_LEVEL": "debug",
    }
    return another


def test_a_webhook_is_set_looked_at_and_deleted(own: Program, telegram_server: TelegramServer) -> None:
    telegram_server.last_error = {"last_error_date": 1767225600, "last_error_message": "Wrong response: 403 Forbidden"}
    told = own.run_in_turn(
        Call("telegram", "set-webhook", URL),
        Call("telegram", "info"),
        Call("telegram", "info", "--json"),
        Call("telegram", "delete"),
        Call("telegram", "delete", "--json"),
        Call("telegram", "info"),
        Call("telegram", "set-webhook", f"{URL}/behind/a/proxy", WINNOW_TELEGRAM_SECRET="mine"),
    )
    assert [one.code for one in told] == [0] * 7
    first, second = telegram_server.called("setWebhook")
    assert (first["url"], second["url"]) == (f"{URL}{WEBHOOK}", f"{URL}/behind/a/proxy")
    assert (len(first["secret_token"]), second["secret_token"]) == (64, "mine")
    assert "message" in first["allowed_updates"]
    assert "message_reaction" not in first["allowed_updates"]
    for words in (f"{URL}{WEBHOOK}", "WINNOW_TELEGRAM_TOKEN", "/setprivacy"):
        assert words in told[0].out.replace("\n", ""), words
    assert "Wrong response: 403 Forbidden, 2026-01-01 00:00 UTC" in told[1].out
    assert told[2].json["webhook"]["url"] == f"{URL}{WEBHOOK}"
    assert told[4].json == {"deleted": None, "pending": 0}
    assert "winnow telegram poll" in told[5].out
    assert "WINNOW_TELEGRAM_SECRET" in told[6].out
    everything = "".join(one.out + one.err for one in told)
    assert TOKEN not in everything
    assert first["secret_token"] not in everything


def test_what_is_wrong_is_told_in_one_sentence(own: Program, telegram_server: TelegramServer) -> None:
    telegram_server.fail_next("down", "another_asks")
    told = own.run_in_turn(
        Call("telegram", "info"),
        Call("telegram", "info"),
        Call("telegram", "info", WINNOW_TELEGRAM_TOKEN=""),
        Call("telegram", "info", WINNOW_TELEGRAM_TOKEN=TOKEN[:-1] + "x"),
        Call("telegram", "info", WINNOW_TELEGRAM_TOKEN="123:x"),
        Call("telegram", "set-webhook", "http://bot.example"),
        Call("telegram", "set-webhook", "https://resolve.invalid"),
        Call("telegram", "info", WINNOW_TELEGRAM_API_URL="http://127.0.0.1:1"),
        Call("up", "--telegram", WINNOW_TELEGRAM_TOKEN=""),
    )
    expected = [
        (3, "502"), (3, "another program"), (2, "@BotFather"), (3, "@BotFather"), (2, "WINNOW_TELEGRAM_TOKEN"),
        (2, "HTTPS"), (3, "Failed to resolve host"), (3, "does not answer"), (2, "@BotFather"),
    ]  # fmt: skip
    for one, (code, words) in zip(told, expected, strict=True):
        assert (one.code, words in one.sentence) == (code, True), one
        assert TOKEN[:-1] not in one.err


def test_polling_stores_goes_on_through_bad_weather_and_ends_when_asked(
    own: Program, telegram_server: TelegramServer
) -> None:
    telegram_server.say("We ship on Friday.")
    telegram_server.fail_next("broken", method="getUpdates")
    polling = own.start("telegram", "poll").wait_for("telegram.polled")
    assert own.run("telegram", "info").code == 0
    telegram_server.say("We ship on Monday.", kind="edited_message", message_id=1000, edit_date=1767225660)
    telegram_server.say("And on Tuesday.")
    eventually(lambda: not telegram_server.waiting, "all is settled with Telegram")
    assert polling.end(signal.SIGINT) == 0
    logged = [json.loads(line) for line in polling.output.splitlines() if line.startswith("{")]
    events = {line["event"] for line in logged}
    assert {"telegram.polling", "telegram.waits", "telegram.polled", "telegram.stopped"} <= events
    assert next(line for line in logged if line["event"] == "telegram.stopped")["new"] == 2
    assert own.sql("SELECT external_id FROM messages ORDER BY id") == [["1000"], ["1002"]]
    assert TOKEN not in polling.output
    assert "Traceback" not in polling.output

    telegram_server.webhook = {"url": URL}
    refused = own.run("telegram", "poll", WINNOW_LOG_LEVEL="error")
    assert (refused.code, "winnow telegram delete" in refused.sentence) == (3, True)


def test_the_same_token_makes_the_secret_that_the_server_knows(own: Program, telegram_server: TelegramServer) -> None:
    assert own.run("telegram", "set-webhook", URL).code == 0
    api = own.start("api", "--port", "0").wait_for("api.listening")
    (listening,) = [line for line in api.output.splitlines() if "api.listening" in line]
    given = telegram_server.say()
    with httpx.Client(base_url=json.loads(listening)["url"], trust_env=False, timeout=30) as http:
        for secret, status in ((telegram_server.webhook["secret_token"], 200), ("guessed", 403)):
            headers = {"X-Telegram-Bot-Api-Secret-Token": secret, "Host": "bot.example"}
            assert http.post(WEBHOOK, json=given, headers=headers).status_code == status
    assert api.end() == 0
    assert TOKEN not in api.output
    assert telegram_server.webhook["secret_token"] not in api.output
    everything = own.run("psql", "-At", "-c", "SELECT * FROM messages, channels").out
    assert TOKEN not in everything
    assert "hello" in everything
