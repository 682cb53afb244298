"""What people see: hits, counts, knowledge. JSON is made by the API's own shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from winnow.domain.knowledge import AtomType
from winnow.storage.messages import MessageRecord
from winnow.storage.search import AtomRecord, TopicRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from winnow.domain.jobs import Kind
    from winnow.pipeline.overview import Overview
    from winnow.pipeline.search import Hit, SearchAnswer
    from winnow.storage.embeddings import KindCounts
    from winnow.storage.search import QuoteRecord

QUOTE_CHARACTERS = 240
QUOTES_SHOWN = 2
KIND_CHARACTERS = max(map(len, AtomType))
LEAST_TEXT_CHARACTERS = 20
COUNTS = ("total", "embedded", "pending", "in_hand", "waiting", "failed", "skipped")
WIDE = 1000


def show_answer(console: Console, answer: SearchAnswer) -> None:
    """A search's hits, best first."""
    if answer.degraded:
        console.print(f"[yellow]by words only:[/] {escape(answer.degraded)}")
    if not answer.hits:
        console.print("nothing found")
    for hit in answer.hits:
        show_hit(console, hit)


def show_hit(console: Console, hit: Hit) -> None:
    """One hit: what it is, what it says, who said so."""
    match hit.record:
        case AtomRecord():
            show_atom(console, hit.record, hit.score)
        case TopicRecord():
            _headline(console, "topic", hit.record.name, hit.score, f"{hit.record.atoms} atoms")
        case MessageRecord():
            said = hit.record
            _headline(console, "message", _shortened(said.text), hit.score, f"{_author(said)}, {_moment(said)}")


def show_atom(console: Console, atom: AtomRecord, score: float | None = None) -> None:
    """An atom with its words."""
    _headline(console, atom.type, atom.title, score, f"topic: {atom.topic}" if atom.topic else "")
    said: dict[str, QuoteRecord] = {}
    for quote in atom.evidence:
        said.setdefault(_shortened(quote.quote), quote)  # what several people said in the same words is shown once
    for quote in list(said.values())[:QUOTES_SHOWN]:
        words = Text.assemble(("“", "dim"), _shortened(quote.quote), (f"” {_author(quote)}, {_moment(quote)}", "dim"))
        console.print(Padding(words, (0, 0, 0, 4)))


def _headline(console: Console, kind: str, title: str, score: float | None, remark: str) -> None:
    shown = Text(title, "bold")
    if remark:
        shown.append(f"  {remark}", "not bold dim")
    before = [] if score is None else [Text(f"{score:5.2f}", "dim")]
    _hanging(console, [*before, Text(f"{kind:<{KIND_CHARACTERS}}", "bold cyan")], shown, indent=2)


def show_facts(console: Console, facts: Mapping[str, str], *, indent: int = 0) -> None:
    """Names with what is to be said of them; `facts` holds no markup."""
    longest = max(map(len, facts))
    for name, said in facts.items():
        _hanging(console, [Text(f"{name:<{longest}}", "dim")], Text(said), indent=indent)


def _hanging(console: Console, before: Sequence[Text], text: Text, *, indent: int) -> None:
    """Prints words of fixed width and a text that goes on below itself, not below them, where there is room."""
    if console.width - indent - sum(len(part) + 1 for part in before) < LEAST_TEXT_CHARACTERS:
        console.print(Padding(Text(" ").join([*before, text]), (0, 0, 0, indent)))
        return
    line = Table.grid(padding=(0, 1))
    for part in before:
        line.add_column(width=len(part))
    line.add_column()
    line.add_row(*before, text)
    console.print(Padding(line, (0, 0, 0, indent)))


def _author(said: QuoteRecord | MessageRecord) -> str:
    return said.author or "somebody"


def _moment(said: QuoteRecord | MessageRecord) -> str:
    return f"{said.channel}, {said.sent_at:%Y-%m-%d %H:%M}"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= QUOTE_CHARACTERS else f"{line[: QUOTE_CHARACTERS - 1]}…"


def show_overview(console: Console, state: Overview) -> None:
    """Where everything stands."""
    _show_counts(console, state.embeddings)
    knowledge = state.knowledge
    atoms = ", ".join(f"{number:,} {name}" for name, number in knowledge.atoms.items()) or "none yet"
    runs = ", ".join(f"{number:,} {name}" for name, number in knowledge.runs.items()) or "none yet"
    space = (
        f"{state.space}, {state.dimensions} dimensions" if state.space else f"{state.embedder} (nothing embedded yet)"
    )
    rows = {
        "atoms": atoms,
        "extraction": f"runs: {runs}; messages waiting: {knowledge.messages_waiting:,}, in hand: "
        f"{knowledge.messages_in_hand:,}, set aside after failing: {knowledge.messages_failed:,}",
        "vectors": space,
        "queue": _queue_line(state),
        "workers": ", ".join(state.queue.workers) or "none" if state.queue else "unknown",
    }
    if state.hook_failures:
        rows["hook"] = f"{state.hook_failures:,} commits could not send their tasks; the sweeper finds the rows"
    if state.last_error:
        rows["last error"] = state.last_error
    show_facts(console, rows)


def _show_counts(console: Console, embeddings: Mapping[Kind, KindCounts]) -> None:
    """A table; or, where it would have to be broken, a line for each kind with what is not nothing."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", *COUNTS):
        table.add_column(name.replace("_", " "), justify="right" if name else "left", no_wrap=True)
    told = {kind.value: {name: getattr(count, name) for name in COUNTS} for kind, count in embeddings.items()}
    for kind, numbers in told.items():
        table.add_row(kind, *(f"{number:,}" for number in numbers.values()))
    unlimited = console.options.update(max_width=WIDE)
    if Measurement.get(console, unlimited, table).maximum <= console.width:
        console.print(table)
        return
    show_facts(console, {kind: _in_words(numbers) for kind, numbers in told.items()})


def _in_words(numbers: Mapping[str, int]) -> str:
    parts = [f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items() if number and name != "total"]
    return f"{numbers['total']:,}" + (f": {', '.join(parts)}" if parts else "")


def _queue_line(state: Overview) -> str:
    if state.queue is None:
        return state.queue_error or "NATS does not answer"
    lanes = ", ".join(f"{number:,} {name}" for name, number in state.queue.lanes.items())
    return f"on the way: {lanes}; sent so far: {state.queue.sent:,}; dead letters: {state.queue.dead_letters:,}"
