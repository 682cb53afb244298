"""A topic is named by its salient terms, and known again by them when it has grown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.knowledge import Extraction, Window, WindowMessage
from winnow.domain.rules import extract_by_rules
from winnow.domain.topics import MOST_TERMS, Spread, grown_terms, likeness, match_topic, spread_of

START = datetime(2025, 3, 3, 9, tzinfo=UTC)
TERMS = st.dictionaries(
    st.sampled_from(["invoice", "export", "rounding", "parser", "holiday", "data"]), st.floats(0.01, 1)
)

INVOICES = [
    "the invoice export rounds the totals down",
    "which invoice export, the monthly one?",
    "yes, the monthly invoice export, since the rounding was changed",
    "the rounding is in the export of invoices, not in the totals",
]
AGAIN = [
    "the invoice export is wrong again, rounding as before",
    "I looked at the rounding of the invoice export and it is the currency",
    "so the export of an invoice in two currencies needs its own rounding",
]
HOLIDAYS = [
    "the office calendar lacks the public holidays of May",
    "holidays come from the office calendar of last year",
    "somebody has to import the holidays into the calendar",
]


def read(*conversations: list[str], topics: tuple[str, ...] = ()) -> Extraction:
    messages: list[WindowMessage] = []
    for number, said in enumerate(conversations):
        for text in said:
            at = START + timedelta(minutes=len(messages))
            who = ("ann", "bob", "cat")[len(messages) % 3]
            messages.append(
                WindowMessage(
                    id=len(messages), author=who, text=text, sent_at=at, importance=0.5, conversation=number * 100
                )
            )
    return extract_by_rules(Window(channel="c", messages=tuple(messages), topics=topics))


def test_a_conversation_is_named_by_what_its_people_return_to() -> None:
    found = read(INVOICES)
    (name,) = set(found.message_topics.values())
    assert "export" in name.casefold()
    assert {"invoice", "export", "rounding"} <= set(found.terms[name])


def test_conversations_in_one_window_have_their_own_topics() -> None:
    found = read(INVOICES, HOLIDAYS)
    names = found.message_topics
    assert len({names[0], names[len(INVOICES)]}) == 2
    assert names[0] == names[len(INVOICES) - 1]


def test_a_topic_is_known_again_by_its_terms() -> None:
    known: dict[str, dict[str, float]] = {}
    for found in (read(INVOICES), read(HOLIDAYS)):
        known |= {name: dict(terms) for name, terms in found.terms.items()}
    first = next(iter(read(INVOICES).terms))
    again = next(iter(read(AGAIN).terms.values()))
    assert match_topic(again, known) == first
    assert match_topic({"printer": 1.0, "toner": 0.8, "paper": 0.5}, known) is None


def test_a_topic_keeps_its_name_while_it_grows() -> None:
    name, terms = next(iter(read(INVOICES).terms.items()))
    other, news = next(iter(read(AGAIN).terms.items()))
    grown = grown_terms(terms, news)
    assert match_topic(terms, {name: grown, "Holidays": next(iter(read(HOLIDAYS).terms.values()))}) == name
    assert match_topic(news, {name: grown}) == name
    assert other


def test_the_channels_own_name_for_it_is_used_again() -> None:
    found = read(AGAIN, topics=("Invoice export rounding", "Office calendar"))
    assert set(found.message_topics.values()) == {"Invoice export rounding"}


def test_a_word_that_all_topics_share_makes_no_two_of_them_one() -> None:
    known = {f"topic {number}": {"json-ld": 1.0, f"first{number}": 0.5, f"second{number}": 0.4} for number in range(20)}
    found = {"json-ld": 1.0, "first3": 0.2, "keyword": 0.5, "case": 0.3}
    assert match_topic(found, {"topic 3": known["topic 3"]}, Spread(0, {})) == "topic 3", "alike but for the spread"
    assert match_topic(found, known) is None
    assert match_topic({"json-ld": 1.0, "first3": 0.6, "second3": 0.5}, known) == "topic 3"


def test_one_shared_word_is_not_enough_before_others_are_known() -> None:
    playground = {"json-ld": 1.0, "playground": 0.4}
    assert match_topic({"json-ld": 1.0, "keyword": 0.4}, {"JSON-LD Playground": playground}) is None
    assert match_topic({"json-ld": 1.0, "playground": 0.2}, {"JSON-LD Playground": playground}) == "JSON-LD Playground"


def test_a_topic_does_not_drift_to_what_is_said_everywhere() -> None:
    terms = {"playground": 1.0, "editor": 0.6}
    said = {"json-ld": 1.0, "playground": 0.5}
    everywhere = spread_of([{"json-ld": 1.0}] * 30)
    for _ in range(20):
        terms = grown_terms(terms, said, everywhere)
    assert max(terms, key=lambda term: terms[term]) == "playground"


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_term_tells_less_the_more_topics_have_it(topics: int, having: int) -> None:
    tells = [Spread(topics, {"term": number}).telling("term") for number in (having, having + 1)]
    assert 1 >= tells[0] >= tells[1] > 0


def test_small_talk_has_no_topic() -> None:
    assert read(["hello all", "morning", "hi there, how are you"]).message_topics == {}


@given(TERMS, TERMS)
def test_likeness_is_a_share_and_the_same_both_ways(one: dict[str, float], other: dict[str, float]) -> None:
    assert -1e-9 <= likeness(one, other) <= 1 + 1e-9
    assert abs(likeness(one, other) - likeness(other, one)) < 1e-9
    if one:
        assert likeness(one, one) > 1 - 1e-9
        assert match_topic(one, {"b": one, "a": one}) == "a", "of equals the first name"


@given(st.lists(TERMS, max_size=6))
def test_a_growing_topic_stays_bounded(found: list[dict[str, float]]) -> None:
    terms: dict[str, float] = {}
    for one in found:
        terms = grown_terms(terms, one)
    assert len(terms) <= MOST_TERMS
    assert all(0 < weight <= 1 for weight in terms.values())
