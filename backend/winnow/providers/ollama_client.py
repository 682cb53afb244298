"""One Ollama server through its official client: answers come raw, refusals as Winnow's own errors."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus as Status
from typing import TYPE_CHECKING

import httpx
import ollama
from typing_extensions import override

from winnow.errors import (
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderUnavailable,
    SetupFault,
    TextTooLong,
    WinnowError,
)
from winnow.providers.address import ServerName
from winnow.providers.patience import no_answer_within
from winnow.providers.refusals import server_words, translate_common

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from winnow.providers.address import ServerAddress
    from winnow.providers.patience import Patience

CONNECT_SECONDS = 10

_RUNNER_DIED = re.compile(r"\bEOF\b")  # do embedding request: Post "http://127.0.0.1:33967/embedding": EOF


class OllamaServer:
    """The pooled connections to one Ollama server, for all of its models.

    Args:
        address: of the server; the environment's `OLLAMA_HOST` and `OLLAMA_API_KEY` are not read.
    """

    def __init__(self, address: ServerAddress) -> None:
        self.name = ServerName(shown=f"Ollama at {address.shown}", url_setting=address.setting)
        self._client = _RawClient(
            host=address.url,
            auth=_OnlyTheseCredentials(address),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the whole answer's time is kept in `post`
            trust_env=not address.is_loopback,  # a proxy cannot reach this machine's own loopback
            follow_redirects=False,  # texts go to the server that was chosen, to no other
        )

    async def post(
        self, path: str, body: Mapping[str, object], *, patience: Patience, texts: Sequence[str] = ()
    ) -> bytes:
        """The body of the answer; `texts` are kept out of messages where the server repeats them.

        The caller tells `patience` of a good answer, once it has looked at it.

        Raises:
            Transient: no connection, no answer in time, or a server error.
            WinnowError: a refusal, translated by `translate_refusal`.
        """
        return await self._ask("POST", path, body, patience=patience, texts=texts)

    async def get(self, path: str, *, patience: Patience) -> bytes:
        """The body of the answer. Raises as `post` does."""
        return await self._ask("GET", path, {}, patience=patience)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, object], *, patience: Patience, texts: Sequence[str] = ()
    ) -> bytes:
        seconds = patience.seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._client.raw(method, path, json=body or None)
        except ollama.ResponseError as error:
            words = server_words(error.error, texts=texts)
            refused = translate_refusal(
                error.status_code, words, server=self.name, path=path, model=str(body.get("model"))
            )
            if isinstance(refused, ProviderUnavailable):
                patience.unanswered()
            raise refused from error
        except (TimeoutError, httpx.TimeoutException) as error:
            patience.unanswered()
            raise ProviderUnavailable(no_answer_within(seconds, shown=self.name.shown)) from error
        except (ConnectionError, httpx.HTTPError, AttributeError) as error:
            # AttributeError: the client trips over an error whose body is JSON but no object; a gateway's, then.
            patience.unanswered()
            raise ProviderUnavailable(f"{self.name.shown} does not answer; start it with: ollama serve") from error

    async def close(self) -> None:
        """Closes the pooled connections."""
        await self._client.close()  # type: ignore[no-untyped-call]


class _RawClient(ollama.AsyncClient):
    """The client, but for its reading of answers: numbers by way of json and pydantic take three times as long."""

    async def raw(self, method: str, path: str, *, json: Mapping[str, object] | None = None) -> bytes:
        """The body of an answer; raises as the client's own methods do."""
        response: httpx.Response = await self._request_raw(method, path, json=json)  # type: ignore[no-untyped-call]
        return response.content


class _OnlyTheseCredentials(httpx.Auth):
    """Sends the address's own credentials or none: the client would add `OLLAMA_API_KEY` of the environment."""

    def __init__(self, address: ServerAddress) -> None:
        self._basic_auth = address.basic_auth

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop("Authorization", None)
        if self._basic_auth is not None:
            request.headers["Authorization"] = self._basic_auth.get_secret_value()
        yield request


def translate_refusal(status: int, words: str, *, server: ServerName, path: str, model: str) -> WinnowError:
    """What an error answer of Ollama to a request of `path` means. `words` is the server's own sentence."""
    shown, setting = server.shown, server.url_setting
    if status in (Status.SERVICE_UNAVAILABLE, Status.TOO_MANY_REQUESTS):
        return ProviderBusy(f"{shown} is busy: {words or status}")
    if status in (Status.UNAUTHORIZED, Status.FORBIDDEN):
        return KeyRefused(f"{shown} refuses the credentials; put them in {setting}: http://user:password@host")
    if status == Status.NOT_FOUND and "model" in words.lower():
        return ModelNotFound(f"{shown} does not have the model {model}; run: ollama pull {model}")
    if status == Status.NOT_FOUND:
        return SetupFault(
            f"{shown} has no {path}: it is no Ollama server, or one older than 0.3; check {setting}, or update Ollama"
        )
    if status == Status.INTERNAL_SERVER_ERROR and _RUNNER_DIED.search(words):
        return TextTooLong(f"{shown}: the model's process died of this text, as it does when one is too long")
    return translate_common(status, words, shown=shown)
