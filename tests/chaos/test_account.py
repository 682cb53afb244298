"""The account finds what is wrong, and knows a good reason from a bad one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from chaos.account import LEASE_LOST, Account, Disturbance, Evidence, settle_account
from chaos.model import Asked
from chaos.record import Event, Row
from plugins.model_servers import vector_of
from winnow.domain.jobs import Kind

if TYPE_CHECKING:
    from chaos.record import What

DIMENSIONS = 8
TEXT = "words number 1"


def vector(text: str = TEXT) -> tuple[float, ...]:
    return tuple(vector_of(text, DIMENSIONS).tolist())


def paid(second: float, payer: str = "one", text: str = TEXT) -> Asked:
    return Asked(0, payer, (text,), received=second, valid=(text,), sent=second + 0.1)


def event(second: float, what: What, body: str = TEXT, entity: int = 1, worker: str | None = None) -> Event:
    return Event(second, Kind.MESSAGES, entity, what, body, vector(body) if what == "stored" else None, worker)


def row(body: str = TEXT, entity: int = 1, **values: object) -> Row:
    given = {"vector": vector(body), "state": None, "error": None} | values
    return Row(Kind.MESSAGES, entity, f"key {entity}", body, **given)  # type: ignore[arg-type]


def account(
    *asked: Asked, events: tuple[Event, ...] = (), rows: tuple[Row, ...] = (), done: tuple[Disturbance, ...] = ()
) -> Account:
    return settle_account(
        Evidence(asked, events, rows, done, dimensions=DIMENSIONS, hold_seconds=5, names={"host:1": "one"})
    )


def test_paid_once_and_stored_is_as_it_should_be() -> None:
    found = account(paid(10), events=(event(9, "born"), event(11, "stored")), rows=(row(),))
    assert found.faults == []
    assert found.paid == Counter({TEXT: 1})


@pytest.mark.parametrize(
    "done",
    [
        (),
        (Disturbance("kill", 12, 12, "another", costs=True),),
        (Disturbance("kill", 30, 30, "one", costs=True),),
        (Disturbance("kill", 2, 2, "one", costs=True),),
        (Disturbance("kill -9 of nats-server", 12, 12),),
    ],
)
def test_paid_twice_for_no_reason_is_a_fault(done: tuple[Disturbance, ...]) -> None:
    found = account(paid(10), paid(20, "two"), events=(event(21, "stored"),), rows=(row(),), done=done)
    assert len(found.faults) == 1
    assert found.paid_again == 1


@pytest.mark.parametrize("victim", ["one", None])
def test_a_disturbance_in_its_own_time_is_a_reason_for_one_payment_and_no_more(victim: str | None) -> None:
    done = (Disturbance("fell", 11, 11, victim, costs=True),)
    found = account(paid(10), paid(20, "two"), events=(event(21, "stored"),), rows=(row(),), done=done)
    assert found.faults == []
    assert found.reasons == Counter(fell=1)
    again = account(paid(10), paid(20, "two"), paid(30, "three"), rows=(row(),), done=done)
    assert len(again.faults) == 1


def test_a_text_that_is_stored_is_not_paid_for_again_whatever_fell() -> None:
    done = (Disturbance("fell", 11, 11, costs=True),)
    stored = (event(10.5, "stored"),)
    assert len(account(paid(10), paid(20), events=stored, rows=(row(),), done=done).faults) == 1
    edited = (*stored, event(15, "changed", "other words"), event(16, "changed"))
    found = account(paid(10), paid(20), events=edited, rows=(row(),), done=done)
    assert found.faults == []


def test_a_lease_that_was_lost_and_a_worker_that_woke_too_late_are_reasons() -> None:
    lost = (event(13, "taken over", worker="host:1"), event(21, "stored"))
    assert account(paid(10), paid(20, "two"), events=lost, rows=(row(),)).reasons == Counter({LEASE_LOST: 1})
    frozen = Disturbance("freeze", 7, 12, "two", costs=True, frozen=True)
    found = account(paid(10), paid(13, "two"), events=(event(11, "stored"),), rows=(row(),), done=(frozen,))
    assert found.faults == []


def test_vectors_of_other_texts_are_found_even_where_they_were_replaced() -> None:
    wrong = Event(11, Kind.MESSAGES, 1, "stored", TEXT, vector("other words"))
    assert len(account(paid(10), events=(wrong, event(12, "stored")), rows=(row(),)).faults) == 1
    assert len(account(paid(10), rows=(row(vector=vector("other words")),)).faults) == 1
    assert len(account(paid(10), rows=(row(vector=vector()[:-1]),)).faults) == 1


def test_rows_on_their_way_and_rows_that_failed_for_nothing_are_found() -> None:
    for state in (None, "leased", "waiting", "failed", "skipped"):
        assert len(account(paid(10), rows=(row(vector=None, state=state),)).faults) == 1
    refused = Asked(0, "one", (TEXT,), received=10)
    assert account(refused, rows=(row(vector=None, state="failed"),)).faults == []
    assert account(rows=(row(" ", vector=None, state="skipped"),)).faults == []


def test_a_vector_that_nobody_paid_for_is_found() -> None:
    assert len(account(rows=(row(),)).faults) == 1


def test_a_row_that_was_edited_in_hand_is_a_reason_and_one_that_had_its_vector_is_not() -> None:
    twin = event(10.2, "stored", entity=2)
    edited = (event(9, "born"), event(9.5, "gone"), twin)
    assert account(paid(10), paid(11, "two"), events=edited, rows=(row(entity=2),)).faults == []
    embedded = (event(8, "stored"), event(9.5, "gone"), twin)
    assert len(account(paid(10), paid(11, "two"), events=embedded, rows=(row(entity=2),)).faults) == 1
