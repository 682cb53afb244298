"""What people see: hits, counts, knowledge. JSON is made by the API's own shapes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from winnow.domain.knowledge import AtomType
from winnow.domain.messages import MessageState
from winnow.pipeline.telegram import IGNORED
from winnow.storage.messages import MessageRecord
from winnow.storage.reading import AtomRecord
from winnow.storage.reading_topics import TopicRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

    from winnow.domain.jobs import Kind
    from winnow.pipeline.overview import Overview
    from winnow.pipeline.search import Hit, SearchAnswer
    from winnow.storage.embedding_records import KindCounts
    from winnow.storage.reading import QuoteRecord
    from winnow.storage.status import KnowledgeCounts

QUOTE_CHARACTERS = 240
QUOTES_SHOWN = 2
KIND_CHARACTERS = max(map(len, AtomType))
LEAST_TEXT_CHARACTERS = 20
# What people read, and the field it is.
COUNTS = {
    "total": "total",
    "embedded": "embedded",
    "pending": "pending",
    "processing": "in_hand",
    "waiting": "waiting",
    "failed": "failed",
    "skipped": "skipped",
}
WIDE = 1000
# What would steer a terminal (C0 and C1 but for tab and line feed), or turn a line around (Unicode's bidi overrides).
STEERING = {code: f"\\x{code:02x}" for code in {*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}} | {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def plain(text: str) -> str:
    """Somebody's text as a terminal may have it: what would steer one is written out as its number."""
    return text.replace("\r\n", "\n").translate(STEERING)


def counted(number: int, plural: str) -> str:
    """A number of things, as people say it: 1 message, 2 messages."""
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"


def json_text(console: Console, value: object, *, indent: int | None = None) -> str:
    """JSON as a terminal may have it, too: what would steer one is escaped, which changes nothing of what it says."""
    written = json.dumps(value, indent=indent, ensure_ascii=console.encoding != "utf-8")
    return written.translate({code: f"\\u{code:04x}" for code in STEERING})


def show_answer(console: Console, answer: SearchAnswer) -> None:
    """A search's hits, best first."""
    if answer.degraded:
        console.print(f"[yellow]by words only:[/] {escape(plain(answer.degraded))}")
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
            _headline(console, "topic", hit.record.name, hit.score, counted(hit.record.atoms, "atoms"))
        case MessageRecord():
            said = hit.record
            _headline(console, "message", _shortened(said.text), hit.score, f"{_author(said)}, {_moment(said)}")


def show_atom(console: Console, atom: AtomRecord, score: float | None = None) -> None:
    """An atom with its words."""
    remarks = [f"topic: {atom.topic}"] if atom.topic else []
    remarks += [f"by {atom.extractor}"] if atom.extractor != "rules" else []
    remarks += ["superseded" + (f" by {atom.superseded_by}" if atom.superseded_by else "")] if atom.superseded else []
    _headline(console, atom.type, atom.title, score, "; ".join(remarks))
    said: dict[str, QuoteRecord] = {}
    for quote in atom.evidence:
        said.setdefault(_shortened(quote.quote), quote)  # what several people said in the same words is shown once
    for quote in list(said.values())[:QUOTES_SHOWN]:
        words = Text.assemble(("“", "dim"), _shortened(quote.quote), (f"” {_author(quote)}, {_moment(quote)}", "dim"))
        console.print(Padding(words, (0, 0, 0, 4)))


def _headline(console: Console, kind: str, title: str, score: float | None, remark: str) -> None:
    shown = Text(plain(title), "bold")
    if remark:
        shown.append(f"  {plain(remark)}", "not bold dim")
    before = [] if score is None else [Text(f"{score:5.2f}", "dim")]
    console.print(hanging(console, [*before, Text(f"{kind:<{KIND_CHARACTERS}}", "bold cyan")], shown, indent=2))


def show_facts(console: Console, facts: Mapping[str, str | Text], *, indent: int = 0) -> None:
    """Names with what is to be said of them; `facts` holds no markup."""
    for line in _facts(console, facts, indent=indent):
        console.print(line)


def _facts(console: Console, facts: Mapping[str, str | Text], *, indent: int = 0) -> Iterator[RenderableType]:
    longest = max(map(len, facts))
    for name, said in facts.items():
        told = Text(plain(said)) if isinstance(said, str) else said
        yield hanging(console, [Text(f"{name:<{longest}}", "dim")], told, indent=indent)


def hanging(console: Console, before: Sequence[Text], text: Text, *, indent: int = 0) -> RenderableType:
    """Words of fixed width, and a text that goes on below itself, not below them, where there is room."""
    if console.width - indent - sum(len(part) + 1 for part in before) < LEAST_TEXT_CHARACTERS:
        return Padding(Text(" ").join([*before, text]), (0, 0, 0, indent))
    line = Table.grid(padding=(0, 1))
    for part in before:
        line.add_column(width=len(part))
    line.add_column()
    line.add_row(*before, text)
    return Padding(line, (0, 0, 0, indent))


def _author(said: QuoteRecord | MessageRecord) -> str:
    return plain(said.author) or "somebody"


def _moment(said: QuoteRecord | MessageRecord) -> str:
    return f"{plain(said.channel_title or said.channel)}, {said.sent_at:%Y-%m-%d %H:%M}"


def _shortened(text: str) -> str:
    return plain(first_words(text, QUOTE_CHARACTERS))


def first_words(text: str, characters: int) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def show_overview(console: Console, state: Overview) -> None:
    """Where everything stands."""
    for part in overview_parts(console, state):
        console.print(part)


def overview_parts(console: Console, state: Overview) -> Iterator[RenderableType]:
    """The same, line by line, for whoever draws it."""
    yield from _counts(console, state.embeddings)
    knowledge = state.knowledge
    atoms = ", ".join(f"{number:,} {name}" for name, number in knowledge.atoms.items()) or "none yet"
    runs = ", ".join(f"{number:,} {name}" for name, number in knowledge.runs.items()) or "none yet"
    space = (
        f"{state.space}, {state.dimensions} dimensions" if state.space else f"{state.embedder} (nothing embedded yet)"
    )
    yield from _facts(
        console,
        _embedding_facts(state)
        | _message_facts(state)
        | {
            "atoms": atoms,
            "extraction": f"by {plain(state.extractor)}; runs: {runs}; messages waiting: "
            f"{knowledge.messages_waiting:,}, in hand: {knowledge.messages_in_hand:,}, set aside after failing: "
            f"{knowledge.messages_failed:,}{_extraction_left(knowledge)}",
            "vectors": space,
            **_building_facts(state),
            "queue": _queue_line(state),
            "workers": ", ".join(state.queue.workers) or "none" if state.queue else "unknown",
        }
        | _trouble_facts(state),
    )


def _extraction_left(knowledge: KnowledgeCounts) -> str:
    """How long still, while runs follow one another; what waits for company goes when its conversation is quiet."""
    if not knowledge.messages_per_second or not knowledge.eta_seconds:
        return ""
    return f"; {knowledge.messages_per_second:,.1f} messages/s, about {span(knowledge.eta_seconds)} left"


def _message_facts(state: Overview) -> dict[str, str | Text]:
    """Messages by state, but for states without any, and what was left out of a Telegram bot's updates, and why."""
    parts = [f"{state.messages[name]:,} {name.value}" for name in MessageState if state.messages.get(name)]
    facts: dict[str, str | Text] = {"messages": ", ".join(parts)} if parts else {}
    left_out = {
        name.removeprefix(IGNORED): number for name, number in state.knowledge.events.items() if IGNORED in name
    }
    if left_out:
        reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in sorted(left_out.items()))
        facts["telegram"] = f"{counted(sum(left_out.values()), 'updates')} left out: {reasons}"
    return facts


def _embedding_facts(state: Overview) -> dict[str, str | Text]:
    facts: dict[str, str | Text] = {"embedding": pace_line(state)}
    if oldest := _oldest_line(state):
        facts["oldest"] = oldest
    if state.pause:
        facts["paused"] = Text(plain(pause_line(state)), "yellow")
    if state.saved:
        facts["saved"] = f"{state.saved:,} vectors copied from identical texts, without asking the model"
    if state.truncated:
        facts["truncated"] = (
            f"{state.truncated:,} texts are longer than the model takes; their vectors are of the beginning only"
        )
    return facts


def _building_facts(state: Overview) -> dict[str, str | Text]:
    if state.building is None:
        return {}
    counts = state.building.embeddings.values()
    done, total = sum(count.embedded for count in counts), sum(count.total for count in counts)
    left = sum(count.left for count in counts)
    change = f"to {state.building.space}: {done:,} of {total:,} rows have its vectors, {left:,} are to come"
    if pause := state.building.pause:
        return {"change": Text(plain(f"{change}; it waits: {pause.because}"), "yellow")}
    return {"change": change}


def _trouble_facts(state: Overview) -> dict[str, str | Text]:
    facts: dict[str, str | Text] = {}
    if state.hook_failures:
        facts["hook"] = f"{state.hook_failures:,} commits could not send their tasks; the sweeper finds the rows"
    if state.failed:
        facts["failed"] = f"{state.failed:,} rows; see: winnow failed list"
    if state.last_error:
        facts["last error"] = state.last_error
    return facts


def pace_line(state: Overview) -> str:
    """How fast embedding goes, for how long it has, and how long it will take."""
    pace = state.pace
    if not pace.rows_per_second:
        waiting = any(count.waiting for count in state.embeddings.values())
        return "at rest" if state.idle and not waiting else "nothing in the last minute"
    parts = [f"{pace.rows_per_second:,.1f} rows/s"]
    if pace.saved_per_second:
        parts[0] += f" ({pace.saved_per_second:,.1f} of them copied)"
    if pace.tokens_per_second:
        parts[0] += f", {pace.tokens_per_second:,.0f} tokens/s"
    if state.eta_seconds == 0:
        return f"{parts[0]} in the last minute; nothing left"
    if pace.elapsed_seconds is not None:
        parts.append(f"for {span(pace.elapsed_seconds)}")
    if state.eta_seconds is not None:
        parts.append(f"about {span(max(state.eta_seconds, 1))} left")
    return "; ".join(parts)


def _oldest_line(state: Overview) -> str:
    now = datetime.now(UTC)
    return ", ".join(
        f"{kind.value} for {span((now - count.oldest_pending).total_seconds())}"
        for kind, count in state.embeddings.items()
        if count.oldest_pending
    )


def pause_line(state: Overview) -> str:
    """Why nobody asks the model server just now, since when, and when somebody looks again; empty when it is asked."""
    if (pause := state.pause) is None:
        return ""
    look = f"in {span(pause.seconds_left)}" if pause.seconds_left else "now"
    return f"for {span(pause.seconds_since)}: {pause.because} ({pause.error_kind}); next look {look}"


def span(seconds: float) -> str:
    """A time as people say it, in its two largest units."""
    left, parts = max(round(seconds), 0), []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number:
            parts.append(f"{number:,} {unit}")
    return " ".join(parts[:2]) or "0 s"


def _counts(console: Console, embeddings: Mapping[Kind, KindCounts]) -> Iterator[RenderableType]:
    """A table; or, where it would have to be broken, a line for each kind with what is not nothing."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", *COUNTS):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    told = {
        kind.value: {name: getattr(count, field) for name, field in COUNTS.items()}
        for kind, count in embeddings.items()
    }
    for kind, numbers in told.items():
        table.add_row(kind, *(f"{number:,}" for number in numbers.values()))
    if fits(console, table):
        yield table
    else:
        yield from _facts(console, {kind: _in_words(numbers) for kind, numbers in told.items()})


def fits(console: Console, table: Table) -> bool:
    """Whether no cell of it would have to be broken."""
    unlimited = console.options.update(max_width=WIDE)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _in_words(numbers: Mapping[str, int]) -> str:
    parts = [f"{number:,} {name}" for name, number in numbers.items() if number and name != "total"]
    return f"{numbers['total']:,}" + (f": {', '.join(parts)}" if parts else "")


def _queue_line(state: Overview) -> str:
    if state.queue is None:
        return state.queue_error or "NATS does not answer"
    lanes = ", ".join(f"{number:,} {name}" for name, number in state.queue.lanes.items())
    return f"on the way: {lanes}; sent so far: {state.queue.sent:,}; dead letters: {state.queue.dead_letters:,}"
