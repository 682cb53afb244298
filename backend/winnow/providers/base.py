"""What every model provider speaks: embedders and language models as protocols, with results that carry their units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from winnow.errors import AnswerInvalid, SetupFault, TextRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from winnow.domain.spaces import EmbedderIdentity

InputType = Literal["document", "query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingResult:
    """Vectors in the order of the texts: float32, shape (texts, dimensions). `tokens` is the batch's sum, if told."""

    vectors: NDArray[np.float32]
    model: str
    tokens: int | None = None


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


async def probe_dimensions(embedder: Embedder) -> int:
    """The dimension as the model itself shows it, by embedding one word.

    Raises:
        SetupFault: it cannot even do that, so no text would fare better.
        Transient: the server is away or busy.
    """
    try:
        result = await embedder.embed(["dimension"], input_type="document")
    except (AnswerInvalid, TextRefused) as error:
        raise SetupFault(
            f"{embedder.identity} cannot embed even one word ({error}); choose a model for embeddings with "
            "WINNOW_EMBEDDER, or mend the model server"
        ) from error
    return int(result.vectors.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A language model's answer; `truncated` says it ended at the output limit."""

    text: str
    model: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    truncated: bool = False


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
