"""The extractor's part of `winnow doctor`: does its model answer, and in a form that can be used?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from winnow.domain.findings import doubtful, well, wrong
from winnow.domain.knowledge import ExtractionFailed, Window, WindowMessage
from winnow.errors import SetupFault, Transient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.domain.findings import Finding
    from winnow.pipeline.extractors import Extractors

AREA = "extractor"
SAID = "We decided to use Postgres 16 for the new service. Ana writes it down by Friday."


async def examine_extractor(extractors: Extractors) -> AsyncIterator[Finding]:
    """One finding: of the rules nothing can be wrong, a model is asked about one short message."""
    try:
        extractor = await extractors.model()
    except SetupFault as fault:
        yield wrong(AREA, "model", str(fault), "choose another: WINNOW_EXTRACTOR")
        return
    if extractor is None:
        yield well(AREA, "rules", "no model is chosen (WINNOW_EXTRACTOR)")
        return
    message = WindowMessage(id=1, author="Bo", text=SAID, sent_at=datetime.now(UTC), importance=1)
    try:
        found = await extractor.extract(Window(channel="", messages=(message,)))
    except (Transient, SetupFault) as error:
        yield wrong(AREA, "model", str(error), "until it answers, nothing is extracted, and nothing is lost")
    except ExtractionFailed as error:
        yield wrong(AREA, "model", str(error), "choose a model that can be held to a JSON schema")
    else:
        proven = sum(bool(atom.evidence) for atom in found.atoms)
        where = "elsewhere, secrets are masked" if extractor.is_remote else "on this machine or network"
        if proven:
            yield well(AREA, "model", f"{extractor.name} ({where}) answers by the schema and quotes what it read")
        else:
            yield doubtful(
                AREA,
                "model",
                f"{extractor.name} ({where}) answers by the schema, but found nothing in: {SAID}",
                "try a larger model, or the rules",
            )
