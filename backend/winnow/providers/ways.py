"""The ways of a process to its model servers: one client and one line for each, whoever asks and for whatever model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from winnow.domain.pacing import Pace
from winnow.providers.concurrency import Concurrency
from winnow.providers.gate import OwnGate, SharedGate
from winnow.providers.line import Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from pydantic import SecretStr

    from winnow.domain.providers import Provider
    from winnow.providers.address import ServerAddress
    from winnow.providers.gate import Gate, SharedPace

Client = TypeVar("Client", bound="Closable")
Answer = TypeVar("Answer")


class Closable(Protocol):
    """A client that pools connections."""

    def close(self) -> Awaitable[Any]:
        """Closes them."""
        ...


@dataclass(slots=True)
class _Open:
    client: Closable
    users: int = 0


class Connection:
    """One user's hold on a client that others may use, too; closing it closes the client with the last of them."""

    def __init__(self, clients: dict[Hashable, _Open], key: Hashable) -> None:
        self._clients = clients
        self._key = key
        self._is_held = True
        clients[key].users += 1

    async def close(self) -> None:
        """Gives it back; a second time does nothing."""
        if not self._is_held:
            return
        self._is_held = False
        held = self._clients[self._key]
        held.users -= 1
        if not held.users:
            del self._clients[self._key]
            await held.client.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How requests about one model go to a provider.

    Attributes:
        line: of all requests to the provider, whatever the model; with the gate of this one.
        concurrency: by which the line is measured; None: the number of requests at once is fixed.
        one_prompt: held by the only prompt in flight, where prompts are asked one by one.
    """

    line: Line
    concurrency: Concurrency | None = None
    one_prompt: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask_prompt(self, request: Callable[[], Awaitable[Answer]], *, tokens: int, work: int) -> Answer:
        """Makes a prompt's request when it is its turn; `work` in characters. Raises as `Line.ask`."""
        if self.concurrency is not None:
            request = partial(self.concurrency.measured, request, work=work)
        return await self.line.ask(self.line.place_of_prompt(), request, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lane:
    """All requests to a provider: the line, and what it is measured by."""

    line: Line
    concurrency: Concurrency | None
    one_prompt: asyncio.Lock = field(default_factory=asyncio.Lock)


class Ways:
    """What all embedders, language models and catalogues of a process share, by the server's protocol, URL and key.

    Two providers that name the same server are one here. Lines and gates stay as long as this does: a number for each
    provider that was ever used.

    Args:
        pace: where all processes keep the pace of a provider's model; None: this process keeps its own.
    """

    def __init__(self, pace: Callable[[Provider, str], SharedPace] | None = None) -> None:
        self._pace = pace
        self._clients: dict[Hashable, _Open] = {}
        self._lanes: dict[Hashable, _Lane] = {}
        self._gates: dict[Hashable, Gate] = {}

    def connect(
        self, kind: str, address: ServerAddress, api_key: SecretStr | None, make: Callable[[], Client]
    ) -> tuple[Client, Connection]:
        """The client of this server and key, and the hold on it; `make` is called for the first one who asks."""
        key = (kind, *_place(address, api_key))
        if key not in self._clients:
            self._clients[key] = _Open(make())
        return cast("Client", self._clients[key].client), Connection(self._clients, key)

    def to(self, provider: Provider, address: ServerAddress, model: str, *, start: int, most: int) -> Way:
        """The way to this model of the provider.

        Args:
            provider: with the limits that a person set; who changes them gets another way.
            address: of its preferred server, by which the provider is known.
            model: limits that a server tells are this model's, limits that a person set are the provider's.
            start: requests at once as long as nothing was measured, where the provider does not say how many.
            most: that are ever tried.
        """
        place = (provider.kind, *_place(address, provider.api_key))
        lane = self._lanes.get((*place, provider.at_once))
        if lane is None:
            concurrency = None if provider.at_once else Concurrency(start=start, most=most)
            lane = _Lane(line=Line(at_once=provider.at_once or concurrency), concurrency=concurrency)
            self._lanes[(*place, provider.at_once)] = lane
        limits = (provider.requests_per_minute, provider.tokens_per_minute)
        whose = (*place, *limits) if any(limits) else (*place, model)
        if whose not in self._gates:
            self._gates[whose] = self._gate(provider, model)
        line = lane.line.with_gate(self._gates[whose])
        return Way(line=line, concurrency=lane.concurrency, one_prompt=lane.one_prompt)

    def _gate(self, provider: Provider, model: str) -> Gate:
        own = Pace(
            most_requests_per_minute=provider.requests_per_minute, most_tokens_per_minute=provider.tokens_per_minute
        )
        return OwnGate(own) if self._pace is None else SharedGate(self._pace(provider, model), own=own)


def _place(address: ServerAddress, api_key: SecretStr | None) -> tuple[Hashable, ...]:
    return (address.url, address.basic_auth, api_key)
