"""The embedder's part of `winnow doctor`: is the model there, is it the stored one, and how is it best asked?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from winnow.domain.findings import doubtful, well, wrong
from winnow.errors import AnswerInvalid, SetupFault, SpaceMismatch, Transient, WinnowError
from winnow.providers.base import ServedModel, fingerprint_of, same_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from winnow.domain.findings import Finding
    from winnow.domain.spaces import Space
    from winnow.providers.base import Embedder, ModelCatalogue
    from winnow.providers.models import KnownModel

# Languages and lengths as they come: padding in a batch must not change what a text means.
TEXTS = (
    "The disk was full again this morning.",
    "ok",
    "Диск снова был полон, журнал писал слишком много.",
    "PROPOSAL: drop the nightly job, for it has failed three times this month and nobody noticed until users wrote.",
    "https://example.org/path?query=1",
    "Wer hat das entschieden?",
    "+1",
    "ERROR 2025-01-01 12:00:00 worker-3: connection reset by peer",
)
LEAST_COSINE = 0.999
ANOTHER_MODEL = "pull the old one again under its name, or change over: winnow model use …"
COLD_SECONDS = 5.0
SIZES = (1, 8, 32, 100)
IN_FLIGHT = (1, 2, 4, 8)
# What is less than a tenth more is noise.
WORTH = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExaminingModel:
    """What the examination of an embedder needs.

    Attributes:
        area: what findings are about: the model of the searches, or the next one.
        embedder: of the space, or of the first one to be.
        space: whose vectors they are; None before the first.
        servers: an embedder for each of the provider's servers, by URL, where there are several; closed at the end.
        catalogue: of its server; closed at the end.
        known: what `models.toml` says of the model.
        measure: whether to find the best size of requests and how many at once, which costs some hundred texts.
    """

    area: str
    embedder: Embedder
    space: Space | None
    servers: Mapping[str, Embedder]
    catalogue: ModelCatalogue
    known: KnownModel | None
    measure: bool

    async def examine(self) -> AsyncIterator[Finding]:
        """One finding after the other."""
        try:
            async for finding in self._examine():
                yield finding
        finally:
            await self.catalogue.close()
            for server in self.servers.values():
                await server.close()

    async def _examine(self) -> AsyncIterator[Finding]:
        async for finding in self._servers():
            yield finding
        name = self.space.name if self.space else str(self.embedder.identity)
        version = await self.catalogue.version()
        yield well(self.area, "server", f"answers{f', version {version}' if version else ''}")
        served = ServedModel(name=self.embedder.identity.model)
        try:
            served = await self.catalogue.describe(served.name)
        except (SetupFault, AnswerInvalid) as error:
            yield doubtful(self.area, "model", str(error), "if embedding works below, the server just does not list it")
        else:
            if served.embeds is False:
                yield wrong(self.area, "model", f"{name} is not for embeddings", "choose another: winnow model use …")
                return
            yield well(self.area, "model", f"{name} is there")
        try:
            async for finding in self._first_answer():
                yield finding
        except SpaceMismatch as error:
            yield wrong(self.area, "dimension", str(error), ANOTHER_MODEL)
            return
        yield self._context(served)
        yield self._prefixes()
        yield await self._drift()
        if self.measure:
            yield await self._best_size()
            yield await self._best_concurrency()

    async def _servers(self) -> AsyncIterator[Finding]:
        """One line for each of several servers: only those with the same model can stand in for one another."""
        known: Sequence[float] | None = self.space.fingerprint if self.space else None
        for url, server in self.servers.items():
            try:
                found = await fingerprint_of(server)
            except Transient as error:
                yield doubtful(self.area, f"server {url}", str(error), "start it; until then the others are asked")
                continue
            except (SetupFault, AnswerInvalid) as error:
                yield wrong(self.area, f"server {url}", str(error), "mend it, or take it from its provider's URLs")
                continue
            known = known or found
            if same_model(known, found, dimensions=len(known)):
                yield well(self.area, f"server {url}", "reachable, with the same model")
            else:
                yield wrong(
                    self.area,
                    f"server {url}",
                    f"has another model under this name ({len(found)} dimensions), so it is not used",
                    "pull the same one there as on the others",
                )

    async def _first_answer(self) -> AsyncIterator[Finding]:
        started = time.perf_counter()
        fingerprint = await fingerprint_of(self.embedder)
        first = time.perf_counter() - started
        started = time.perf_counter()
        await fingerprint_of(self.embedder)
        second = time.perf_counter() - started
        seconds = f"{first:,.2f} s for the first answer, {second:,.2f} s for the next"
        if first - second > COLD_SECONDS:
            yield doubtful(self.area, "cold start", seconds, "normal after a pause; keep the model loaded (keep_alive)")
        else:
            yield well(self.area, "cold start", seconds)
        if self.space is None:
            yield well(self.area, "dimension", f"{len(fingerprint)}; no vector is stored yet")
        elif same_model(self.space.fingerprint, fingerprint, dimensions=self.space.dimensions):
            yield well(self.area, "dimension", f"{len(fingerprint)}, and the model is the one of the stored vectors")
        else:
            yield wrong(
                self.area,
                "dimension",
                f"this is another model ({len(fingerprint)} dimensions) than the one of the stored vectors "
                f"({self.space.dimensions})",
                ANOTHER_MODEL,
            )

    def _context(self, served: ServedModel) -> Finding:
        known = self.known.context if self.known else None
        if served.context is None:
            says = f"{known:,} tokens as far as is known" if known else "the server does not tell"
            return well(self.area, "context", says)
        if known is not None and served.context < known:
            return doubtful(
                self.area,
                "context",
                f"the server reads {served.context:,} tokens of a text, the model could read {known:,}",
                "longer texts are cut and marked; raise num_ctx or max-model-len on the server if that is too little",
            )
        return well(self.area, "context", f"{served.context:,} tokens")

    def _prefixes(self) -> Finding:
        identity = self.embedder.identity
        ours = (identity.document_prefix, identity.query_prefix)
        if self.known is None:
            seen = f"{ours[0]!r} before texts and {ours[1]!r} before queries" if any(ours) else "none"
            return well(self.area, "prefixes", f"{seen}; what the model's card wants is not known here")
        if ours != (self.known.document_prefix, self.known.query_prefix):
            return doubtful(
                self.area,
                "prefixes",
                f"{ours[0]!r} and {ours[1]!r}; its card wants {self.known.document_prefix!r} and "
                f"{self.known.query_prefix!r}",
                "unset WINNOW_DOCUMENT_PREFIX and WINNOW_QUERY_PREFIX and embed again, if this was not on purpose",
            )
        return well(self.area, "prefixes", "as the model's card wants them")

    async def _drift(self) -> Finding:
        try:
            together = await self.embedder.embed(TEXTS, input_type="document")
            alone = [(await self.embedder.embed([text], input_type="document")).vectors[0] for text in TEXTS]
        except WinnowError as error:
            return wrong(
                self.area, "answers", str(error), "update the server; some versions compute NaN for some texts"
            )
        cosines = [
            float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in zip(together.vectors, alone, strict=True)
        ]
        if min(cosines) < LEAST_COSINE:
            return doubtful(
                self.area,
                "batches",
                f"a text's vector depends on the texts beside it (cosine {min(cosines):.4f})",
                "update the server; until then set WINNOW_BATCH_SIZE=1 if searches miss what is there",
            )
        return well(self.area, "batches", f"the same vectors as one by one (cosine {min(cosines):.5f})")

    async def _best_size(self) -> Finding:
        rates = {size: await self._rate(size, 1) for size in SIZES}
        best = _least_that_is_as_good(rates)
        seen = ", ".join(f"{size}: {rate:,.0f}/s" for size, rate in rates.items())
        return well(self.area, "request size", f"{best} texts at a time are best ({seen})")

    async def _best_concurrency(self) -> Finding:
        rates = {number: await self._rate(32, number) for number in IN_FLIGHT}
        best = _least_that_is_as_good(rates)
        seen = ", ".join(f"{number}: {rate:,.0f}/s" for number, rate in rates.items())
        return well(self.area, "at once", f"{best} batches of 32 at once are best ({seen})")

    async def _rate(self, size: int, at_once: int) -> float:
        """Texts a second; every text is new to the server."""
        batches = [
            [f"{TEXTS[place % len(TEXTS)]} {size} {at_once} {batch} {place}" for place in range(size)]
            for batch in range(at_once)
        ]
        started = time.perf_counter()
        await asyncio.gather(*(self.embedder.embed(batch, input_type="document") for batch in batches))
        return size * at_once / (time.perf_counter() - started)


def _least_that_is_as_good(rates: dict[int, float]) -> int:
    best = max(rates.values())
    return min(number for number, rate in rates.items() if rate * WORTH >= best)
