"""Who replies to what is read from the conversation: answers, advice; and what is unsure is kept, within bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from winnow.domain.knowledge import AtomType, ExtractedAtom, Extraction, LinkType, Window, WindowMessage
from winnow.domain.rules import extract_by_rules

START = datetime(2025, 3, 3, 9, tzinfo=UTC)


def only(found: Extraction, kind: AtomType) -> ExtractedAtom:
    (atom,) = [atom for atom in found.atoms if atom.type is kind]
    return atom


def quoted(atom: ExtractedAtom) -> list[int]:
    return [evidence.message_id for evidence in atom.evidence]


def reply(number: int, author: str, text: str, parent: int | None = None, conversation: int = 0) -> WindowMessage:
    return WindowMessage(
        id=number,
        author=author,
        text=text,
        sent_at=START + timedelta(minutes=number),
        importance=0.5,
        parent_id=parent,
        conversation=conversation,
    )


def test_a_reply_answers_its_question_however_late() -> None:
    between = [reply(n, "dan", f"the coffee machine on floor {n} was cleaned this morning") for n in range(1, 12)]
    asked = reply(0, "ann", "Which certificate does the payment gateway want?")
    answer = reply(12, "bob", "the staging certificate of the payment gateway", parent=0)
    found = extract_by_rules(Window(channel="c", messages=(asked, *between, answer)))
    (link,) = [
        link for link in found.links if link.type is LinkType.ANSWERS and quoted(found.atoms[link.source]) == [12]
    ]
    assert quoted(found.atoms[link.target]) == [0]


def test_what_is_said_in_another_conversation_answers_nothing() -> None:
    asked = reply(0, "ann", "Which certificate does the payment gateway want?", conversation=0)
    other = reply(1, "bob", "yes, the payment gateway wants the staging certificate", conversation=1)
    apart = extract_by_rules(Window(channel="c", messages=(asked, other)))
    together = extract_by_rules(Window(channel="c", messages=(asked, replace(other, conversation=0))))
    assert apart.links == ()
    assert only(apart, AtomType.QUESTION).confidence < only(together, AtomType.QUESTION).confidence
    assert len(together.links) == 1


def test_a_reply_with_advice_solves_a_problem_without_a_name() -> None:
    problem = reply(0, "ann", "my network card doesn't work after the upgrade")
    advice = reply(1, "bob", "install the older firmware package and restart the machine", parent=0)
    found = extract_by_rules(Window(channel="c", messages=(problem, advice)))
    (link,) = found.links
    assert (link.type, quoted(found.atoms[link.source])) == (LinkType.SOLVES, [1])


def test_what_is_less_sure_is_kept_as_a_candidate_within_bounds() -> None:
    said = [reply(n, "ann", f"we could move the {thing} to another server") for n, thing in enumerate(THINGS)]
    found = extract_by_rules(Window(channel="c", messages=tuple(said)))
    hidden = [atom for atom in found.atoms if atom.confidence < 0.5]
    assert hidden
    assert len(hidden) <= max(2, 2 * (len(found.atoms) - len(hidden)))


THINGS = [
    "wiki",
    "forum",
    "mail",
    "shop",
    "blog",
    "archive",
    "database",
    "cache",
    "queue",
    "search",
    "chat",
    "calendar",
]
