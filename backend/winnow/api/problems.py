"""Errors as problem+json (RFC 9457): what happened and what to do, never a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from winnow.api.schemas import MANY, ONE
from winnow.api.words import sentence_of
from winnow.errors import (
    AtomNotFound,
    ChangeRefused,
    ChannelNotFound,
    InvalidInput,
    MessageNotFound,
    NameTaken,
    ProviderConflict,
    ProviderNotFound,
    ReviewRefused,
    RunNotFound,
    SetupFault,
    TopicNotFound,
    Transient,
    WinnowError,
)

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5
NOT_FOUND = (ProviderNotFound, MessageNotFound, ChannelNotFound, AtomNotFound, TopicNotFound, RunNotFound)
NOTHING = "there is nothing at this path; /openapi.json tells what there is"
PROBLEM_RESPONSE: dict[str, Any] = {
    "description": "A mistake in the request; `detail` says which.",
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("type", "title", "detail")}
                | {"status": {"type": "integer"}},
            },
            "example": {
                "type": "about:blank",
                "title": "Unprocessable Entity",
                "status": 422,
                "detail": "sent_at: give its time zone, too, as in 2026-01-31T09:30:00Z",
            },
        }
    },
}


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None, **more: object) -> JSONResponse:
    """A response that says what is wrong; `more` are further members of the body."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **more}
    return JSONResponse(body, status.value, headers, media_type="application/problem+json")


def add_error_handlers(app: FastAPI) -> None:
    """Turns every expected error into a problem; `RequestLog` does so with bugs."""
    app.add_exception_handler(WinnowError, _winnow_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)


async def _winnow_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WinnowError)  # noqa: S101 - what it is registered for
    return problem_of(error)


def problem_of(error: WinnowError) -> JSONResponse:
    """The answer to a request that ended in this error."""
    if isinstance(error, NOT_FOUND):
        return problem(HTTPStatus.NOT_FOUND, str(error))
    if isinstance(error, ProviderConflict | ChangeRefused | NameTaken | ReviewRefused):
        return problem(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, InvalidInput):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    if isinstance(error, Transient):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(RETRY_SECONDS)})
    if isinstance(error, SetupFault):
        return problem(HTTPStatus.CONFLICT, str(error))
    log.error("request.failed", reason=str(error))
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


async def _invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    details = error.errors()
    if isinstance(error.body, bytes) and error.body:  # FastAPI reads JSON only when the request says that it is
        given = request.headers.get("content-type", "none")[:100]
        return problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send JSON, with Content-Type: application/json; this one is {given}"
        )
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(_sentence(detail) for detail in details[:5]))


def _sentence(detail: dict[str, Any]) -> str:
    first, *rest = detail["loc"]
    if detail["type"] == "json_invalid":
        return f"the body is not JSON: {detail['ctx']['error']} at character {rest[0] + 1}"
    # `message` and `messages` only say which of the two a body was taken for.
    inside = rest[1:] if first == "body" and rest[:1] in ([ONE], [MANY]) else rest
    if first == "query":  # which of several values is wrong is seen from what it is
        inside = rest[:1]
    return sentence_of(detail, inside or [first])


async def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    headers, detail = dict(error.headers or {}), str(error.detail)
    match error.status_code:
        case HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette names those of the first route only
            headers["Allow"] = ", ".join(_methods_at(request))
            detail = f"this path takes {headers['Allow']}"
        case HTTPStatus.NOT_FOUND:
            detail = NOTHING
        case HTTPStatus.BAD_REQUEST:
            detail = "the body cannot be read: send JSON in UTF-8, not nested very deep"
    return problem(HTTPStatus(error.status_code), detail, headers)


def _methods_at(request: Request) -> list[str]:
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in route.methods or ()})
