"""The built-in model gives its library's numbers, for texts of any length, without taking the machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from winnow.errors import ModelNotFound, TextRefused
from winnow.providers import local
from winnow.providers.base import probe_dimensions
from winnow.providers.local import LocalEmbedder, TokenVectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# The first four numbers of each vector as wordllama 0.2.2 itself computes them (`embed(text, norm=True)`).
LIBRARY = {
    "The deploy failed because the disk was full": [0.035285, -0.028803, -0.006418, -0.088356],
    "ok": [-0.086127, -0.048227, -0.030179, -0.008263],
    "Диск переполнен 😀": [-0.022014, 0.01769, -0.033842, -0.048107],
    "a" * 300: [0.09405, 0.041456, -0.060552, -0.084156],
}


@pytest.fixture
async def embedder() -> AsyncIterator[LocalEmbedder]:
    made = LocalEmbedder()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def model() -> TokenVectors:
    return TokenVectors.load()


async def test_the_numbers_are_the_librarys(embedder: LocalEmbedder) -> None:
    result = await embedder.embed(list(LIBRARY), input_type="document")
    assert result.vectors.dtype == np.float32
    assert np.allclose(result.vectors[:, :4], list(LIBRARY.values()), atol=1e-6)
    assert np.allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-5)


async def test_neighbours_in_a_batch_change_nothing(embedder: LocalEmbedder) -> None:
    texts = [f"message number {n} about the deploy" for n in range(150)]
    together = await embedder.embed(texts, input_type="document")
    alone = [await embedder.embed([text], input_type="query") for text in texts[::37]]
    assert np.array_equal(together.vectors[::37], np.concatenate([result.vectors for result in alone]))


async def test_meaning_is_near(embedder: LocalEmbedder) -> None:
    texts = ["the server's disk is full", "not enough disk space on the server", "let's have lunch together"]
    vectors = (await embedder.embed(texts, input_type="document")).vectors
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.5


async def test_it_shows_its_dimension_and_takes_no_text_at_all(embedder: LocalEmbedder) -> None:
    assert await probe_dimensions(embedder) == 256
    assert (await embedder.embed([], input_type="document")).vectors.shape[0] == 0


async def test_prefixes_are_put_before() -> None:
    prefixed = LocalEmbedder(document_prefix="doc: ", query_prefix="query: ")
    plain = LocalEmbedder()
    try:
        as_query = await prefixed.embed(["disk"], input_type="query")
        as_document = await prefixed.embed(["disk"], input_type="document")
        by_hand = await plain.embed(["query: disk", "doc: disk"], input_type="document")
        assert np.array_equal(np.concatenate([as_query.vectors, as_document.vectors]), by_hand.vectors)
    finally:
        await prefixed.close()
        await plain.close()


@pytest.mark.parametrize(("texts", "place"), [([""], "text 1 of 1"), (["fine", ""], "text 2 of 2")])
async def test_a_text_without_a_token_is_named(embedder: LocalEmbedder, texts: list[str], place: str) -> None:
    with pytest.raises(TextRefused, match=place):
        await embedder.embed(texts, input_type="document")


async def test_a_lone_surrogate_is_refused(embedder: LocalEmbedder) -> None:
    with pytest.raises(TextRefused, match="text 2 of 2"):
        await embedder.embed(["fine", "\udc00"], input_type="document")


def test_prose_has_the_same_vector_in_pieces_as_whole(model: TokenVectors) -> None:
    prose = "The deploy failed, because the disk of db-3 was full again; Anna freed 20 GB. " * 400
    whole = model._table[model._tokenizer.encode(prose, add_special_tokens=False).ids].sum(axis=0)
    assert np.allclose(model.unit_means([prose])[0], whole / np.linalg.norm(whole), atol=1e-5)


def test_marks_that_people_write_are_text_not_control(model: TokenVectors) -> None:
    start_mark = model._table[1] / np.linalg.norm(model._table[1])
    assert model.unit_means(["<s>"])[0] @ start_mark < 0.9


@pytest.mark.parametrize(
    "text", ["word and " * 120_000, "x" * 1_000_000, "😀" * 250_000], ids=["prose", "run", "emoji"]
)
def test_a_megabyte_takes_bounded_memory(model: TokenVectors, text: str) -> None:
    tracemalloc.start()
    try:
        vectors = model.unit_means([text, "short"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.isfinite(vectors).all()
    assert most < 100 * 1024 * 1024  # without pieces the token vectors alone take 256 MB and more


async def test_the_loop_runs_on_and_one_thread_works(embedder: LocalEmbedder) -> None:
    await embedder.embed(["load"], input_type="document")
    texts = ["a longer message about disks and deploys " * 50] * 500
    ticks = 0
    embedding = asyncio.gather(*(embedder.embed(texts, input_type="document") for _ in range(3)))
    while not embedding.done():
        await asyncio.sleep(0.005)
        ticks += 1
    await embedding
    assert ticks > 10
    assert sum(thread.name.startswith("winnow-embedder") for thread in threading.enumerate()) == 1


async def test_building_it_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenVectors, "load", lambda: pytest.fail("loaded before the first text"))
    await LocalEmbedder().close()


@pytest.mark.parametrize("package", ["winnow_has_no_such_package", "winnow"])
async def test_missing_files_are_a_fault_of_the_set_up(
    monkeypatch: pytest.MonkeyPatch, embedder: LocalEmbedder, package: str
) -> None:
    monkeypatch.setattr(local, "_PACKAGE", package)
    with pytest.raises(ModelNotFound, match="install Winnow's dependencies again"):
        await embedder.embed(["x"], input_type="document")


def test_the_package_does_not_run_no_threads_stay_and_a_fork_does_not_warn() -> None:
    code = """
import asyncio, logging, os, psutil, sys, time
from winnow.providers.local import LocalEmbedder
async def main() -> None:
    embedder = LocalEmbedder()
    await embedder.embed(["one text", "another one"] * 200, input_type="document")
    await embedder.close()
threads = psutil.Process().num_threads()
asyncio.run(main())
ends = time.monotonic() + 20  # a thread that was joined stays among the kernel's for a moment
while psutil.Process().num_threads() != threads and time.monotonic() < ends:
    time.sleep(0.01)
assert psutil.Process().num_threads() == threads
assert "wordllama" not in sys.modules and not logging.getLogger().handlers
child = os.fork()
if not child:
    asyncio.run(main())
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""
    env = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
