"""The whole main job with a model server that was chosen; one that was not chosen is never asked."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from plugins.program import Call, eventually, gone

if TYPE_CHECKING:
    from plugins.model_servers import OllamaServer, OpenAIServer
    from plugins.program import Program

TEXTS = ["We decided to use blue-green deployment.", "The nightly build is broken.", "Who reviews the script?"]


def test_chosen_ollama_makes_the_vectors_and_another_model_is_refused(
    another: Program, ollama_server: OllamaServer, openai_server: OpenAIServer
) -> None:
    ollama_server.dimensions = 48
    chosen = {"WINNOW_EMBEDDER": "ollama:nomic-embed-text", "WINNOW_OLLAMA_URL": ollama_server.url}
    up = another.up(**chosen, OPENAI_API_KEY="sk-lies-there", OPENAI_BASE_URL=openai_server.url)
    with up.http as http:
        http.post("/api/v1/messages", json=[{"channel": "#models", "text": text} for text in TEXTS])
        http.post("/api/v1/knowledge/extract", json={"channel": "#models"})

        def embedded() -> dict[str, Any]:
            now: dict[str, Any] = http.get("/api/v1/status").json()
            return now if now["idle"] and now["embeddings"]["atoms"]["embedded"] else {}

        status = eventually(embedded, "everything is embedded")
        assert (status["space"], status["dimensions"]) == ("ollama:nomic-embed-text", 48)
        assert set(ollama_server.texts) >= {f"search_document: {text}" for text in TEXTS}
        found = http.get("/api/v1/search", params={"q": "deployment"}).json()
        assert found["degraded"] is None
        assert "search_query: deployment" in ollama_server.texts
        ollama_server.stop()
        by_words = http.get("/api/v1/search", params={"q": "nightly build"}).json()
        assert by_words["hits"]
        assert "does not answer" in by_words["degraded"]
        ollama_server.start()
    everything = up.processes()
    assert up.end(signal.SIGHUP) == 0
    assert gone(everything.values())
    assert openai_server.requests == []

    key = {"OPENAI_API_KEY": "sk-lies-there", "OPENAI_BASE_URL": openai_server.url}
    refused, degraded = another.run_in_turn(
        Call("up", "--port", "0", WINNOW_EMBEDDER="local"),
        Call("search", "nightly", WINNOW_OLLAMA_URL="http://127.0.0.1:9", **key),
    )
    assert refused.code == 3
    assert "unset it or set it to ollama:nomic-embed-text" in refused.sentence
    assert "winnow model use local" in refused.sentence
    assert degraded.code == 0, "unset, the model is the one of the stored vectors"
    assert "by words only: Ollama at http://127.0.0.1:9 does not answer" in " ".join(degraded.out.split())
    assert openai_server.requests == []
