"""One OpenAI-compatible server through the official client: answers come raw, refusals as Winnow's own errors."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from http import HTTPStatus as Status
from typing import TYPE_CHECKING, Any

import openai
import orjson

from winnow.errors import (
    KeyRefused,
    ModelNotFound,
    ProviderBusy,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    SetupFault,
    WinnowError,
)
from winnow.providers.address import ServerName
from winnow.providers.patience import no_answer_within
from winnow.providers.refusals import (
    batch_refused,
    rate_limits,
    repeats,
    retry_after_seconds,
    server_words,
    translate_common,
)
from winnow.providers.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic import SecretStr

    from winnow.domain.pacing import RateLimits
    from winnow.providers.address import ServerAddress
    from winnow.providers.patience import Patience

CONNECT_SECONDS = 10

# What the client would add to a request from the environment (OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID).
_ACCOUNT_HEADERS = ("Authorization", "OpenAI-Organization", "OpenAI-Project")

# {"error": …} with the status 200; an answer may hold an "error" that is null.
_SUCCESS_THAT_IS_NONE = re.compile(rb'\s*\{\s*"error"\s*:\s*[^\sn]')
_NO_QUOTA = ("insufficient_quota", "budget_exceeded")  # OpenAI, LiteLLM
# Google's compatible endpoint answers 400 to a wrong key.
_BAD_KEY = "API key not valid"
# Infinity answers 400 to the name of a model it does not serve.
_NO_SUCH_MODEL = re.compile(r"invalid model\b", re.IGNORECASE)


class OpenAIServer:
    """One server that speaks OpenAI's protocol, for whoever asks it; the pooled connections are those of `ways`.

    Args:
        address: of the server, up to and with `/v1`; the environment's `OPENAI_BASE_URL` is not read.
        api_key: sent to this address only; None sends none.
        key_setting: where the key was set, for messages.
        ways: of the process; None: connections of its own.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        api_key: SecretStr | None,
        key_setting: str = "WINNOW_OPENAI_API_KEY",
        ways: Ways | None = None,
    ) -> None:
        self.name = ServerName(shown=address.shown, url_setting=address.setting, key_setting=key_setting)
        self._secrets = [api_key.get_secret_value()] if api_key else []
        self._client, self._connection = (ways or Ways()).connect(
            "openai", address, api_key, lambda: _client_to(address, api_key)
        )

    async def ask(
        self,
        request: Callable[[openai.AsyncOpenAI], Awaitable[Any]],
        *,
        patience: Patience,
        model: str,
        texts: Sequence[str] = (),
        private: Sequence[str] = (),
    ) -> Any:
        """The raw answer (`.content`, `.headers`) of what `request` asks of the client by `with_raw_response`.

        `texts` and what is `private` are kept out of messages where the server repeats them; `texts` are counted when
        it refuses their number.
        The caller tells `patience` of a good answer, once it has looked at it.

        Raises:
            Transient: no connection, no answer in time, or a server error.
            BatchRefused: too many texts.
            WinnowError: another refusal, translated by `translate_refusal`.
        """
        seconds = patience.seconds
        try:
            async with asyncio.timeout(seconds):
                raw = await request(self._client)
        except openai.APIStatusError as error:
            refused = self._refusal(error, model=model, texts=texts, private=private)
            if isinstance(refused, ProviderUnavailable):
                patience.unanswered()
            is_telling = repeats(f"{error} {error.body}", secrets=self._secrets, texts=[*texts, *private])
            raise refused from (None if is_telling else error)
        except (TimeoutError, openai.OpenAIError) as error:
            patience.unanswered()
            is_late = isinstance(error, TimeoutError | openai.APITimeoutError)
            # By its name: the client brings a library of its own to connect.
            if is_late and type(error.__cause__).__name__ != "ConnectTimeout":
                raise ProviderTimeout(no_answer_within(seconds, shown=self.name.shown)) from error
            raise ProviderUnavailable(
                f"the model server {self.name.shown} does not answer; start it, or check {self.name.url_setting}"
            ) from error
        if "html" in raw.headers.get("content-type", ""):
            raise SetupFault(f"{self.name.shown} answers with a web page; does {self.name.url_setting} end in /v1?")
        if _SUCCESS_THAT_IS_NONE.match(raw.content):
            raise self._no_success(raw.content, model=model, private=[*texts, *private])
        return raw

    async def close(self) -> None:
        """Closes the pooled connections, unless somebody else uses them."""
        await self._connection.close()

    def _refusal(
        self, error: openai.APIStatusError, *, model: str, texts: Sequence[str], private: Sequence[str]
    ) -> Exception:
        words = server_words(error.body, secrets=self._secrets, texts=[*texts, *private])
        if refused := batch_refused(error.status_code, words, sent=len(texts)):
            return refused
        return translate_refusal(
            error.status_code,
            words,
            codes=f"{error.code} {error.type}",
            server=self.name,
            model=model,
            retry_after=retry_after_seconds(error.response.headers, now=datetime.now(UTC)),
            limits=rate_limits(error.response.headers),
        )

    def _no_success(self, content: bytes, *, model: str, private: Sequence[str]) -> Exception:
        """LM Studio answers 200 at paths it does not have; gateways do when the server behind them has failed."""
        try:
            error = orjson.loads(content)["error"]
        except orjson.JSONDecodeError:
            error = None
        words = server_words(error, secrets=self._secrets, texts=private)
        if words.startswith("Unexpected endpoint"):
            return SetupFault(f"{self.name.shown} says: {words}; does {self.name.url_setting} end in /v1?")
        code = error.get("code") if isinstance(error, dict) else None
        status = code if type(code) is int and code >= Status.BAD_REQUEST else Status.BAD_GATEWAY
        return translate_refusal(status, words, codes=str(code), server=self.name, model=model, retry_after=None)


def _client_to(address: ServerAddress, api_key: SecretStr | None) -> openai.AsyncOpenAI:
    """The client, with the pool of connections to one server, and no credentials but these."""
    authorization = address.authorization(api_key)

    async def set_account(request: Any) -> None:
        for name in _ACCOUNT_HEADERS:
            request.headers.pop(name, None)
        if authorization is not None:
            request.headers["Authorization"] = authorization.get_secret_value()

    timeout = openai.Timeout(None, connect=CONNECT_SECONDS)  # the whole answer's time is kept in `ask`
    return openai.AsyncOpenAI(
        api_key="set by set_account",  # never None: the client would look for one in the environment
        base_url=address.url,
        max_retries=0,  # retries have one owner, and it is not the client
        timeout=timeout,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            trust_env=not address.is_loopback,  # a proxy cannot reach this machine's own loopback
            follow_redirects=False,  # texts go to the server that was chosen, to no other
            event_hooks={"request": [set_account]},
        ),
    )


def translate_refusal(
    status: int,
    words: str,
    *,
    codes: str,
    server: ServerName,
    model: str,
    retry_after: float | None,
    limits: RateLimits | None = None,
) -> WinnowError:
    """What an error answer of an OpenAI-compatible server means.

    Args:
        status: HTTP status.
        words: the server's own sentence, without secrets.
        codes: the error's `code` and `type`, as far as there are any.
        server: who said so.
        model: the one asked for.
        retry_after: the server's wish in seconds.
        limits: that the refusal's headers tell.
    """
    shown = server.shown
    if status == Status.PAYMENT_REQUIRED or any(code in codes for code in _NO_QUOTA):
        return QuotaExhausted(f"the account at {shown} has no quota left; add credit there")
    if status in (Status.TOO_MANY_REQUESTS, Status.SERVICE_UNAVAILABLE):
        said = f"{shown} is busy or limits the rate: {words or status}"
        return ProviderBusy(said, retry_after_seconds=retry_after, limits=limits)
    if status in (Status.UNAUTHORIZED, Status.FORBIDDEN) or "invalid_api_key" in codes or _BAD_KEY in words:
        return KeyRefused(f"{shown} refuses the API key ({status}); check {server.key_setting}")
    if status == Status.NOT_FOUND or "model_not_found" in codes or _NO_SUCH_MODEL.match(words):
        hint = f"check the model's name ({model}) and that {server.url_setting} ends in /v1"
        return ModelNotFound(f"{shown} does not have this: {words or status}; {hint}")
    return translate_common(status, words, shown=shown)
