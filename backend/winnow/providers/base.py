"""What every model provider speaks: embedders and language models as protocols, with results that carry their units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from winnow.errors import AnswerInvalid, SetupFault, TextRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from numpy.typing import NDArray

    from winnow.domain.pacing import RateLimits
    from winnow.domain.spaces import EmbedderIdentity

InputType = Literal["document", "query"]

FINGERPRINT_TEXT = "dimension"
"""Never to be changed: stored fingerprints are of this."""
SAME_MODEL_COSINE = 0.98
"""Servers round differently, and quantised forms of a model differ by more; another model differs by all."""
RECOGNISED_SECONDS = 3600.0
"""A tag can be pulled anew at any time, and its server never goes away: a word an hour finds it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResult:
    """Vectors in the order of the texts, and what they took.

    Attributes:
        vectors: float32, shape (texts, dimensions).
        model: as the provider names it.
        tokens: the batch's sum, prefixes included, if the server told.
        characters: of the texts whose beginning alone was embedded, by place: how many characters of them, without the
            prefix.
        requests: how many were answered, refused ones too.
        texts: how many were sent in them; equal ones are sent once.
        seconds: the sum of the requests' times, without the waiting in line.

    What a call that fails has taken is told by `accounted` alone.
    """

    vectors: NDArray[np.float32]
    model: str
    tokens: int | None = None
    characters: Mapping[int, int] = field(default_factory=dict)
    requests: int = 0
    texts: int = 0
    seconds: float = 0.0


class Embedder(Protocol):
    """Turns texts into vectors of one space. Adds the identity's prefix for `input_type` itself.

    Raises:
        Transient: the server is away, busy, loading or limits the rate.
        TextRefused: (at least) one of the texts is at fault.
        AnswerInvalid: the answer has another count, length or order than asked for, or holds NaN or zero vectors.
        SetupFault: model missing, key refused, quota gone.
    """

    @property
    def identity(self) -> EmbedderIdentity:
        """The provider, model and prefixes."""
        ...

    async def embed(self, texts: Sequence[str], *, input_type: InputType) -> EmbeddingResult:
        """One vector for each text; texts are not blank."""
        ...

    async def close(self) -> None:
        """Closes the connections; the embedder is not used after."""
        ...


async def fingerprint_of(embedder: Embedder) -> list[float]:
    """The vector of a fixed word: its length is the model's dimension, and another model makes another one of it.

    Raises:
        SetupFault: it cannot even do that, so no text would fare better.
        Transient: the server is away or busy.
    """
    try:
        result = await embedder.embed([FINGERPRINT_TEXT], input_type="document")
    except (AnswerInvalid, TextRefused) as error:
        raise SetupFault(
            f"{embedder.identity} cannot embed even one word ({error}); choose a model for embeddings with "
            "WINNOW_EMBEDDER, or mend the model server"
        ) from error
    vector: list[float] = result.vectors[0].tolist()
    return vector


def same_model(known: Sequence[float] | None, found: Sequence[float], *, dimensions: int) -> bool:
    """Whether two fingerprints are one model's; by their dimensions alone where none is `known`."""
    if len(found) != dimensions:
        return False
    if known is None:
        return True
    return difference(known, found) is None


def difference(
    known: Sequence[float] | NDArray[np.float32], found: Sequence[float] | NDArray[np.float32]
) -> str | None:
    """What tells two vectors of one text apart as those of two models; None: nothing."""
    if len(found) != len(known):
        return f"{len(found)} dimensions instead of {len(known)}"
    a, b = np.asarray(known, dtype=np.float64), np.asarray(found, dtype=np.float64)
    product, lengths = a @ b, np.linalg.norm(a) * np.linalg.norm(b)
    if product >= SAME_MODEL_COSINE * lengths:
        return None
    return f"the same sentence has a vector with a cosine of {product / lengths:.2f}"


async def probe_dimensions(embedder: Embedder) -> int:
    """The dimension as the model itself shows it. Raises as `fingerprint_of` does."""
    return len(await fingerprint_of(embedder))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A language model's answer.

    Attributes:
        text: without what the model thought.
        model: as the provider names it.
        input_tokens, output_tokens: if the server told.
        truncated: it ended at the output limit.
        seconds: the request's time, without the waiting in line.
        limits: that the server told beside it.
    """

    text: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    truncated: bool = False
    seconds: float = 0.0
    limits: RateLimits | None = None


class LanguageModel(Protocol):
    """Answers a prompt, held to a JSON schema when one is given. Raises as `Embedder` does."""

    @property
    def name(self) -> str:
        """Provider and model, for example `ollama:qwen3:8b`."""
        ...

    async def complete(
        self, *, system: str, prompt: str, schema: Mapping[str, Any] | None = None, max_output_tokens: int
    ) -> Completion:
        """One answer."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model as its server describes it; None where it does not say.

    Attributes:
        name: as the server is asked for it.
        embeds, chats: what it can do.
        dimensions: of its vectors.
        context: tokens it reads at once.
        size_bytes: on the server's disk.
    """

    name: str
    embeds: bool | None = None
    chats: bool | None = None
    dimensions: int | None = None
    context: int | None = None
    size_bytes: int | None = None


class ModelCatalogue(Protocol):
    """What a server says of its models. Raises as `Embedder` does, but for what is about texts."""

    async def version(self) -> str | None:
        """The server's own version, if it tells."""
        ...

    async def models(self) -> list[ServedModel]:
        """All it has, by name."""
        ...

    async def describe(self, model: str) -> ServedModel:
        """One of them, as exactly as it tells. Raises `ModelNotFound`."""
        ...

    def pull(self, model: str) -> AsyncIterator[PullProgress]:
        """Has the server download a model; only when a person asked for it.

        Raises:
            SetupFault: this server downloads nothing on demand.
            ModelNotFound: there is no model of this name to be had.
        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a download is, in the server's own words; bytes where it counts them."""

    says: str
    done_bytes: int | None = None
    total_bytes: int | None = None
