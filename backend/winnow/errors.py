"""The one tree of errors: a class's docstring is its default message, adapters turn foreign errors into these.

Three questions are answered by the class alone: try again (`Transient`), whose fault (`TextRefused`, `SetupFault`),
and which exit code the command line ends with (`exit_code`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class WinnowError(Exception):
    """Something went wrong."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or "").split("\n", 1)[0])


class Transient(WinnowError):
    """The other side is away or busy; the same call may succeed later.

    Weather, never the row's fault. `retry_after_seconds` is the server's own wish, when it gave one.
    """

    exit_code = 3

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ProviderUnavailable(Transient):
    """The model server does not answer."""


class ProviderTimeout(ProviderUnavailable):
    """The model server gave no answer in time."""


class ProviderBusy(Transient):
    """The model server is busy or limits the rate.

    `limits` are those that its answer told beside the refusal, if it did: `RateLimits`, of which nothing is known here.
    """

    def __init__(
        self, message: str | None = None, *, retry_after_seconds: float | None = None, limits: object = None
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.limits = limits


class DatabaseUnavailable(Transient):
    """The database does not answer; start it, or check DATABASE_URL."""


class DatabaseBusy(Transient):
    """Another transaction was in the way; try again in a moment."""


class RunLost(Transient):
    """The run took longer than its lease and was given up; its messages are free for another run."""


class RowsInHand(Transient):
    """Another worker has some of the rows in hand, or died with them; they come free when its lease runs out."""


class WorkerBusy(Transient):
    """As many extractions are under way as this worker makes at once; this one waits for its turn."""


class QueueUnavailable(Transient):
    """NATS does not answer; start it, or check NATS_URL."""


class TelegramUnavailable(Transient):
    """Telegram does not answer, or wants to be asked more slowly."""


class Permanent(WinnowError):
    """The same call will fail again; something must change first."""


class TextRefused(Permanent):
    """The model refuses this text."""


class TextTooLong(TextRefused):
    """The text is longer than the model's context.

    `context_tokens` is what the server says it takes, if it does; `characters` how many of a text that was asked for
    alone were sent, if not all.
    """

    def __init__(self, message: str | None = None, *, context_tokens: int | None = None) -> None:
        super().__init__(message)
        self.context_tokens = context_tokens
        self.characters: int | None = None


class AnswerInvalid(Permanent):
    """The model's answer cannot be used: wrong count, wrong length, or not finite numbers."""


class SomeInvalid(AnswerInvalid):
    """Some vectors of the model's answer cannot be used; the others can, and have been paid for.

    `good` are the usable vectors by the place of their text, `bad` the reasons by the place of the others; `characters`
    says, as in an `EmbeddingResult`, of which texts the beginning alone was embedded.
    """

    def __init__(
        self,
        message: str,
        *,
        good: Mapping[int, Any],
        bad: Mapping[int, str],
        characters: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.good = good
        self.bad = bad
        self.characters = characters or {}


class SetupFault(Permanent):
    """The set-up is wrong; every text would fail alike, so rows stay pending until it is mended."""

    exit_code = 3


class ModelNotFound(SetupFault):
    """The model server does not have this model."""


class KeyRefused(SetupFault):
    """The model server refuses the API key."""


class QuotaExhausted(SetupFault):
    """The account at the model server has no quota left."""


class ProviderInUse(SetupFault):
    """Vectors are made or searched with this provider."""

    exit_code = 1


class SpaceMismatch(SetupFault):
    """The chosen embedder makes vectors of another space than the stored ones."""


class TelegramRefused(SetupFault):
    """Telegram refuses what it was asked for."""


class WebhookSet(TelegramRefused):
    """Telegram sends this bot's updates to a webhook, and gives them to nobody who asks."""


class InvalidInput(Permanent):
    """What was given cannot be read."""

    exit_code = 2


class ProviderNotFound(InvalidInput):
    """There is no such provider."""


class MessageNotFound(InvalidInput):
    """There is no such message."""


class ReviewRefused(InvalidInput):
    """That cannot be done with this atom as it stands."""


class RunNotFound(InvalidInput):
    """There is no such run of extraction."""


class ChannelNotFound(InvalidInput):
    """There is no such channel."""


class AtomNotFound(InvalidInput):
    """There is no such atom."""


class TopicNotFound(InvalidInput):
    """There is no such topic."""


class NameTaken(InvalidInput):
    """Another one has this name."""


class ProviderRefused(InvalidInput):
    """What is said of a provider cannot be, for example a forbidden address."""


class ProviderConflict(ProviderRefused):
    """What is said of a provider does not go with what is stored: a taken name, a key that was given for elsewhere."""


class ChangeRefused(InvalidInput):
    """The model cannot be changed so as things stand."""


class InvalidSettings(InvalidInput):
    """A setting has a value that cannot be used."""


class DataFolderInUse(WinnowError):
    """Another Winnow runs on this data folder."""

    exit_code = 3


class EmbeddedServerFailed(WinnowError):
    """A server that Winnow starts itself did not come up."""

    exit_code = 3
