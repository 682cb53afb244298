"""Where PostgreSQL and NATS are: servers of one's own, or those of the data folder."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winnow.embedded.instance import DataFolder, Instance, RunningServers
from winnow.embedded.postgres import forget_client_variables, little_room
from winnow.errors import DatabaseUnavailable, InvalidSettings, SetupFault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from winnow.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where PostgreSQL and NATS are. `instance` is the data folder's, when they are embedded."""

    database_url: str
    nats_url: str
    instance: Instance | None = None


def external_servers(settings: Settings) -> Servers | None:
    """The servers named by DATABASE_URL and NATS_URL; None when neither is set.

    Raises:
        InvalidSettings: only one of the two is set.
    """
    if settings.database_url is None and settings.nats_url is None:
        return None
    if settings.database_url is None or settings.nats_url is None:
        missing = "NATS_URL" if settings.nats_url is None else "DATABASE_URL"
        raise InvalidSettings(
            f"{missing} is not set: set both DATABASE_URL and NATS_URL to use your own servers, or neither to use "
            "the embedded ones"
        )
    return Servers(database_url=settings.database_url.get_secret_value(), nats_url=settings.nats_url.get_secret_value())


def running_servers(settings: Settings) -> Servers:
    """External servers, or those of the instance that runs on the data folder just now.

    Raises:
        SetupFault: neither.
    """
    if external := external_servers(settings):
        return external
    running = DataFolder(settings.data_dir).read()
    if running is None:
        raise SetupFault(
            f"no Winnow runs on {settings.data_dir}; start one with `winnow up`, or set DATABASE_URL and NATS_URL"
        )
    forget_client_variables()
    return _of(running, None)


@asynccontextmanager
async def servers_for(settings: Settings, *, attach: bool = True, fresh: bool = False) -> AsyncIterator[Servers]:
    """External servers; or those of the data folder, started for as long as the block lasts when nobody runs them.

    Args:
        settings: which.
        attach: use the servers of another process when one runs them.
        fresh: make a folder that no Winnow has run in yet one of ours; those who do not attach always do.

    Raises:
        InvalidSettings: no Winnow has run in the data folder yet, and this is not to make one.
        DataFolderInUse: somebody runs them, and `attach` is False.
        EmbeddedServerFailed: they do not come up.
    """
    if external := external_servers(settings):
        yield external
        return
    async with Instance(settings.data_dir, attach=attach, fresh=fresh or not attach) as instance:
        try:
            yield _of(instance.servers, instance)
        except DatabaseUnavailable as error:
            if little := little_room(settings.data_dir):
                raise DatabaseUnavailable(f"{error} Most likely {settings.data_dir} is full: {little}.") from error
            raise


def _of(running: RunningServers, instance: Instance | None) -> Servers:
    return Servers(database_url=running.database_url, nats_url=running.nats_url, instance=instance)
