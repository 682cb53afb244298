"""One Ollama server through its official client: answers come raw, refusals as Winnow's own errors."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, contextmanager
from http import HTTPStatus as Status
from json import JSONDecodeError
from typing import TYPE_CHECKING, cast

import httpx
import ollama
import orjson
from pydantic import SecretStr, ValidationError
from typing_extensions import override

from winnow.errors import (
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderTimeout,
    ProviderUnavailable,
    SetupFault,
    TextRefused,
    TextTooLong,
    WinnowError,
)
from winnow.providers.address import ServerName
from winnow.providers.base import PullProgress
from winnow.providers.patience import Patience, no_answer_within
from winnow.providers.refusals import batch_refused, repeats, server_words, translate_common
from winnow.providers.ways import Ways

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence

    from winnow.providers.address import ServerAddress

CONNECT_SECONDS = 10
KEEP_ALIVE = "30m"  # the model stays loaded; a reload takes longer than most batches

_NO_CHAT = re.compile(r"does not support (chat|generate)")  # "nomic-embed-text" does not support chat
# From 0.13.3 on, 400 is also the answer to what goes wrong between Ollama and the model's process.
_RUNNER_AWAY = re.compile(r"do embedding request|read(ing)? embed response|unexpected server status")
_RUNNER_DIED = re.compile(r"\bEOF\b")  # do embedding request: Post "http://127.0.0.1:33967/embedding": EOF


class OllamaServer:
    """One Ollama server, for whoever asks it for any of its models; the pooled connections are those of `ways`.

    Args:
        address: of the server; the environment's `OLLAMA_HOST` and `OLLAMA_API_KEY` are not read.
        api_key: of a gateway before it, sent to this address only; None sends none.
        key_setting: where the key was set, for messages.
        ways: of the process; None: connections of its own.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        api_key: SecretStr | None = None,
        key_setting: str = "",
        ways: Ways | None = None,
    ) -> None:
        self.name = ServerName(
            shown=f"Ollama at {address.shown}",
            url_setting=address.setting,
            key_setting=key_setting if api_key else "",
        )
        self._secrets = [api_key.get_secret_value()] if api_key else []
        self._client, self._connection = (ways or Ways()).connect(
            "ollama", address, api_key, lambda: _RawClient.to(address, api_key)
        )

    async def post(
        self,
        path: str,
        body: Mapping[str, object],
        *,
        patience: Patience,
        texts: Sequence[str] = (),
        private: Sequence[str] = (),
    ) -> bytes:
        """The body of the answer.

        `texts` and what is `private` are kept out of messages where the server repeats them; `texts` are counted when
        it refuses their number.
        The caller tells `patience` of a good answer, once it has looked at it.

        Raises:
            Transient: no connection, no answer in time, or a server error.
            BatchRefused: too many texts.
            WinnowError: another refusal, translated by `translate_refusal`.
        """
        seconds = patience.seconds
        model = str(body.get("model"))
        with self._translated(path, model=model, patience=patience, seconds=seconds, texts=texts, private=private):
            async with asyncio.timeout(seconds):
                content = await self._client.raw("POST", path, json=body)
        return self._without_web_page(content)

    async def get(self, path: str, *, patience: Patience) -> bytes:
        """The body of the answer to a question that needs none. Raises as `post` does."""
        seconds = patience.seconds
        with self._translated(path, model="", patience=patience, seconds=seconds):
            async with asyncio.timeout(seconds):
                content = await self._client.raw("GET", path)
        return self._without_web_page(content)

    async def pull(self, model: str, *, no_progress_seconds: float) -> AsyncIterator[PullProgress]:
        """The lines of a download's progress; it ends when the model is there.

        Raises:
            TextRefused: the server ended it with a line that says why, which is the message.
            WinnowError: as `post` does.
        """
        patience = Patience(first_seconds=no_progress_seconds, usual_seconds=no_progress_seconds)
        with self._translated("/api/pull", model=model, patience=patience, seconds=no_progress_seconds):
            async with asyncio.timeout(no_progress_seconds):
                lines = cast("AsyncGenerator[ollama.ProgressResponse]", await self._client.pull(model, stream=True))
            async with aclosing(lines):
                while True:
                    async with asyncio.timeout(no_progress_seconds):
                        line = await anext(lines, None)
                    if line is None:
                        return
                    yield PullProgress(says=line.status or "", done_bytes=line.completed, total_bytes=line.total)

    def _without_web_page(self, content: bytes) -> bytes:
        if content.lstrip().startswith(b"<"):
            raise SetupFault(
                f"{self.name.shown} answers with a web page; set {self.name.url_setting} to an Ollama server"
            )
        return content

    @contextmanager
    def _translated(
        self,
        path: str,
        *,
        model: str,
        patience: Patience,
        seconds: float,
        texts: Sequence[str] = (),
        private: Sequence[str] = (),
    ) -> Iterator[None]:
        try:
            yield
        except ollama.ResponseError as error:
            words = server_words(_said(error.error), secrets=self._secrets, texts=[*texts, *private])
            refused = (
                TextRefused(words)  # a line of a stream that had begun well
                if error.status_code < 0
                else batch_refused(error.status_code, words, sent=len(texts))
                or translate_refusal(error.status_code, words, server=self.name, path=path, model=model)
            )
            if isinstance(refused, ProviderUnavailable):
                patience.unanswered()
            is_telling = repeats(f"{error} {error.error}", secrets=self._secrets, texts=[*texts, *private])
            raise refused from (None if is_telling else error)
        except httpx.ConnectTimeout as error:
            patience.unanswered()
            raise ProviderUnavailable(f"{self.name.shown} does not answer; is that machine up?") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            patience.unanswered()
            raise ProviderTimeout(no_answer_within(seconds, shown=self.name.shown)) from error
        except (JSONDecodeError, ValidationError) as error:  # only a download's lines are read by the client
            raise SetupFault(
                f"{self.name.shown} tells of no progress; set {self.name.url_setting} to an Ollama server"
            ) from error
        except (ConnectionError, httpx.HTTPError, AttributeError) as error:
            # AttributeError: the client trips over an error whose body is JSON but no object; a gateway's, then.
            patience.unanswered()
            raise ProviderUnavailable(f"{self.name.shown} does not answer; start it with: ollama serve") from error

    async def close(self) -> None:
        """Closes the pooled connections, unless somebody else uses them."""
        await self._connection.close()


class _RawClient(ollama.AsyncClient):
    """The client, but for its reading of answers: numbers by way of json and pydantic take three times as long."""

    @classmethod
    def to(cls, address: ServerAddress, api_key: SecretStr | None) -> _RawClient:
        """With the pool of connections to one server."""
        return cls(
            host=address.url,
            auth=_OnlyTheseCredentials(address.authorization(api_key)),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # the whole answer's time is kept in `post`
            trust_env=not address.is_loopback,  # a proxy cannot reach this machine's own loopback
            follow_redirects=False,  # texts go to the server that was chosen, to no other
        )

    async def raw(self, method: str, path: str, *, json: Mapping[str, object] | None = None) -> bytes:
        """The body of an answer; raises as the client's own methods do."""
        response: httpx.Response = await self._request_raw(method, path, json=json)  # type: ignore[no-untyped-call]
        # The stream refers to the response, and the circle would keep the whole answer until the collector's next full
        # round, which comes ever more rarely: the process grew by some 5 KiB a call.
        response.stream = httpx.ByteStream(b"")
        return response.content


class _OnlyTheseCredentials(httpx.Auth):
    """Sends the key, the URL's credentials, or none: the client would add `OLLAMA_API_KEY` of the environment."""

    def __init__(self, authorization: SecretStr | None) -> None:
        self._authorization = authorization

    @override
    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.pop("Authorization", None)
        if self._authorization is not None:
            request.headers["Authorization"] = self._authorization.get_secret_value()
        yield request


def _said(error: str) -> object:
    """The client's word for an error; where a server says none by the name of `error`, that is the whole body."""
    if not error.lstrip().startswith(("{", "[")):
        return error
    try:
        return orjson.loads(error)
    except orjson.JSONDecodeError:
        return None


def translate_refusal(status: int, words: str, *, server: ServerName, path: str, model: str) -> WinnowError:
    """What an error answer of Ollama to a request of `path` means. `words` is the server's own sentence."""
    shown = server.shown
    if status in (Status.SERVICE_UNAVAILABLE, Status.TOO_MANY_REQUESTS):
        return ProviderBusy(f"{shown} is busy: {words or status}")
    if status in (Status.UNAUTHORIZED, Status.FORBIDDEN):
        where = f"put them in {server.url_setting}: http://user:password@host"
        return KeyRefused(
            f"{shown} refuses the credentials; {f'check {server.key_setting}' if server.key_setting else where}"
        )
    if status == Status.NOT_FOUND:
        return _not_found(words, server=server, path=path, model=model)
    if _NO_CHAT.search(words):
        return SetupFault(f"{shown} refuses: the model {model} is not one for chats; choose another")
    return _runner_failed(status, words, shown=shown) or translate_common(status, words, shown=shown)


def _not_found(words: str, *, server: ServerName, path: str, model: str) -> WinnowError:
    if "model" in words.lower():
        return ModelNotFound(f"{server.shown} does not have the model {model}; run: ollama pull {model}")
    return SetupFault(
        f"{server.shown} has no {path}: it is no Ollama server, or one older than 0.3; check {server.url_setting}, or "
        "update Ollama"
    )


def _runner_failed(status: int, words: str, *, shown: str) -> WinnowError | None:
    """What it means when something went wrong between Ollama and the model's process; None: nothing did."""
    if status in (Status.INTERNAL_SERVER_ERROR, Status.BAD_REQUEST) and _RUNNER_DIED.search(words):
        return TextTooLong(f"{shown}: the model's process died of this text, as it does when one is too long")
    if status == Status.BAD_REQUEST and _RUNNER_AWAY.search(words):
        return ProviderUnavailable(f"{shown} fails ({status}): {words}")
    return None
