"""A score is between 0 and 1, names its factors, and tells talk that matters from chatter and machinery."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.messages import Details
from winnow.domain.scoring import MessageKind, ScoreRules, score, with_votes

NOISE = [
    ("", "ann"),
    ("   \n", "ann"),
    ("q+", "ann"),
    ("q-", "ann"),
    ("q?", "ann"),
    ("ack bob", "ann"),
    ("present+", "ann"),
    ("present+ Bob", "ann"),
    ("Added bob to the speaker queue: bob", "voip-ld"),
    ("Added bob to the speaker queue: ann, bob", "somebody"),
    ("bob has the floor. The speaker queue is empty.", "voip-ps"),
    ("<unknown> (IAX2/line-191) has joined the conference.", "voip-ld"),
    ("voip: 191 is bob", "ann"),
    ("sees bob on the speaker queue", "Zakim"),
    ("I have made the request to generate the minutes", "RRSAgent"),
    ("zakim, who is here?", "ann"),
    ("scribe: bob", "ann"),
    ("s/teh/the/", "ann"),
    ("bob has joined #project", "ann"),
    ("...", "ann"),
    ("🎉", "ann"),
]
WEAK = [
    ("+1", "ann"),
    ("+0.5", "ann"),
    ("-1", "ann"),
    ("👍", "ann"),
    ("bob: +1", "ann"),
    ("ok", "ann"),
    ("thanks!", "ann"),
    ("sounds good", "ann"),
    ("Good morning all", "ann"),
    ("согласен", "ann"),
    ("https://example.org/a/very/long/page?of=links", "ann"),
    ("me too", "ann"),
]
SIGNAL = [
    ("PROPOSAL: Drop support for the old format", "ann"),
    ("ACTION: bob to update the change log", "ann"),
    ("We agreed to drop the old parser.", "ann"),
    ("The build fails with a timeout since this morning", "ann"),
    ("Can the importer read files that have no header?", "ann"),
    ("bob: I will write the migration guide", "ann"),
    ("... and the cache is filled again on the first request after a restart", "ann"),
    ("q+ to say that the index must be rebuilt after the import", "ann"),
    ("После обновления не работает вход через почту", "аня"),
]


@pytest.mark.parametrize(("text", "author"), NOISE)
def test_machinery_and_emptiness_are_noise(text: str, author: str) -> None:
    assert score(text, author).kind is MessageKind.NOISE


@pytest.mark.parametrize(("text", "author"), WEAK)
def test_votes_and_acknowledgements_are_weak_but_kept(text: str, author: str) -> None:
    assert score(text, author).kind is MessageKind.WEAK


@pytest.mark.parametrize(("text", "author"), SIGNAL)
def test_what_is_said_is_signal(text: str, author: str) -> None:
    assert score(text, author).kind is MessageKind.SIGNAL


def test_a_decision_outweighs_small_talk() -> None:
    assert score("RESOLVED: Keep the format", "a").importance > score("It is raining here again today", "a").importance


def test_the_factors_explain_the_score() -> None:
    judged = score("We agreed to close #42, see https://example.org/42", "ann")
    assert set(judged.factors) >= {"said something", "length", "sounds like decision", "link", "names code or a ticket"}
    assert judged.importance == pytest.approx(min(1.0, sum(judged.factors.values())), abs=0.001)


@given(st.text(max_size=400), st.text(max_size=20))
def test_any_text_gets_a_score_that_fits_its_kind(text: str, author: str) -> None:
    judged = score(text, author)
    assert 0.0 <= judged.importance <= 1.0
    expected = (
        MessageKind.SIGNAL
        if judged.importance >= 0.5
        else MessageKind.WEAK
        if judged.importance >= 0.2
        else MessageKind.NOISE
    )
    assert judged.kind is expected
    assert score(text, author) == judged


SAID = "The build fails with a timeout since this morning"


@pytest.mark.parametrize(
    ("text", "details", "factor"),
    [
        ("Ann pinned a message", Details(service="pin"), "service message"),
        ("Team", Details(service="title", media="photo"), "service message"),
        ("🙈", Details(media="sticker"), "sticker"),
        ("", Details(media="photo"), "media without words"),
    ],
)
def test_what_nobody_said_in_words_is_noise(text: str, details: Details, factor: str) -> None:
    judged = score(text, "ann", details)
    assert judged.kind is MessageKind.NOISE
    assert set(judged.factors) == {factor}


def test_a_caption_counts_as_what_is_said() -> None:
    assert score(SAID, "ann", Details(media="photo")) == score(SAID, "ann")


def test_a_bot_matters_less_a_poll_and_reactions_more_and_a_forward_the_same() -> None:
    plain = score("How many servers do we keep", "ann")
    assert score("How many servers do we keep", "ann", Details(bot=True)).importance == pytest.approx(
        plain.importance - 0.3
    )
    assert score("How many servers do we keep", "ann", Details(media="poll")).importance > plain.importance
    assert score("How many servers do we keep", "ann", Details(forwarded_from="bob")) == plain
    reacted = [score("lunch?", "ann", Details(reactions=number)).importance for number in (0, 1, 3, 5, 1000)]
    assert reacted == sorted(reacted)
    assert reacted[-1] == reacted[-2]


def test_thresholds_decide_the_class_and_nothing_else() -> None:
    strict = score(SAID, "ann", None, ScoreRules(signal_from=0.9, weak_from=0.85))
    assert strict.kind is MessageKind.NOISE
    assert strict.importance == score(SAID, "ann").importance


def test_votes_are_one_factor_and_bounded() -> None:
    judged = score("lunch", "ann")
    raised = with_votes(judged.importance, judged.factors, 2)
    assert raised.factors == {**judged.factors, "votes": 0.1}
    assert raised.importance == pytest.approx(judged.importance + 0.1)
    assert with_votes(raised.importance, raised.factors, 3).factors["votes"] == 0.15
    assert with_votes(raised.importance, raised.factors, 0) == judged
    assert with_votes(raised.importance, raised.factors, 1000).factors["votes"] == 0.25
    assert with_votes(raised.importance, raised.factors, -1000).factors["votes"] == -0.25


def test_votes_on_a_score_without_factors_add_to_it() -> None:
    assert with_votes(0.4, None, 1).importance == pytest.approx(0.45)
