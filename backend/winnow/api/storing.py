"""Messages that come in by request: what is valid is stored, and what is not is told with its reason."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from winnow.api.problems import problem
from winnow.api.schemas import RefusedOut, StoredOut, Unreadable
from winnow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Response

    from winnow.api.schemas import MessageIn
    from winnow.domain.messages import IncomingMessage
    from winnow.pipeline.intake import Intake

ANOTHER_TEXT = "this id is stored with another text, which stays; an edit is not taken yet"


async def store_one(intake: Intake, given: MessageIn) -> Response:
    """201 when it is new, 200 when it is known, 409 when its id has another text."""
    (stored,) = (await intake.store([given.as_message()])).messages
    if stored.differs:
        return problem(HTTPStatus.CONFLICT, ANOTHER_TEXT)
    answer = StoredOut(stored=int(stored.new), known=int(not stored.new), ids=[stored.id])
    return _answer(HTTPStatus.CREATED if stored.new else HTTPStatus.OK, answer)


async def store_many(intake: Intake, given: Sequence[MessageIn | Unreadable]) -> Response:
    """As for one; 207 when some were refused, 422 when all were."""
    messages, refused = _readable(given)
    ids: list[int | None] = [None] * len(given)
    done = await intake.store(list(messages.values()))
    for place, stored in zip(messages, done.messages, strict=True):
        ids[place] = stored.id
        if stored.differs:
            refused.append(RefusedOut(index=place, reason=ANOTHER_TEXT))
    refused.sort(key=lambda one: one.index)
    if given and len(refused) == len(given):
        told = "; ".join(f"{one.index}: {one.reason}" for one in refused[:3])
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"none of the {len(given)} messages can be stored: {told}",
            refused=[one.model_dump() for one in refused],
        )
    answer = StoredOut(stored=len(done.ids), known=done.known, ids=ids, refused=refused)
    status = HTTPStatus.CREATED if done.ids else HTTPStatus.OK
    return _answer(HTTPStatus.MULTI_STATUS if refused else status, answer)


def _readable(given: Sequence[MessageIn | Unreadable]) -> tuple[dict[int, IncomingMessage], list[RefusedOut]]:
    """The messages by their places, and those that are none."""
    messages: dict[int, IncomingMessage] = {}
    refused = []
    for place, one in enumerate(given):
        try:
            if isinstance(one, Unreadable):
                raise InvalidInput(one.reason)  # noqa: TRY301 - the same as what `as_message` finds
            messages[place] = one.as_message()
        except InvalidInput as error:
            refused.append(RefusedOut(index=place, reason=str(error)))
    return messages, refused


def _answer(status: HTTPStatus, answer: StoredOut) -> JSONResponse:
    return JSONResponse(answer.model_dump(), status.value)
