"""An extractor's answer that rests on every word it was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winnow.domain.knowledge import AtomType, Evidence, ExtractedAtom, Extraction

if TYPE_CHECKING:
    from winnow.domain.knowledge import Window


def quoting_all(window: Window) -> Extraction:
    """An atom from each message, and one from all of them together; all filed under one topic."""

    def evidence(message_id: int, text: str) -> Evidence:
        return Evidence(message_id=message_id, start=0, end=len(text), quote=text)

    said = [message for message in window.messages if message.text]
    places = {message.id: evidence(message.id, message.text) for message in said}
    atoms = [_atom(f"it is said: {message.text}", (places[message.id],)) for message in said]
    if len(said) > 1:
        atoms.append(_atom(f"together {said[0].id}", tuple(places.values())))
    return Extraction(atoms=tuple(atoms), message_topics={message.id: "talk" for message in window.messages})


def _atom(content: str, evidence: tuple[Evidence, ...]) -> ExtractedAtom:
    return ExtractedAtom(
        type=AtomType.INSIGHT, title=content[:20], content=content, confidence=0.6, evidence=evidence, topic="talk"
    )
