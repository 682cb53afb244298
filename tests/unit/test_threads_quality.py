"""Conversations of real people are taken apart about as well as when the weights were fitted."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.threads import Link, Linker, Said
from winnow.domain.threads.weighing import DISTANCES, GAPS_MINUTES, SHARED
from winnow.domain.threads.weights import WEIGHTS

FOLDER = Path(__file__).parents[1] / "fixtures" / "irc"
LINE = re.compile(r"\[(\d\d):(\d\d)\] <([^>]*)> ?(.*)")


def said() -> list[Said]:
    lines = (FOLDER / "sample.raw.txt").read_text("utf-8").splitlines()
    found = [(number, LINE.fullmatch(line)) for number, line in enumerate(lines)]
    return [
        Said(id=number, author="", name=one[3], text=one[4], at=(int(one[1]) * 60 + int(one[2])) * 60.0)
        for number, one in found
        if one is not None
    ]


def annotated() -> set[tuple[int, int]]:
    lines = (FOLDER / "sample.annotation.txt").read_text("utf-8").splitlines()
    known = {one.id for one in said()}
    pairs = [tuple(sorted(int(piece) for piece in line.split()[:2])) for line in lines]
    return {(earlier, later) for earlier, later in pairs if later in known}


def f1(found: set[tuple[int, int]], wanted: set[tuple[int, int]]) -> float:
    judged = {later for _, later in wanted}
    counted = {pair for pair in found if pair[1] in judged}
    return 2 * len(counted & wanted) / (len(counted) + len(wanted))


def pairs_of(links: list[Link]) -> set[tuple[int, int]]:
    return {(link.message_id if link.parent_id is None else link.parent_id, link.message_id) for link in links}


def test_links_are_as_good_as_they_were_and_far_better_than_the_message_before() -> None:
    linker, messages = Linker(), said()
    found = pairs_of([linker.link(one) for one in messages])
    before = {(one.id, two.id) for one, two in pairwise(messages)}
    assert f1(found, annotated()) > 0.6
    assert f1(before, annotated()) < 0.4


@given(st.integers(1, 120))
def test_what_is_read_again_is_as_good_as_what_was_remembered(cut: int) -> None:
    messages = said()
    one = Linker()
    at_once = [one.link(message) for message in messages]
    other = Linker()
    other.introduce(messages[:cut])
    for message, link in zip(messages[:cut], at_once, strict=False):
        other.remember(message, link.conversation_id)
    again = at_once[:cut] + [other.link(message) for message in messages[cut:]]
    assert f1(pairs_of(again), annotated()) > 0.6
    assert [link.conversation_id for link in again][:cut] == [link.conversation_id for link in at_once][:cut]


@pytest.mark.parametrize(("name", "ends"), [("distance", DISTANCES), ("gap", GAPS_MINUTES), ("shared", SHARED)])
def test_there_is_a_weight_for_every_range(name: str, ends: tuple[float, ...]) -> None:
    assert len(getattr(WEIGHTS, name)) == len(ends) + 1
    assert list(ends) == sorted(ends)


def test_weights_are_finite_numbers_of_a_sane_size() -> None:
    values = [getattr(WEIGHTS, field.name) for field in fields(WEIGHTS)]
    flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    assert all(abs(one) < 5 for one in flat)
