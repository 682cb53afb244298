"""Routes that change what is stored, or choose what is done with it: edits, deletions, channels."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query, Response

from winnow.api import schemas
from winnow.api.message_schemas import (
    ChangedChannelOut,
    ChannelIn,
    ChannelOut,
    ChannelsOut,
    ForgetMessagesIn,
    ReceiptOut,
)
from winnow.api.problems import problem
from winnow.errors import MessageNotFound
from winnow.pipeline.channels import set_channel
from winnow.pipeline.edit import edit_message
from winnow.pipeline.forget import by_author, by_channel, by_ids, forget, weigh_forgetting
from winnow.storage.channels import Choice, list_channels
from winnow.storage.messages import Fate, messages_by_id

if TYPE_CHECKING:
    from fastapi import FastAPI

    from winnow.bootstrap import Winnow
    from winnow.pipeline.forget import Receipt
    from winnow.pipeline.intake import Intake
    from winnow.storage.forgetting import Selection

# What takes some seconds: nobody waits for longer in one request.
MOST_FORGOTTEN = 10_000
REFUSED_EDITS = {
    Fate.OLDER: "a later edit of this message is stored",
    Fate.DIFFERS: "another edit of the same moment is stored; give a later edited_at",
    Fate.OFF: "its channel is switched off, or keeps nothing so old; see: winnow channels list",
    Fate.FORGOTTEN: "this message was forgotten on purpose",
}
MessageId = Annotated[int, Path(ge=1, le=schemas.LAST_ID)]


def add_message_routes(app: FastAPI, winnow: Winnow, intake: Intake) -> None:
    """Adds them to the application."""

    @app.patch("/api/v1/messages/{id}", summary="Give a message another text", response_model=schemas.MessageOut)
    async def edit(id: MessageId, body: schemas.EditIn) -> schemas.MessageOut | Response:  # noqa: A002 - as in the path
        fate = await edit_message(winnow.database, intake, id, body.text, body.edited_at)
        if fate in REFUSED_EDITS:
            return problem(HTTPStatus.CONFLICT, REFUSED_EDITS[fate])
        found = await messages_by_id(winnow.database, [id])
        if id not in found:  # somebody deleted it in the same moment
            raise MessageNotFound(f"there is no message {id}")
        return schemas.MessageOut(**asdict(found[id]))

    @app.delete("/api/v1/messages/{id}", summary="Remove a message with all that rests on it")
    async def delete(id: MessageId) -> ReceiptOut:  # noqa: A002 - as in the path
        receipt = await forget(winnow.units, winnow.database, by_ids([id]))
        if not receipt.removed.messages:
            raise MessageNotFound(f"there is no message {id}")
        return receipt_out(receipt)

    @app.post("/api/v1/forget", summary="Remove messages with all that rests on them")
    async def forget_them(body: ForgetMessagesIn) -> ReceiptOut:
        chosen = _chosen(body)
        if body.dry_run:
            return receipt_out(await weigh_forgetting(winnow.database, chosen))
        return receipt_out(await forget(winnow.units, winnow.database, chosen, most=MOST_FORGOTTEN))

    @app.get("/api/v1/channels", summary="Channels, the one with the latest message first")
    async def channels(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=schemas.LAST_ID)] = 0,
    ) -> ChannelsOut:
        found = await list_channels(winnow.database, limit=limit, offset=offset)
        items = [ChannelOut(**asdict(one)) for one in found]
        return ChannelsOut(items=items, next_offset=offset + limit if len(found) == limit else None)

    @app.patch("/api/v1/channels", summary="Choose what is done with a channel's messages")
    async def choose(body: ChannelIn) -> ChangedChannelOut:
        given = body.model_fields_set
        choice = Choice(
            mode=body.mode if "mode" in given else None,
            local_only=body.local_only if "local_only" in given else None,
            keep="keep_days" in given,
            keep_days=body.keep_days,
        )
        done = await set_channel(winnow.channelling(), body.source, body.channel, choice)
        return ChangedChannelOut(**asdict(done.channel), in_hand=done.in_hand)


def _chosen(body: ForgetMessagesIn) -> Selection:
    if body.message_ids is not None:
        return by_ids(body.message_ids)
    if body.author is not None:
        return by_author(body.author, channel=body.channel, source=body.source)
    assert body.source is not None  # noqa: S101 - else it would have been refused
    assert body.channel is not None  # noqa: S101 - the same
    return by_channel(body.source, body.channel)


def receipt_out(receipt: Receipt) -> ReceiptOut:
    """A receipt, as the API and `--json` show it."""
    return ReceiptOut(**asdict(receipt.removed), dry_run=receipt.dry_run, complete=receipt.complete)
