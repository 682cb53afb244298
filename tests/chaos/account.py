"""The account at the end: every row's vector is that of its text, and no text was paid for without a reason.

Pure: from the model server's record, the database's record, and the log of what was done to them, to what is wrong.
A second payment needs a reason of its own in its own time. Between two payments of a text there must lie

- a stored vector of it that was lost again (the row was edited or deleted, and the text came back), or
- a disturbance that can cost the first of the two: its payer was killed or frozen, lost its lease, was cut off in the
  end of its drain; the row was edited or deleted while the answer was in hand. Or one of the two payers had been frozen
  with the row in hand, and asked for it when it woke, while the other one had it.

Anything else is money for nothing, and the test fails. What befell NATS, PostgreSQL or the connections to them is never
a reason by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from chaos.model import CONTROL_WORD
from plugins.model_servers import vector_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chaos.model import Asked
    from chaos.record import Event, Row
    from winnow.domain.jobs import Kind

# Clocks of processes and of the database agree, but a request is noted a moment after it left.
NOTED_LATE_SECONDS = 1.0
LEASE_LOST = "lease lost"


@dataclass(frozen=True)
class Disturbance:
    """What was done, to which process (None: to all), from when to when, and whether it can cost a payment."""

    what: str
    began: float
    ended: float
    victim: str | None = None
    costs: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class Payment:
    """One valid vector of a text in a good answer."""

    text: str
    payer: str
    asked: float
    answered: float


@dataclass
class Account:
    """What is wrong (`faults`), why texts were paid for again (`reasons`, with an example of each), and the sums.

    `orphans` are jobs of rows that are no more.
    """

    faults: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    saved: int = 0
    orphans: int = 0

    @property
    def paid_again(self) -> int:
        """Payments beyond the first of each text."""
        return sum(self.paid.values()) - len(self.paid)


@dataclass
class Evidence:
    """All that is known at the end.

    Attributes:
        hold_seconds: the longest that a worker can have a paid answer in hand: lease, drain, retries of the write.
        names: the name under which a worker pays, by the name it has in the database's jobs.
    """

    asked: Sequence[Asked]
    events: Sequence[Event]
    rows: Sequence[Row]
    disturbances: Sequence[Disturbance]
    dimensions: int
    hold_seconds: float
    names: Mapping[str, str] = field(default_factory=dict)


def settle_account(evidence: Evidence) -> Account:
    """Goes through everything; `faults` is empty when all is as promised."""
    account = Account(rows=Counter(_state(row) for row in evidence.rows))
    account.events = Counter(event.what for event in evidence.events)
    _check_vectors(evidence, account)
    _check_rows(evidence, account)
    _check_payments(evidence, account)
    return account


def _state(row: Row) -> str:
    return "embedded" if row.vector is not None else row.state or "pending"


def _check_vectors(evidence: Evidence, account: Account) -> None:
    """Each vector that was ever stored, also where the text was edited later, and each that is there now."""
    stored = [(event.body, event.vector) for event in evidence.events if event.what == "stored"]
    stored += [(row.body, row.vector) for row in evidence.rows]
    for body, vector in stored:
        if vector is not None and not _is_of(vector, body or "", evidence.dimensions):
            account.faults.append(f"a vector of another text stands beside {body!r}")


def _is_of(vector: Sequence[float], body: str, dimensions: int) -> bool:
    return len(vector) == dimensions and bool(np.allclose(vector, vector_of(body, dimensions), atol=1e-5))


def _check_rows(evidence: Evidence, account: Account) -> None:
    """Nothing is under way any more; whatever failed or was skipped deserved it."""
    dead = {disturbance.victim for disturbance in evidence.disturbances if disturbance.victim}
    vain = [asked.texts for asked in evidence.asked if not asked.paid or asked.asker in dead]
    alone = {texts[0] for texts in vain if len(texts) == 1}
    for row in evidence.rows:
        state, which = _state(row), f"{row.kind} {row.entity} {row.body!r}"
        if state not in {"embedded", "failed", "skipped"}:
            account.faults.append(f"{which} is {state}: {row.error}")
        if state == "skipped" and row.body.strip():
            account.faults.append(f"{which} is skipped: {row.error}")
        if state == "failed" and row.body not in alone:
            account.faults.append(f"{which} failed, and was never asked alone in vain: {row.error}")


def payments_of(asked: Iterable[Asked]) -> dict[str, list[Payment]]:
    """The payments of each text, in the order in which they were asked; the control word is no text."""
    payments: dict[str, list[Payment]] = defaultdict(list)
    for one in asked:
        for text in one.paid:
            if text != CONTROL_WORD:
                payments[text].append(Payment(text, one.asker, one.received, one.sent or one.received))
    return payments


def _check_payments(evidence: Evidence, account: Account) -> None:
    payments = payments_of(evidence.asked)
    account.paid = Counter({text: len(paid) for text, paid in payments.items()})
    lives: dict[str, list[Event]] = defaultdict(list)
    for event in _with_ends(evidence.events):
        if event.body is not None:
            lives[event.body].append(event)
    for text, paid in payments.items():
        for first, second in pairwise(paid):
            reason = _reason(first, second, lives[text], evidence)
            if reason:
                account.reasons[reason] += 1
                account.examples.setdefault(reason, _told(first, second, lives[text]))
            else:
                account.faults.append(
                    f"nothing has happened to a text, and it was paid for again: {_told(first, second, lives[text])}"
                )
    embedded: dict[tuple[Kind, str], int] = Counter(
        (row.kind, row.body) for row in evidence.rows if row.vector is not None
    )
    account.faults += [f"nobody ever paid for {body!r}" for _, body in embedded if body not in payments]
    account.saved = sum(count - 1 for count in embedded.values())


def _with_ends(events: Sequence[Event]) -> Iterable[Event]:
    """The events, and for each text that was edited away an end: `changed` tells the new text only."""
    bodies: dict[tuple[Kind, int], str | None] = {}
    for event in events:
        key = event.kind, event.entity
        if event.what == "changed" and bodies.get(key) is not None:
            yield type(event)(event.at, event.kind, event.entity, "gone", bodies[key])
        bodies[key] = event.body
        yield event


def _reason(first: Payment, second: Payment, life: Sequence[Event], evidence: Evidence) -> str | None:
    """Why the text was paid for a second time; None: for no reason."""
    between = [event for event in life if first.asked <= event.at <= second.asked]
    if _woke_too_late(first, second, evidence):
        return "a frozen worker asked for what was not its own any more"
    if _edited_in_hand(life, first.asked - evidence.hold_seconds, second.asked):
        return "its row was edited or deleted in hand"
    if any(event.what == "stored" for event in between):
        return None if _holders(life, second.asked) else "its row was edited or deleted, and the text came back"
    until = min(second.asked, first.answered + evidence.hold_seconds)
    for disturbance in evidence.disturbances:
        began, ended = disturbance.began - NOTED_LATE_SECONDS, disturbance.ended + NOTED_LATE_SECONDS
        hits = disturbance.victim in (None, first.payer) and began <= until and ended >= first.asked
        if disturbance.costs and hits:
            return disturbance.what
    if any(event.what == "taken over" and evidence.names.get(event.worker or "") == first.payer for event in between):
        return LEASE_LOST
    return None


def _woke_too_late(first: Payment, second: Payment, evidence: Evidence) -> bool:
    """Whether one of the payers had been frozen with the rows in hand, and asked for them although they were lost."""
    return any(
        one.frozen
        and one.victim == payment.payer
        and one.began - NOTED_LATE_SECONDS <= payment.asked <= one.ended + evidence.hold_seconds
        for one in evidence.disturbances
        for payment in (first, second)
    )


def _edited_in_hand(life: Sequence[Event], since: float, until: float) -> bool:
    """Whether a row lost this text before it had its vector, when a payer may have had the row in hand."""
    stored = {event.entity for event in life if event.what == "stored" and event.at <= until}
    return any(event.what == "gone" and since <= event.at <= until and event.entity not in stored for event in life)


def _holders(life: Sequence[Event], moment: float) -> set[tuple[Kind, int]]:
    """The rows that had a vector of this text at a moment."""
    holders: set[tuple[Kind, int]] = set()
    for event in life:
        if event.at > moment:
            break
        if event.what == "stored":
            holders.add((event.kind, event.entity))
        elif event.what in {"gone", "emptied"}:
            holders.discard((event.kind, event.entity))
    return holders


def _told(first: Payment, second: Payment, life: Sequence[Event]) -> str:
    told = ", ".join(f"{event.what} {event.kind} {event.entity} {event.at - first.asked:+.2f} s" for event in life)
    return (
        f"{first.text!r} was paid for by {first.payer} and, {second.asked - first.asked:.2f} s later, by "
        f"{second.payer} ({told})"
    )
