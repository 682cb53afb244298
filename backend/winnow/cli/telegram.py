"""`winnow telegram …`: a bot's messages, sent to a webhook or fetched by polling."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import structlog
import typer

from winnow.cli.options import AsJson, DataDir
from winnow.cli.render import counted, plain
from winnow.cli.running import console, errors, print_json, run, settings_for, until_stopped
from winnow.cli.using import using
from winnow.errors import InvalidSettings, Transient
from winnow.pipeline.telegram import DELETED, TelegramUpdates
from winnow.pipeline.telegram_poll import Polled, poll
from winnow.sources.telegram import READ_KINDS, WEBHOOK_PATH
from winnow.sources.telegram_api import BotApi, check_webhook_url
from winnow.storage.messages import Fate

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Callable, Iterator

    from pydantic import SecretStr

    from winnow.pipeline.telegram import Outcome
    from winnow.settings import Settings
    from winnow.sources.telegram_api import Bot, Webhook

log = structlog.get_logger(__name__)

app = typer.Typer(help="Messages of a Telegram bot, by webhook or by polling.", no_args_is_help=True)

PRIVACY = (
    "in groups it is given only commands and answers to it; to read all, turn its privacy off (@BotFather, "
    "/setprivacy) and add it to the group again, or make it an administrator there"
)
NO_TOKEN = "WINNOW_TELEGRAM_TOKEN is not set; @BotFather gives a bot and its token, docs/telegram.md says how"  # noqa: S105


@app.command("set-webhook")
def set_webhook_command(
    url: Annotated[
        str, typer.Argument(metavar="URL", help=f"Where this server is reached over HTTPS; {WEBHOOK_PATH} is added.")
    ],
    as_json: AsJson = False,
) -> None:
    """Have Telegram send the bot's messages to this server."""
    settings = settings_for()

    async def main() -> tuple[Bot, Webhook]:
        token, secret = token_of_bot(settings), settings.telegram_webhook_secret
        assert secret is not None  # noqa: S101 - it follows from the token
        whole = url.rstrip("/") + WEBHOOK_PATH if urlsplit(url).path in {"", "/"} else url
        check_webhook_url(whole, token=token)
        async with _bot_api(settings) as api:
            bot = await api.me()
            await api.set_webhook(whole, secret=secret, kinds=READ_KINDS)
            return bot, await api.webhook()

    bot, webhook = run(main)
    if as_json:
        print_json({"bot": bot.username, "url": webhook.url, "kinds": webhook.kinds, "pending": webhook.pending})
        return
    _say(f"Telegram sends what @{bot.username} is given to {webhook.url}")
    variable = "WINNOW_TELEGRAM_SECRET" if settings.telegram_secret else "WINNOW_TELEGRAM_TOKEN"
    _say(f"each time with a secret, which `winnow api` knows by the same {variable}")
    _say("`winnow telegram info` tells whether it arrives")
    if not bot.sees_all:
        _say(PRIVACY)


@app.command("info")
def info_command(as_json: AsJson = False) -> None:
    """Show the bot, where its messages go, how many wait, and what went wrong last."""
    settings = settings_for()

    async def main() -> tuple[Bot, Webhook]:
        async with _bot_api(settings) as api:
            return await api.me(), await api.webhook()

    bot, webhook = run(main)
    if as_json:
        at = webhook.last_error_at.isoformat() if webhook.last_error_at else None
        print_json({"bot": asdict(bot), "webhook": asdict(webhook) | {"last_error_at": at}})
        return
    _say(f"bot      @{bot.username}  {bot.name}")
    _say(f"webhook  {webhook.url or 'none; its messages wait for: winnow telegram poll'}")
    _say(f"waiting  {counted(webhook.pending, 'updates')}")
    if webhook.last_error:
        at = f", {webhook.last_error_at:%Y-%m-%d %H:%M} UTC" if webhook.last_error_at else ""
        _say(f"trouble  {webhook.last_error}{at}")
    if webhook.url and webhook.kinds and set(READ_KINDS) - set(webhook.kinds):
        _say("not all kinds of messages are sent; set it again: winnow telegram set-webhook URL")
    if not bot.sees_all:
        _say(PRIVACY)


@app.command("delete")
def delete_command(as_json: AsJson = False) -> None:
    """Have Telegram send the bot's messages nowhere; they wait for a day, for a poll or another webhook."""
    settings = settings_for()

    async def main() -> tuple[Webhook, Webhook]:
        async with _bot_api(settings) as api:
            before = await api.webhook()
            await api.delete_webhook()
            return before, await api.webhook()

    before, after = run(main)
    if as_json:
        print_json({"deleted": before.url or None, "pending": after.pending})
    else:
        _say(f"Telegram no longer sends to {before.url}" if before.url else "there was no webhook")
        _say(f"{counted(after.pending, 'updates')} waiting; fetch them with: winnow telegram poll")


@app.command("poll")
def poll_command(data_dir: DataDir = None) -> None:
    """Fetch the bot's messages until Ctrl-C, where Telegram cannot reach this server. Nothing is lost in between."""
    on_terminal = errors.is_terminal
    settings = settings_for(logs="warnings" if on_terminal else "all", data_dir=data_dir)

    async def serve(stop: asyncio.Event) -> None:
        async with _bot_api(settings) as api, using(settings, fresh=True) as winnow:
            await _say_who(api, on_terminal=on_terminal)
            if on_terminal and winnow.servers.instance and winnow.servers.instance.owned:
                _say("messages are stored; they are worked on when `winnow up` runs")
            chats = settings.telegram_chat_ids
            updates = TelegramUpdates(units=winnow.units, database=winnow.database, chats=chats)
            try:
                with _shown() if on_terminal else _logged() as report:
                    polled = await poll(api, updates, stop, report=report)
            finally:
                await updates.close()
        told = _in_words(polled.outcomes)
        if on_terminal:
            _say(told)
        else:
            log.info("telegram.stopped", **_as_names(polled.outcomes))

    run(lambda: until_stopped(serve))


def token_of_bot(settings: Settings) -> SecretStr:
    """The token. Raises InvalidSettings: none is set."""
    if settings.telegram_token is None:
        raise InvalidSettings(NO_TOKEN)
    return settings.telegram_token


@asynccontextmanager
async def _bot_api(settings: Settings) -> AsyncIterator[BotApi]:
    api = BotApi(url=settings.telegram_api_url, token=token_of_bot(settings))
    try:
        yield api
    finally:
        await api.close()


async def _say_who(api: BotApi, *, on_terminal: bool) -> None:
    """The bot's name, when Telegram is there to tell it; else the polling itself says what it waits for."""
    if not on_terminal:
        log.info("telegram.poll_begins")
    with contextlib.suppress(Transient):
        bot = await api.me()
        if not on_terminal:
            log.info("telegram.polling", bot=bot.username, sees_all=bot.sees_all)
            return
        _say(f"fetching what @{bot.username} is given; Ctrl-C ends")
        if not bot.sees_all:
            _say(PRIVACY)


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Polled], None]]:
    """One line on the terminal, always of now."""
    with errors.status("waiting for messages …") as line:

        def report(polled: Polled) -> None:
            parts = [_in_words(polled.outcomes)]
            if polled.latest_at:
                parts.append(f"the last at {polled.latest_at:%H:%M:%S} UTC")
            if trouble := polled.trouble:
                parts.append(f"{trouble.reason}; again in {trouble.again_in_seconds:.0f} s")
            line.update(plain("; ".join(parts)))

        yield report


@contextlib.contextmanager
def _logged() -> Iterator[Callable[[Polled], None]]:
    """A line for each answer that brought something, and for each failure."""

    def report(polled: Polled) -> None:
        if trouble := polled.trouble:
            log.warning("telegram.waits", reason=trouble.reason, again_in_seconds=round(trouble.again_in_seconds, 1))
        elif polled.latest:
            log.info("telegram.polled", **_as_names(polled.latest))

    yield report


def _as_names(outcomes: Counter[Outcome]) -> dict[str, int]:
    return {str(outcome): number for outcome, number in outcomes.items()}


def _in_words(outcomes: Counter[Outcome]) -> str:
    known = outcomes[Fate.KNOWN] + outcomes[Fate.OLDER]
    parts = {"edited": outcomes[Fate.EDITED], "known already": known, "deleted": outcomes[DELETED]}
    taken = {Fate.NEW, Fate.KNOWN, Fate.OLDER, Fate.EDITED, DELETED}
    left_out = {str(outcome): number for outcome, number in outcomes.items() if outcome not in taken}
    told = [f"{counted(outcomes[Fate.NEW], 'messages')} stored"]
    told += [f"{number:,} {what}" for what, number in parts.items() if number]
    if left_out:
        reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in sorted(left_out.items()))
        told.append(f"{sum(left_out.values()):,} left out ({reasons})")
    return ", ".join(told)


def _say(line: str) -> None:
    console.print(plain(line), markup=False)
