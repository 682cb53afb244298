"""Texts and keys go to the server that was chosen, past any proxy or variable, and show up in no error and no log."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from plugins.model_servers import OllamaServer, OpenAIServer
from winnow.errors import WinnowError
from winnow.providers.factory import build_embedder
from winnow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugins.misbehaviour import Misbehaviour
    from plugins.model_servers import ModelServer
    from winnow.providers.base import Embedder

KEY = "sk-very-secret-0123456789"
PASSWORD = "hunter2-secret"


@pytest.fixture(params=["ollama", "openai"])
def server(request: pytest.FixtureRequest) -> Iterator[ModelServer]:
    made = OllamaServer() if request.param == "ollama" else OpenAIServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def misleading_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What other programs may have left there; port 9 refuses."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OLLAMA_HOST", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OLLAMA_API_KEY", "ambient-ollama")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "ambient-admin")
    monkeypatch.setenv("OPENAI_ORG_ID", "ambient-org")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "ambient-project")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer ambient-header")
    monkeypatch.setenv("OPENAI_API_KEY", "ambient-openai")


def embedder_for(server: ModelServer, *, url: str | None = None, key: str | None = None) -> Embedder:
    provider = "ollama" if isinstance(server, OllamaServer) else "openai"
    where = {f"{provider}_url": url or server.url}
    return build_embedder(
        load_settings(embedder=f"{provider}:some-model", openai_api_key=SecretStr(key) if key else None, **where)
    )


async def test_only_the_settings_say_where_and_with_which_key(server: ModelServer) -> None:
    embedder = embedder_for(server)
    await embedder.embed(["private"], input_type="document")
    await embedder.close()
    headers = server.requests[0].headers
    assert "ambient" not in str(headers)
    assert "authorization" not in headers


async def test_credentials_in_the_url_are_sent_and_never_shown(
    server: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    embedder = embedder_for(server, url=server.url.replace("http://", f"http://user:{PASSWORD}@"))
    await embedder.embed(["private"], input_type="document")
    sent = server.requests[0].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent).decode() == f"user:{PASSWORD}"
    server.stop()
    with pytest.raises(WinnowError) as caught:
        await embedder.embed(["private"], input_type="document")
    await embedder.close()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "***@127.0.0.1" in str(caught.value)
    assert PASSWORD not in shown
    assert sent not in shown


async def test_a_redirect_takes_no_text_elsewhere(server: ModelServer) -> None:
    elsewhere = OllamaServer()
    elsewhere.start()
    server.behave("redirect", headers={"location": f"{elsewhere.url}/api/embed"})
    embedder = embedder_for(server)
    with pytest.raises(WinnowError, match="sends elsewhere"):
        await embedder.embed(["private"], input_type="document")
    await embedder.close()
    elsewhere.stop()
    assert not elsewhere.requests


@pytest.mark.parametrize("misbehaviour", ["key_refused", "refused", "broken", "rate_limited", "busy"])
async def test_a_key_is_sent_and_in_no_error_even_if_the_server_repeats_it(
    openai_server: OpenAIServer, caplog: pytest.LogCaptureFixture, misbehaviour: Misbehaviour
) -> None:
    caplog.set_level(logging.DEBUG)
    openai_server.fail_next(misbehaviour, words=f"Incorrect API key provided: {KEY}.")
    embedder = embedder_for(openai_server, key=KEY)
    with pytest.raises(WinnowError) as caught:
        await embedder.embed(["private"], input_type="document")
    await embedder.close()
    assert openai_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert KEY not in caplog.text


async def test_texts_are_in_no_log_of_the_clients(server: ModelServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    embedder = embedder_for(server)
    await embedder.embed(["a very private sentence"], input_type="document")
    server.fail_next("nan", "wrong_count")
    for _ in range(2):
        with pytest.raises(WinnowError) as caught:
            await embedder.embed(["a very private sentence"], input_type="document")
        assert "private" not in "".join(traceback.format_exception_only(caught.value))
    await embedder.close()
    assert "private sentence" not in caplog.text
