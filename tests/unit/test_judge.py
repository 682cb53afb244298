"""The judge learns from a few dozen reviews, changes nothing without them, and keeps no words."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.domain.judge import AtomAsFound, Judge, Report, Review, Verdict, figures, train
from winnow.domain.knowledge import AtomType

SUBJECTS = [
    "the importer",
    "the nightly job",
    "the login page",
    "our exports",
    "the report",
    "the gateway",
    "the cache",
]
TROUBLES = ["is slow", "fails twice a day", "loses rows", "needs a restart", "shows old figures", "times out"]
CHATTER = ["lunch", "the weather", "the coffee machine", "the office party", "parking", "the football game"]


def atom(content: str, kind: AtomType = AtomType.PROBLEM, confidence: float = 0.5, by: str = "rules") -> AtomAsFound:
    return AtomAsFound(type=kind, title=content, content=content, extractor=by, confidence=confidence)


def talk(seed: int, count: int) -> list[tuple[AtomAsFound, bool]]:
    """Trouble with systems is a problem here; trouble with anything of the office is not."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        right = number % 2 == 0
        subject = chance.choice(SUBJECTS if right else CHATTER)
        made.append((atom(f"{subject} {chance.choice(TROUBLES)} again, number {chance.randrange(99)}"), right))
    return made


def reviews(seed: int, count: int) -> list[Review]:
    return [Review(atom=one, verdict=Verdict.ACCEPT if right else Verdict.REJECT) for one, right in talk(seed, count)]


def test_fifty_reviews_teach_what_can_be_told_apart() -> None:
    judge = train(reviews(1, 50))
    unseen = talk(2, 40)
    assert all((judge.confidence(one) > 0.5) is right for one, right in unseen)


CONFIDENCES = st.floats(0, 1)
ATOMS = st.builds(atom, st.text(max_size=200), st.sampled_from(AtomType), CONFIDENCES, st.sampled_from(["rules", "m"]))


@given(ATOMS)
def test_without_reviews_nothing_changes(one: AtomAsFound) -> None:
    assert train([]).confidence(one) == one.confidence
    assert Judge().confidence(one) == one.confidence


@given(
    st.lists(
        st.builds(
            Review, atom=ATOMS, verdict=st.sampled_from(Verdict), corrected=st.none() | st.sampled_from(AtomType)
        ),
        max_size=8,
    ),
    ATOMS,
)
def test_whatever_is_reviewed_a_confidence_stays_one_and_the_judge_survives_storage(
    given_reviews: list[Review], one: AtomAsFound
) -> None:
    judge = train(given_reviews)
    again = Judge.loads(judge.dumps())
    assert 0 <= judge.confidence(one) <= 1
    assert again.confidence(one) == judge.confidence(one)
    assert again.report == judge.report
    assert judge.report.reviews <= len(given_reviews)


@pytest.mark.parametrize("verdict", [Verdict.ACCEPT, Verdict.REJECT])
@pytest.mark.parametrize("confidence", [0.4, 0.6, 0.9])
def test_reviews_of_one_kind_hardly_move_an_unlike_atom(verdict: Verdict, confidence: float) -> None:
    said = [f"{subject} {trouble}" for subject in SUBJECTS for trouble in TROUBLES][:20]
    judge = train([Review(atom=atom(one, confidence=confidence), verdict=verdict) for one in said])
    for found in (0.4, 0.5):
        unlike = atom("we could try another colour for buttons", AtomType.IDEA, found)
        assert abs(judge.confidence(unlike) - found) < 0.05
    assert abs(judge.confidence(atom(said[0], confidence=confidence)) - confidence) > 0.05, "its own kind it moves"


def test_a_judge_is_used_when_enough_atoms_show_that_it_is_better() -> None:
    good = train(reviews(6, 100))
    assert good.used
    assert good.use.startswith("used")
    few = train(reviews(6, 12))
    assert not few.used
    assert few.use == f"taught by {few.report.reviews} atoms; used from 20 on"
    alike = train([Review(atom=one, verdict=Verdict.ACCEPT) for one, _ in talk(8, 60)])
    assert not alike.used
    report = replace(good.report, after=good.report.before)
    assert not Judge(good.weights, report).used
    assert Judge(good.weights, report).use == "not used: no better than the confidences as found here"


def test_the_same_reviews_make_the_same_judge() -> None:
    assert train(reviews(3, 40)).dumps() == train(reviews(3, 40)).dumps()


def test_no_words_are_kept() -> None:
    data = train(reviews(4, 60)).dumps()
    words = {word for one, _ in talk(4, 60) for word in one.content.split() if len(word) > 3}
    assert not [word for word in words if word.encode() in data]


def test_a_corrected_type_teaches_both() -> None:
    fixes = [f"restart {subject} and it works" for subject in SUBJECTS] * 2
    taught = train(
        [
            Review(atom=atom(f"{fix} {n}"), verdict=Verdict.EDIT, corrected=AtomType.SOLUTION)
            for n, fix in enumerate(fixes)
        ]
    )
    said = "restart the mail server and it works"
    assert taught.confidence(atom(said)) < 0.5 < taught.confidence(atom(said, AtomType.SOLUTION))


def test_an_edit_of_the_words_alone_and_a_merge_say_that_it_was_right() -> None:
    for verdict in (Verdict.EDIT, Verdict.MERGE):
        judge = train([Review(atom=one, verdict=verdict) for one, _ in talk(5, 20)])
        assert judge.report.right == judge.report.reviews
        assert judge.confidence(atom("the importer loses rows")) > 0.5


def test_of_reviews_of_the_same_words_the_last_counts() -> None:
    one = atom("the importer loses rows")
    judge = train([Review(atom=one, verdict=Verdict.REJECT)] * 5 + [Review(atom=one, verdict=Verdict.ACCEPT)])
    assert (judge.report.reviews, judge.report.right) == (1, 1)


def test_an_extractor_that_is_often_wrong_loses_confidence() -> None:
    said = [f"{subject} {trouble}" for subject in SUBJECTS for trouble in TROUBLES[:3]]
    judge = train(
        [Review(atom=atom(one, by="rules"), verdict=Verdict.ACCEPT) for one in said]
        + [Review(atom=atom(f"{one} today", by="small:model"), verdict=Verdict.REJECT) for one in said]
    )
    new = "the printer is out of paper"
    assert judge.confidence(atom(new, by="small:model")) < judge.confidence(atom(new, by="rules"))


def test_the_report_counts_and_says_what_teaching_was_worth() -> None:
    report = train(reviews(6, 100)).report
    assert (report.reviews, report.right, report.precision) == (
        len({one.content for one, _ in talk(6, 100)}),
        len({one.content for one, right in talk(6, 100) if right}),
        report.right / report.reviews,
    )
    assert set(report.by_type) == {"problem"}
    assert report.by_extractor["rules"].reviews == report.reviews
    assert report.before is not None
    assert report.after is not None
    assert report.after.auc is not None
    assert report.after.auc > 0.95
    assert report.after.brier < report.before.brier
    assert Report.of_data(report.as_data()) == report


def test_few_reviews_or_verdicts_all_alike_are_not_measured() -> None:
    assert train(reviews(7, 6)).report.after is None
    assert train([Review(atom=one, verdict=Verdict.ACCEPT) for one, _ in talk(8, 30)]).report.after is None


@pytest.mark.parametrize(
    ("confidences", "right", "auc"),
    [([0.9, 0.1], [True, False], 1.0), ([0.5, 0.5], [True, False], 0.5), ([0.1, 0.9], [True, False], 0.0)],
)
def test_auc_is_how_often_the_right_one_is_surer(confidences: list[float], right: list[bool], auc: float) -> None:
    assert figures(confidences, right).auc == auc


@pytest.mark.parametrize("data", [b"", b"WJ01", b"nonsense that is long enough", train(reviews(9, 20)).dumps()[:-1]])
def test_bytes_that_are_no_judges_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no judge"):
        Judge.loads(data)
