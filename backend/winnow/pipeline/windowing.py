"""From the messages that wait to what each run is to read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from winnow.domain.knowledge import WindowMessage
from winnow.domain.rules.words import content_words
from winnow.domain.scoring import MessageKind, ScoreRules
from winnow.domain.windows import SHORT_CONVERSATION, cut_windows
from winnow.pipeline.score import scored
from winnow.storage.runs import atoms_around, topics_around

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from winnow.domain.jobs import Asked, Lane
    from winnow.domain.knowledge import KnownAtom, Window
    from winnow.settings import Settings
    from winnow.storage.engine import Database
    from winnow.storage.extraction import ExtractionStore, StoredMessage
    from winnow.storage.messages import StoredScore

MOST_KNOWN = 20
MOST_TOPICS = 30
# Of so many, the newest, those are offered that are most alike.
KNOWN_LOOKED_AT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How windows are cut: messages, messages of context, and about how many tokens."""

    messages: int
    context: int
    tokens: int


def limits_of(settings: Settings) -> Limits:
    """As the settings choose."""
    return Limits(messages=settings.window_messages, context=settings.window_context, tokens=settings.window_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one run is to read.

    `scores` are of those messages, and `unlinked` are those, that the scoring task has not come by yet. `edited` were
    changed since they were scored, and are scored anew.
    """

    source: str
    window: Window
    scores: Mapping[int, StoredScore]
    unlinked: AbstractSet[int]
    lane: Lane
    asked: Asked
    edited: AbstractSet[int] = frozenset()

    def only(self, claimed: Mapping[int, str]) -> Reading:
        """Without the messages that another run took first, and with what the others say by now."""
        mine = [message for message in self.window.messages if message.id in claimed]
        messages = tuple(replace(message, text=claimed[message.id]) for message in mine)
        edited = {row for row, score in self.scores.items() if claimed.get(row, score.text) != score.text}
        scores = {row: score for row, score in self.scores.items() if row not in edited}
        window = replace(self.window, messages=messages)
        return replace(self, window=window, scores=scores, edited=edited)

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the messages to read."""
        return tuple(message.id for message in self.window.messages)

    @property
    def own_scores(self) -> list[StoredScore]:
        """The scores of the messages to read, as far as they were made here."""
        return [self.scores[row] for row in self.ids if row in self.scores]


async def readings_of(
    store: ExtractionStore,
    messages: Sequence[StoredMessage],
    limits: Limits,
    rules: ScoreRules,
    *,
    lane: Lane,
    asked: Asked,
) -> list[Reading]:
    """What is to be read of one channel's messages; those that turn out to be noise are set aside, for nobody."""
    scores = {message.id: scored(message, rules) for message in messages if message.importance is None}
    noise = [one for one in scores.values() if one.score.kind is MessageKind.NOISE]
    if noise:
        await store.set_aside(noise)
        aside = {one.id for one in noise}
        messages = [message for message in messages if message.id not in aside]
    if not messages:
        return []
    unlinked = {message.id for message in messages if not message.linked}
    return [
        Reading(source=messages[0].source, window=window, scores=scores, unlinked=unlinked, lane=lane, asked=asked)
        for window in await _windows(store, messages, limits, scores)
    ]


async def _windows(
    store: ExtractionStore, messages: Sequence[StoredMessage], limits: Limits, scores: Mapping[int, StoredScore]
) -> list[Window]:
    """The messages cut into windows, each with what was said before."""
    earlier = await store.earlier(messages, limit=max(limits.context, SHORT_CONVERSATION))
    first = messages[0]
    before = [item for item in earlier if (item.message.sent_at, item.message.id) < (first.sent_at, first.id)]
    return cut_windows(
        [_as_seen(message, scores) for message in messages],
        channel=first.channel,
        size=limits.messages,
        context=limits.context,
        tokens=limits.tokens,
        topic=before[-1].topic if before else None,
        earlier=[item.message for item in earlier],
    )


def _as_seen(message: StoredMessage, scores: Mapping[int, StoredScore]) -> WindowMessage:
    importance = message.importance
    return WindowMessage(
        id=message.id,
        author=message.author,
        text=message.text,
        sent_at=message.sent_at,
        importance=scores[message.id].score.importance if importance is None else importance,
        conversation=message.conversation,
        parent_id=message.parent_id,
        votes=message.votes,
    )


async def with_offers(database: Database, source: str, window: Window) -> Window:
    """The window with atoms and topics that may be meant again."""
    conversations = sorted({message.conversation for message in window.messages})
    found = await atoms_around(database, source, window.channel, conversations, limit=KNOWN_LOOKED_AT)
    topics = await topics_around(database, source, window.channel, limit=MOST_TOPICS)
    return replace(window, known=most_alike(found, window, limit=MOST_KNOWN), topics=tuple(topics))


def most_alike(known: Sequence[KnownAtom], window: Window, *, limit: int) -> tuple[KnownAtom, ...]:
    """Those of the atoms whose words the window has most of; of equals, those that stand first."""
    said = {word for message in window.messages for word in content_words(message.text)}

    def share(atom: KnownAtom) -> float:
        words = set(content_words(f"{atom.title} {atom.content}"))
        return len(words & said) / len(words) if words else 0.0

    return tuple(sorted(known, key=share, reverse=True)[:limit])
