"""A text longer than the model's context is cut at a sentence before it is sent, and the result says where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from winnow.domain.providers import Provider, ProviderKind
from winnow.domain.spaces import EmbedderIdentity, Space
from winnow.errors import SomeInvalid, TextTooLong
from winnow.pipeline.asking import Inquiry
from winnow.providers.batching import estimated_tokens
from winnow.providers.factory import build_embedder_of
from winnow.providers.local import LocalEmbedder
from winnow.storage.embedding_records import EmbeddableText

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugins.model_servers import OllamaServer, OpenAIServer
    from winnow.providers.base import Embedder

SENTENCE = "One sentence of the many here. "
LONG = SENTENCE * 100
KNOWN_CONTEXT = 256


def embedder_of(kind: ProviderKind, url: str, model: str) -> Embedder:
    return build_embedder_of(
        Provider(kind=kind, name="here", urls=(url,)),
        model,
        first_timeout_seconds=5,
        timeout_seconds=5,
        document_prefix="passage: ",
        query_prefix="query: ",
    )


@pytest.fixture
async def known(ollama_server: OllamaServer) -> AsyncIterator[Embedder]:
    made = embedder_of(ProviderKind.OLLAMA, ollama_server.url, "all-minilm")
    yield made
    await made.close()


@pytest.fixture
async def unknown(openai_server: OpenAIServer) -> AsyncIterator[Embedder]:
    made = embedder_of(ProviderKind.OPENAI, openai_server.url, "unheard-of")
    yield made
    await made.close()


async def test_a_long_text_is_cut_at_a_sentence_with_its_prefix_counted(
    ollama_server: OllamaServer, known: Embedder
) -> None:
    result = await known.embed(["short", LONG, LONG[:300]], input_type="document")
    (characters,) = result.characters.values()
    assert list(result.characters) == [1]
    short, cut, middling = ollama_server.texts
    assert (short, middling) == ("passage: short", f"passage: {LONG[:300]}")
    assert cut == f"passage: {LONG[:characters]}"
    assert cut.endswith("here.")
    assert KNOWN_CONTEXT * 0.7 < estimated_tokens(cut) <= KNOWN_CONTEXT - 2, "the model adds two of its own"
    assert np.allclose(result.vectors[1], ollama_server.vector(cut))


async def test_a_long_query_is_cut_too(ollama_server: OllamaServer, known: Embedder) -> None:
    result = await known.embed([LONG], input_type="query")
    assert result.characters
    assert estimated_tokens(ollama_server.texts[0]) <= KNOWN_CONTEXT


async def test_texts_that_are_equal_once_cut_are_sent_once(ollama_server: OllamaServer, known: Embedder) -> None:
    result = await known.embed([LONG + "a", LONG + "b"], input_type="document")
    assert result.characters[0] == result.characters[1]
    assert (len(ollama_server.texts), result.texts, result.requests) == (1, 1, 1)


async def test_nothing_is_cut_where_no_context_is_known(openai_server: OpenAIServer, unknown: Embedder) -> None:
    result = await unknown.embed([LONG * 100], input_type="document")
    assert not result.characters
    assert openai_server.texts == [f"passage: {LONG * 100}"]


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 100 tokens, however you requested 700 tokens",
        "`inputs` must have less than 100 tokens. Given: 700",
    ],
)
async def test_a_context_that_the_server_names_is_learned(
    openai_server: OpenAIServer, unknown: Embedder, words: str
) -> None:
    openai_server.fail_next("too_long", words=words)
    result = await unknown.embed(["short", LONG], input_type="document")
    assert list(result.characters) == [1]
    assert [len(request.texts) for request in openai_server.requests] == [2, 2]
    await unknown.embed([LONG + "again"], input_type="document")
    assert len(openai_server.requests) == 3, "it is cut before it is sent"
    assert estimated_tokens(openai_server.texts[-1]) <= 100


async def test_a_refusal_that_teaches_nothing_is_the_callers(openai_server: OpenAIServer, unknown: Embedder) -> None:
    openai_server.behave("too_long", words="maximum context length is 100 tokens")
    with pytest.raises(TextTooLong) as caught:
        await unknown.embed([LONG], input_type="document")
    assert len(openai_server.requests) == 2
    assert caught.value.characters == len(openai_server.texts[-1]) - len("passage: ")


async def test_a_cut_text_is_marked_when_another_ones_vector_is_useless(
    ollama_server: OllamaServer, known: Embedder
) -> None:
    ollama_server.poison("cursed", "zero")
    with pytest.raises(SomeInvalid) as caught:
        await known.embed(["cursed", LONG], input_type="document")
    assert list(caught.value.good) == [1]
    assert caught.value.characters[1] < len(LONG)


async def test_the_built_in_model_reads_texts_of_any_length() -> None:
    embedder = LocalEmbedder()
    result = await embedder.embed([LONG * 100], input_type="document")
    await embedder.close()
    assert not result.characters
    assert (result.requests, result.texts) == (1, 1)


async def found_by(embedder: Embedder, *texts: str) -> Inquiry:
    space = Space(id=1, identity=EmbedderIdentity(provider="x", model="y"), dimensions=64)
    inquiry = Inquiry(embedder, space, patience_seconds=0)
    await inquiry.ask([EmbeddableText(id=10 + place, text=text, hash=b"") for place, text in enumerate(texts)])
    return inquiry


async def test_a_batch_notes_what_was_cut(ollama_server: OllamaServer, known: Embedder) -> None:
    ollama_server.poison("cursed", "zero")
    found = (await found_by(known, "short", LONG, "cursed", f"cursed {LONG}")).found
    assert sorted(found.vectors) == [10, 11, 13], "a request has one useless vector, and the last came later"
    assert list(found.refused) == [12]
    assert sorted(found.characters) == [11, 13]
    assert f"passage: {LONG[: found.characters[11]]}" in ollama_server.texts


async def test_a_text_that_was_cut_and_is_still_too_long_is_shortened_from_there(
    ollama_server: OllamaServer, known: Embedder
) -> None:
    ollama_server.max_characters = 500  # its tokens are not what we take them for
    found = (await found_by(known, LONG)).found
    assert 200 < found.characters[10] < 500
    sent = [len(text) for text in ollama_server.texts if len(text) > 100]
    assert sent == sorted(sent, reverse=True)
    assert len(set(sent[1:])) == len(sent[1:]), "once more as it was, then shorter each time"
    assert np.allclose(found.vectors[10], ollama_server.vector(f"passage: {LONG[: found.characters[10]]}"))
