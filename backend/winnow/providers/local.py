"""The built-in embedder: token vectors from a shipped file, averaged. Needs no server, no network, no GPU.

The wheel `wordllama` is installed for its two files only and never imported (docs/adr/0005): its package configures
the root logger when imported and answers NaN for a text without tokens.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from typing_extensions import override

from winnow.domain.spaces import EmbedderIdentity
from winnow.errors import ModelNotFound, TextRefused
from winnow.providers.base import Embedder, EmbeddingResult, InputType
from winnow.providers.checking import utf8_sizes
from winnow.providers.models import with_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MODEL = "wordllama-l2-supercat-256"
PIECE_CHARACTERS = 4096
CHUNK_PIECES = 64

_PACKAGE = "wordllama"
_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class LocalEmbedder(Embedder):
    """Embeds with the built-in model, on one thread of its own; loads it (0.2 s, 40 MB) with the first text.

    Any length of text is taken: memory is bounded by pieces of 4,096 characters, of which 64 are worked at a time.

    Raises:
        TextRefused: a text has no token, or cannot be written in UTF-8; the message names its place in the batch.
        ModelNotFound: the model's files are not installed.
    """

    def __init__(self, *, document_prefix: str = "", query_prefix: str = "") -> None:
        self._identity = EmbedderIdentity(
            provider="local", model=MODEL, document_prefix=document_prefix, query_prefix=query_prefix
        )
        # One thread for all callers: the model never takes more than one core from the database beside it. So the
        # tokenizer is told, unless the user has said otherwise, to start no threads of its own, one for each core;
        # older versions of it also warn on stderr when a process with such threads forks. It reads this on each call.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="winnow-embedder")
        self._model: TokenVectors | None = None

    @property
    @override
    def identity(self) -> EmbedderIdentity:
        """The built-in model and the prefixes chosen in the settings."""
        return self._identity

    @override
    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """One unit vector of 256 dimensions for each text; other tasks of the event loop run meanwhile."""
        prefixed = with_prefix(texts, self._identity, input_type)
        vectors, seconds = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, prefixed)
        return EmbeddingResult(vectors=vectors, model=MODEL, requests=1, texts=len(prefixed), seconds=seconds)

    @override
    async def close(self) -> None:
        """Ends the thread, after the batch it is working on."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _embed(self, texts: list[str]) -> tuple[NDArray[np.float32], float]:
        """The vectors, and the seconds they took on the thread."""
        started = time.perf_counter()
        utf8_sizes(texts)
        if self._model is None:
            self._model = TokenVectors.load()
        return self._model.unit_means(texts), time.perf_counter() - started


class TokenVectors:
    """A tokenizer and a float32 table of one vector for each of its tokens, shape (tokens, dimensions)."""

    def __init__(self, tokenizer: Tokenizer, table: NDArray[np.float32]) -> None:
        self._tokenizer = tokenizer
        self._table = table

    @classmethod
    def load(cls) -> TokenVectors:
        """The model from the installed files.

        Raises:
            ModelNotFound: they are not where the wheel puts them.
        """
        folder = _package_folder()
        weights, tokenizer_file = folder / _WEIGHTS, folder / _TOKENIZER
        if not (weights.is_file() and tokenizer_file.is_file()):
            raise ModelNotFound(f"the built-in model's files are not in {folder}; install Winnow's dependencies again")
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # People write <s> (in HTML, struck out) and mean these letters, not the model's start mark.
        tokenizer.encode_special_tokens = True
        return cls(tokenizer, load_file(weights)["embedding.weight"].astype(np.float32))

    def unit_means(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """For each text the mean of its tokens' vectors, scaled to length 1; shape (texts, dimensions).

        Raises:
            TextRefused: a text without tokens, or whose tokens cancel out.
        """
        sums = np.zeros((len(texts), self._table.shape[1]), dtype=np.float32)
        numbered = ((number, piece) for number, text in enumerate(texts) for piece in pieces(text))
        while chunk := list(islice(numbered, CHUNK_PIECES)):
            encodings = self._tokenizer.encode_batch_fast([piece for _, piece in chunk], add_special_tokens=False)
            for (number, _), encoding in zip(chunk, encodings, strict=True):
                sums[number] += self._table[encoding.ids].sum(axis=0)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)  # the sum points where the mean does: no need to divide
        empty = np.flatnonzero(lengths[:, 0] == 0)
        if empty.size:
            raise TextRefused(f"text {empty[0] + 1} of {len(texts)} has nothing in it that the built-in model knows")
        unit: NDArray[np.float32] = sums / lengths
        return unit


def pieces(text: str, *, size: int = PIECE_CHARACTERS) -> Iterator[str]:
    """The text in pieces of at most `size` characters, cut at spaces where there are any.

    The space at a cut is left out: the tokenizer puts a word's start mark before every piece, which stands for it.
    So prose has the same tokens in pieces as whole, and a run without spaces at most one more for each cut.
    """
    start = 0
    while len(text) - start > size:
        cut = text.rfind(" ", start + 1, start + size + 1)
        end = cut if cut > 0 else start + size
        yield text[start:end]
        start = end + 1 if cut > 0 else end
    yield text[start:]


def _package_folder() -> Path:
    # find_spec looks a top-level package up without running it.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound("the built-in model is not installed; install Winnow's dependencies again")
    return Path(spec.submodule_search_locations[0])
