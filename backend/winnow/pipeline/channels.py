"""What is done with a channel's messages is a person's choice, and holds from the moment it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from winnow.domain.messages import ChannelMode, storable
from winnow.domain.spaces import Role
from winnow.errors import ChannelNotFound, InvalidInput, SetupFault
from winnow.pipeline.forget import older_than, weigh_forgetting
from winnow.storage.channels import Choice, drop_plain_channel, find_channels, read_channel, write_channel

if TYPE_CHECKING:
    from winnow.pipeline.spaces import Spaces
    from winnow.storage.channels import ChannelRecord
    from winnow.storage.embeddings import EmbeddingStore
    from winnow.storage.engine import Database

log = structlog.get_logger(__name__)

MOST_KEEP_DAYS = 36_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Channelling:
    """What changing a channel needs."""

    database: Database
    embeddings: EmbeddingStore
    spaces: Spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The channel as it is now. `in_hand`: texts that may be on their way to a model elsewhere just now."""

    channel: ChannelRecord
    in_hand: int = 0


async def channel_called(database: Database, source: str, name: str) -> str | None:
    """The identity of the channel of this identity or title; None: there is none.

    Raises:
        InvalidInput: it names nothing, or several channels have the title.
    """
    source, name = storable(source), storable(name)
    if not source.strip() or not name.strip():
        raise InvalidInput(
            "say which channel: its source and its identity or title, as `winnow channels list` has them"
        )
    found = await find_channels(database, source, name)
    if len(found) > 1:
        raise InvalidInput(f"several channels of {source} are called {name}: {', '.join(found[:5])}; name one of these")
    return found[0] if found else None


async def too_old(database: Database, source: str, name: str, *, days: int) -> int:
    """How many messages go when a channel, named as for `set_channel`, is kept so many days. Raises as that does."""
    _require_days(days)
    channel = await channel_called(database, source, name)
    if channel is None:
        return 0
    return (await weigh_forgetting(database, older_than(storable(source), channel, days=days))).removed.messages


async def set_channel(tools: Channelling, source: str, name: str, choice: Choice) -> Chosen:
    """Changes what is done with a channel, named by its identity or its title. One that is not there yet may be named.

    Raises:
        ChannelNotFound: nothing is there, and nothing is chosen.
        InvalidInput: a title that several channels have, or a time to keep that is none.
    """
    channel = await channel_called(tools.database, source, name)
    source, name = storable(source), storable(name)
    if choice.keep_days is not None:
        _require_days(choice.keep_days)
    if channel is None and choice.mode is None and choice.local_only is None and not choice.keep:
        raise ChannelNotFound(f"{source} has no channel {name}; see: winnow channels list")
    channel = channel or name
    await write_channel(tools.database, source, channel, choice)
    in_hand = 0
    if choice.local_only is not None:
        in_hand = await _see_to_private(tools)
    log.info("channel.changed", source=source, mode=choice.mode, local_only=choice.local_only, keep=choice.keep_days)
    return Chosen(channel=await read_channel(tools.database, source, channel), in_hand=in_hand)


async def reset_channel(tools: Channelling, source: str, name: str) -> Chosen:
    """Takes back all that was chosen for a channel, named as for `set_channel`. Raises as that does."""
    if await channel_called(tools.database, source, name) is None:
        raise ChannelNotFound(f"{storable(source)} has no channel {storable(name)}; see: winnow channels list")
    done = await set_channel(tools, source, name, Choice(mode=ChannelMode.ON, local_only=False, keep=True))
    await drop_plain_channel(tools.database, done.channel.source, done.channel.channel)
    return done


def _require_days(days: int) -> None:
    if not 1 <= days <= MOST_KEEP_DAYS:
        raise InvalidInput(f"messages are kept for 1 to {MOST_KEEP_DAYS:,} days, or for ever; not {days}")


async def _see_to_private(tools: Channelling) -> int:
    """Rows that need not be left out any more are pending again; how many texts may be leaving in this moment."""
    in_hand = 0
    stored = await tools.spaces.all()
    for role in (Role.ACTIVE, Role.BUILDING):
        if (space := stored.get(role)) is None:
            continue
        try:
            remote = await tools.spaces.is_remote(space)
        except SetupFault:  # nobody can be asked at all
            continue
        await tools.embeddings.release_private(space, remote=remote)
        if remote:
            in_hand += await tools.embeddings.private_in_hand(space)
    return in_hand


async def release_private(tools: Channelling) -> None:
    """Rows that were left out as local-only and need not be any more, whoever changed what, are pending again."""
    await _see_to_private(tools)
