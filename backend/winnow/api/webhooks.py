"""Webhooks: what services of others send by themselves, each with a secret of its own instead of an API key."""

from __future__ import annotations

import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation
from fastapi.responses import JSONResponse

from winnow.api.limits import discard
from winnow.api.problems import PROBLEM_RESPONSE, problem
from winnow.api.requests import header
from winnow.pipeline.telegram import TelegramUpdates
from winnow.sources.jsonl import parse_value
from winnow.sources.telegram import WEBHOOK_PATH

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import SecretStr
    from starlette.types import ASGIApp, Receive, Scope, Send

    from winnow.bootstrap import Winnow

SECRET_HEADER = b"x-telegram-bot-api-secret-token"
NOT_SET_UP = "no Telegram bot is set up here; set WINNOW_TELEGRAM_TOKEN, and see docs/telegram.md"
NOT_TELEGRAM = (
    "X-Telegram-Bot-Api-Secret-Token is missing, or another than this server's; if Telegram itself is refused, run "
    "again: winnow telegram set-webhook URL"
)
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},  # what is in it is Telegram's business, and nothing of it is refused
                "example": {"update_id": 1, "message": {"message_id": 1, "date": 1767225600, "chat": {"id": 1}}},
            }
        },
    },
}


class TelegramSecret:
    """ASGI middleware: lets requests to the webhook pass only with the secret, and reads no body of others.

    Args:
        app: what is behind it; all other paths pass as they are.
        secret: what Telegram was told to send; None: there is no webhook.
    """

    def __init__(self, app: ASGIApp, *, secret: SecretStr | None) -> None:
        self._app = app
        self._secret = secret.get_secret_value().encode() if secret else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection."""
        # Whatever begins so: `/path%0A` is a route to the application as well.
        if scope["type"] != "http" or not scope["path"].startswith(WEBHOOK_PATH):
            await self._app(scope, receive, send)
            return
        if self._secret is None:
            refusal = problem(HTTPStatus.NOT_FOUND, NOT_SET_UP)
        elif hmac.compare_digest(header(scope, SECRET_HEADER).encode("latin-1"), self._secret):
            await self._app(scope, receive, send)
            return
        else:
            refusal = problem(HTTPStatus.FORBIDDEN, NOT_TELEGRAM)
        await discard(receive)
        await refusal(scope, receive, send)


def add_webhook_routes(app: FastAPI, winnow: Winnow) -> None:
    """Adds them to the application."""
    chats, intake = winnow.settings.telegram_chat_ids, app.state.intake
    updates = TelegramUpdates(units=winnow.units, database=winnow.database, chats=chats, intake=intake)
    app.state.telegram = updates

    @app.post(
        WEBHOOK_PATH,
        summary="Take an update of the Telegram bot",
        description="Called by Telegram. When it answers, the message is committed. Updates of any kind are 200.",
        openapi_extra=BODY,
        responses={503: PROBLEM_RESPONSE | {"description": "The database is away; Telegram sends the update again."}},
    )
    async def telegram(request: Request) -> JSONResponse:
        try:
            update = parse_value(await request.body())
        except ValueError:
            update = None
        if not isinstance(update, dict):
            return problem(HTTPStatus.BAD_REQUEST, "this is no update of Telegram: the body is not an object in JSON")
        (outcome,) = await updates.take([update])
        return JSONResponse({"outcome": outcome})
