"""Errors as problem+json (RFC 9457): what happened and what to do, never a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from winnow.errors import InvalidInput, SetupFault, Transient, WinnowError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A response that says what is wrong."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(body, status.value, headers, media_type="application/problem+json")


def add_error_handlers(app: FastAPI) -> None:
    """Turns every error into a problem."""
    app.add_exception_handler(WinnowError, _winnow_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _bug)


async def _winnow_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, InvalidInput):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    if isinstance(error, Transient):
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": str(RETRY_SECONDS)})
    if isinstance(error, SetupFault):
        return problem(HTTPStatus.CONFLICT, str(error))
    log.error("request.failed", reason=str(error))
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


async def _invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    sentences = [
        f"{'.'.join(str(part) for part in detail['loc'] if part != 'body') or 'body'}: {detail['msg']}"
        for detail in error.errors()[:5]
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(sentences))


async def _http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    return problem(HTTPStatus(error.status_code), str(error.detail), dict(error.headers or {}))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request.bug", path=request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something is broken here; the log has the details")
