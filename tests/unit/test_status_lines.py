"""How far embedding is, how fast it goes and what stops it: told to people in words that hold."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from winnow.api.answers import embedding_status_out, status_out
from winnow.cli.render import counted, json_text, pace_line, pause_line, plain, show_overview, span
from winnow.cli.watching import _in_a_line
from winnow.domain.jobs import Kind
from winnow.pipeline.overview import Overview, QueueState
from winnow.storage.embedding_records import KindCounts, Pause
from winnow.storage.status import KnowledgeCounts, Pace

FAST = Pace(rows_per_second=10, elapsed_seconds=30)
BUSY = Pause(pauses=1, seconds_since=75, seconds_left=12, error_kind="ProviderBusy", because="the server is busy")


def state(*, pace: Pace | None = None, pause: Pause | None = None, **counts: Any) -> Overview:
    """An overview of messages that stand so."""
    names = ("embedded", "pending", "in_hand", "waiting", "failed", "skipped")
    numbers = {name: int(counts.get(name, 0)) for name in names}
    messages = KindCounts(total=sum(numbers.values()), **numbers, oldest_pending=counts.get("oldest_pending"))
    knowledge = KnowledgeCounts(
        messages_waiting=0,
        messages_in_hand=0,
        messages_failed=0,
        runs={},
        atoms={},
        events={"embed.saved": counts.get("saved", 0)},
    )
    return Overview(
        embeddings={Kind.MESSAGES: messages},
        knowledge=knowledge,
        embedder="local",
        space="local",
        dimensions=256,
        queue=QueueState(lanes={"live": 0, "bulk": 0}, sent=0, dead_letters=0, workers=()),
        queue_error=None,
        last_error=None,
        pace=pace or Pace(),
        pause=pause,
        truncated=counts.get("truncated", 0),
    )


@pytest.mark.parametrize(
    ("overview", "eta"),
    [
        (state(pending=100, pace=FAST), 10),
        (state(pending=60, in_hand=40, failed=50, skipped=50, waiting=50, pace=FAST), 10),
        (state(pending=100, waiting=50, pace=Pace(rows_per_second=10, due=50)), 15),
        (state(embedded=100, pace=FAST), 0),
        (state(pending=100), None),
        (state(pending=100, pace=FAST, pause=BUSY), None),
    ],
)
def test_the_time_left_is_of_what_can_be_done_at_this_pace(overview: Overview, eta: float | None) -> None:
    assert overview.eta_seconds == eta
    assert status_out(overview).eta_seconds == embedding_status_out(overview).eta_seconds == eta


@pytest.mark.parametrize(
    ("overview", "line"),
    [
        (state(embedded=5), "at rest"),
        (state(pending=5), "nothing in the last minute"),
        (state(waiting=5), "nothing in the last minute"),
        (state(pending=995, pace=FAST), "10.0 rows/s; for 30 s; about 1 min 40 s left"),
        (state(embedded=995, pace=FAST), "10.0 rows/s in the last minute; nothing left"),
        (
            state(pending=1, pace=Pace(rows_per_second=1234.5, saved_per_second=2, tokens_per_second=9999.9)),
            "1,234.5 rows/s (2.0 of them copied), 10,000 tokens/s; about 1 s left",
        ),
        (state(pending=5, pace=FAST, pause=BUSY), "10.0 rows/s; for 30 s"),
    ],
)
def test_the_pace_in_words(overview: Overview, line: str) -> None:
    assert pace_line(overview) == line


def test_a_pause_in_words() -> None:
    assert pause_line(state()) == ""
    words = "for 1 min 15 s: the server is busy (ProviderBusy); next look"
    assert pause_line(state(pause=BUSY)) == f"{words} in 12 s"
    now = Pause(pauses=1, seconds_since=75, seconds_left=0, error_kind="ProviderBusy", because="the server is busy")
    assert pause_line(state(pause=now)) == f"{words} now"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.2, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"), (3661, "1 h 1 min"),
     (90_061, "1 d 1 h"), (86_400, "1 d"), (86_400 * 1500, "1,500 d")],
)  # fmt: skip
def test_a_time_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_line_of_a_watch_has_what_is_not_nothing() -> None:
    everything = state(embedded=1000, pending=2, in_hand=3, waiting=4, failed=5, skipped=6, pace=FAST, pause=BUSY)
    assert _in_a_line(everything) == (
        "1,000 of 1,020 embedded, 2 pending, 3 processing, 4 waiting, 5 failed, 6 skipped; 10.0 rows/s; for 30 s; "
        "paused for 1 min 15 s: the server is busy (ProviderBusy); next look in 12 s"
    )
    assert _in_a_line(state(embedded=7)) == "7 of 7 embedded; at rest"


def test_what_is_nothing_is_not_shown_and_what_is_something_is() -> None:
    def shown(overview: Overview) -> str:
        written = io.StringIO()
        show_overview(Console(file=written, width=200, highlight=False), overview)
        return written.getvalue()

    quiet = shown(state(embedded=5))
    for name in ("paused", "saved", "truncated", "oldest", "\nfailed", "last error"):
        assert name not in quiet, name
    since = datetime.now(UTC) - timedelta(minutes=5)
    loud = shown(state(pending=1, failed=2, saved=3, truncated=4, oldest_pending=since, pause=BUSY))
    for words in (
        "for 5 min",
        "2 rows; see: winnow failed list",
        "3 vectors copied",
        "4 texts are longer",
        "next look",
    ):
        assert words in loud, words


def test_nothing_steers_a_terminal_and_what_is_harmless_stays() -> None:
    steering = "".join(map(chr, {*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066} - {0x09, 0x0A}))
    assert not set(plain(steering)) & set(steering)
    assert plain("a\r\nb\tc Ёж 🐉 \xa0é [b]\n") == "a\nb\tc Ёж 🐉 \xa0é [b]\n"
    assert plain(plain("\x1b[2J\r")) == r"\x1b[2J\x0d"


def test_json_says_the_same_and_steers_no_terminal() -> None:
    value = {"text": "a\x1b[2J\x9b\u202e\x7f Ёж 🐉\n"}
    for encoding in ("utf-8", "ascii"):
        written = json_text(Console(file=io.TextIOWrapper(io.BytesIO(), encoding)), value)
        assert json.loads(written) == value
        assert not set(written) & set("\x1b\x9b\u202e\x7f\n")
        written.encode(encoding)


def test_numbers_are_told_as_people_do() -> None:
    assert [counted(number, "messages") for number in (0, 1, 2000)] == ["0 messages", "1 message", "2,000 messages"]


def test_what_was_left_out_of_telegram_is_told_with_its_reasons() -> None:
    overview = state(embedded=5)
    events = {"telegram.ignored.service": 2, "telegram.ignored.other_chat": 1, "hook.failed": 4}
    counted_out = replace(overview, knowledge=replace(overview.knowledge, events=events))
    out = io.StringIO()
    show_overview(Console(file=out, width=120), counted_out)
    assert "3 updates left out: 1 other chat, 2 service" in out.getvalue()
    show_overview(Console(file=(silent := io.StringIO()), width=120), overview)
    assert "left out" not in silent.getvalue()


def test_the_extractor_that_is_chosen_is_named() -> None:
    chosen = replace(state(), extractor="ollama:qwen3:8b")
    assert status_out(chosen).extractor == "ollama:qwen3:8b"
    with (console := Console(width=200)).capture() as shown:
        show_overview(console, chosen)
    assert "by ollama:qwen3:8b; runs: none yet" in shown.get()
