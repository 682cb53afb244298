"""A Telegram setting that cannot be right is refused by name, without its value; the secret follows from the token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from plugins.telegram_server import TOKEN
from winnow.cli.shown_settings import show_settings
from winnow.errors import InvalidSettings
from winnow.settings import WEBHOOK_SECRET, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def only_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("WINNOW_"):
            monkeypatch.delenv(name)


BAD = {
    "telegram_token": ["12345", "abc:AAAAAAAAAAAAAAAAAAAAAAAAAAAAA", f"{TOKEN}/x", f"{TOKEN}\n", f"../{TOKEN}"],
    "telegram_secret": ["ä", "two words", "x" * 257, "a/b", "line\n"],
    "telegram_chats": ["backend", "1,,2", "-", "1;2", "9" * 30],
    "telegram_api_url": [
        "api.telegram.org",
        "ftp://x",
        "https://",
        "https://u:secret@h",
        "https://h?x=1",
        "https://h:x",
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_what_cannot_be_right_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"WINNOW_{name.upper()}") as caught:
        load_settings(**{name: value})
    assert TOKEN not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_the_secret_follows_from_the_token_unless_one_is_chosen() -> None:
    assert load_settings().telegram_webhook_secret is None
    made = load_settings(telegram_token=TOKEN).telegram_webhook_secret
    other = load_settings(telegram_token=f"{TOKEN}x").telegram_webhook_secret
    chosen = load_settings(telegram_token=TOKEN, telegram_secret="mine").telegram_webhook_secret
    assert made is not None
    assert other is not None
    assert chosen is not None
    assert WEBHOOK_SECRET.fullmatch(made.get_secret_value())
    assert made != other
    assert TOKEN.partition(":")[2] not in made.get_secret_value()
    assert chosen.get_secret_value() == "mine"


def test_chats_are_ids() -> None:
    assert load_settings().telegram_chat_ids == frozenset()
    assert load_settings(telegram_chats=" -1001234567890, 42,").telegram_chat_ids == {-1001234567890, 42}
    assert load_settings(telegram_api_url="http://127.0.0.1:8081/").telegram_api_url == "http://127.0.0.1:8081"


def test_neither_token_nor_secret_is_shown() -> None:
    settings = load_settings(telegram_token=TOKEN, telegram_secret="do-not-tell")
    shown = {setting.name: setting.value for setting in show_settings(settings)}
    assert (shown["WINNOW_TELEGRAM_TOKEN"], shown["WINNOW_TELEGRAM_SECRET"]) == ("***", "***")
    assert TOKEN not in repr(settings)
    assert "do-not-tell" not in repr(settings)
