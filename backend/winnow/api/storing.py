"""Messages that come in by request: what is valid is stored, and what is not is told with its reason."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from winnow.api.problems import problem
from winnow.api.schemas import RefusedOut, StoredOut, Unreadable
from winnow.errors import InvalidInput
from winnow.storage.messages import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Response

    from winnow.api.schemas import MessageIn
    from winnow.domain.messages import IncomingMessage
    from winnow.pipeline.intake import Intake

REFUSED = {
    Fate.DIFFERS: "this id is stored with another text, which stays; an edit says since when, with a later edited_at",
    Fate.OFF: "its channel is switched off, or keeps nothing so old; see: winnow channels list",
    Fate.FORGOTTEN: "this message was forgotten on purpose, and is not stored again",
}
MakeUp = Callable[[int], str]


async def store_one(intake: Intake, given: MessageIn, make_up: MakeUp | None) -> Response:
    """201 when it is new, 200 when it is known or an edit, 409 when it is refused."""
    (stored,) = (await intake.store([given.as_message(made_up=make_up and make_up(0))])).messages
    if stored.fate in REFUSED:
        return problem(HTTPStatus.CONFLICT, REFUSED[stored.fate])
    new, edited = stored.fate is Fate.NEW, stored.fate is Fate.EDITED
    answer = StoredOut(stored=int(new), known=int(not new and not edited), edited=int(edited), ids=[stored.id])
    return _answer(HTTPStatus.CREATED if new else HTTPStatus.OK, answer)


async def store_many(intake: Intake, given: Sequence[MessageIn | Unreadable], make_up: MakeUp | None) -> Response:
    """As for one; 207 when some were refused, 422 when all were (409 if all of them could be read).

    `make_up` gives an id to what has none, by its place.
    """
    messages, refused = _readable(given, make_up)
    unreadable = len(refused)
    ids: list[int | None] = [None] * len(given)
    done = await intake.store(list(messages.values()))
    for place, stored in zip(messages, done.messages, strict=True):
        ids[place] = stored.id
        if stored.fate in REFUSED:
            refused.append(RefusedOut(index=place, reason=REFUSED[stored.fate]))
    refused.sort(key=lambda one: one.index)
    if given and len(refused) == len(given):
        told = "; ".join(f"{one.index}: {one.reason}" for one in refused[:3])
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY if unreadable else HTTPStatus.CONFLICT,
            f"none of the {len(given)} messages can be stored: {told}",
            refused=[one.model_dump() for one in refused],
        )
    answer = StoredOut(stored=len(done.ids), known=done.known, edited=done.edited, ids=ids, refused=refused)
    status = HTTPStatus.CREATED if done.ids else HTTPStatus.OK
    return _answer(HTTPStatus.MULTI_STATUS if refused else status, answer)


def _readable(
    given: Sequence[MessageIn | Unreadable], make_up: MakeUp | None
) -> tuple[dict[int, IncomingMessage], list[RefusedOut]]:
    """The messages by their places, and those that are none."""
    messages: dict[int, IncomingMessage] = {}
    refused = []
    for place, one in enumerate(given):
        try:
            if isinstance(one, Unreadable):
                raise InvalidInput(one.reason)  # noqa: TRY301 - the same as what `as_message` finds
            messages[place] = one.as_message(made_up=make_up and make_up(place))
        except InvalidInput as error:
            refused.append(RefusedOut(index=place, reason=str(error)))
    return messages, refused


def _answer(status: HTTPStatus, answer: StoredOut) -> JSONResponse:
    return JSONResponse(answer.model_dump(), status.value)
