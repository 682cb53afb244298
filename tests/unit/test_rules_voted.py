"""What several people vote for is a decision, marked or not; what they object to, or say elsewhere, is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from winnow.domain.knowledge import AtomType, ExtractedAtom, Window, WindowMessage
from winnow.domain.rules import extract_by_rules

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
CUT = 0.5


def talk(*said: str) -> list[WindowMessage]:
    """`author| text`, a minute apart; ids count from 0."""
    pairs = [line.split("| ", 1) for line in said]
    return [
        WindowMessage(id=number, author=author, text=text, sent_at=START + timedelta(minutes=number), importance=0.5)
        for number, (author, text) in enumerate(pairs)
    ]


def decisions(messages: list[WindowMessage]) -> list[ExtractedAtom]:
    found = extract_by_rules(Window(channel="c", messages=tuple(messages)))
    return [atom for atom in found.atoms if atom.type is AtomType.DECISION and atom.confidence >= CUT]


@pytest.mark.parametrize(
    "proposal",
    [
        "Drop support for the old row format.",
        "The importer MUST reject files without a header row.",
        "let's move the weekly call to Thursday morning",
        "Rename the second column to amount, and keep the old name as an alias.",
        "I suggest we publish the draft before the holidays",
        "Предлагаю перенести созвон на четверг утром",
        "Давайте перейдём на новый формат отчёта",
    ],
)
def test_what_several_people_vote_for_is_a_decision_and_quotes_their_votes(proposal: str) -> None:
    (atom,) = decisions(talk(f"ann| {proposal}", "bob| +1", "cat| +1", "dan| +1 though it hurts", "eve| 👍"))
    assert proposal.rstrip(".").casefold() in atom.content.casefold()
    assert [evidence.message_id for evidence in atom.evidence] == [0, 1, 2, 3, 4]


def test_the_more_votes_the_surer() -> None:
    voted = [
        max(
            atom.confidence
            for atom in extract_by_rules(
                Window(channel="c", messages=tuple(talk("ann| Drop the old row format.", *votes)))
            ).atoms
        )
        for votes in (["bob| +1"], ["bob| +1", "cat| +1"], ["bob| +1", "cat| +1", "dan| +1"])
    ]
    assert voted == sorted(set(voted))


def test_one_who_votes_twice_counts_once() -> None:
    once = talk("ann| Drop the old row format.", "bob| +1", "cat| hm, I will read it again")
    twice = talk("ann| Drop the old row format.", "bob| +1", "bob| +1")
    assert [atom.confidence for atom in decisions(once)] == [atom.confidence for atom in decisions(twice)]


def test_objections_make_it_no_decision() -> None:
    assert decisions(talk("ann| Drop the old row format.", "bob| +1", "cat| -1", "dan| -1 not before the audit")) == []


def test_a_second_wording_that_is_voted_on_takes_the_place_of_the_first() -> None:
    (atom,) = decisions(
        talk(
            "ann| Drop the old row format in the next release.",
            "bob| +1",
            "cat| +1",
            "dan| what about the importer?",
            "ann| Drop the old row format in the next release, but keep the importer for it.",
            "bob| +1",
            "cat| +1",
            "dan| +1",
        )
    )
    assert "but keep the importer" in atom.content


def test_votes_in_another_conversation_are_on_something_else() -> None:
    messages = talk("ann| Drop the old row format.", "bob| +1", "cat| +1", "dan| +1")
    apart = [replace(messages[0], conversation=1), *(replace(one, conversation=2) for one in messages[1:])]
    assert decisions(messages)
    assert decisions(apart) == []


def test_votes_that_were_counted_out_of_sight_count() -> None:
    (message,) = talk("ann| Drop the old row format.")
    assert decisions([message]) == []
    (atom,) = decisions([replace(message, votes=4)])
    assert [evidence.message_id for evidence in atom.evidence] == [0]


def test_a_remark_before_the_votes_is_not_what_they_are_on() -> None:
    (atom,) = decisions(
        talk(
            "ann| Use plain string comparison in the tests.",
            "bob| that is what I had in mind",
            "cat| +1",
            "dan| +1",
            "eve| +1",
        )
    )
    assert atom.content == "Use plain string comparison in the tests."


@pytest.mark.parametrize("said", ["thanks, that was a nice talk today", "are you coming to lunch today", "Hello all!"])
def test_votes_on_small_talk_decide_nothing(said: str) -> None:
    assert decisions(talk(f"ann| {said}", "bob| +1")) == []
