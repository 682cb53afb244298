"""Commands that run until they are stopped: everything at once, or one process each."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Annotated

import typer

from winnow.bootstrap import opened
from winnow.cli.options import DataDir
from winnow.cli.running import console, run, settings_for, until_stopped
from winnow.cli.up import up_command
from winnow.domain.jobs import Lane
from winnow.pipeline.sweep import Sweeper
from winnow.queue.services import SWEEPER
from winnow.servers import servers_for
from winnow.storage.migrate import require_newest
from winnow.worker import work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from winnow.bootstrap import Winnow
    from winnow.settings import Settings


def add_commands(app: typer.Typer) -> None:
    """Adds them to the program."""
    panel = "Run"
    app.command("up", rich_help_panel=panel)(up_command)
    app.command("api", rich_help_panel=panel)(api_command)
    app.command("worker", rich_help_panel=panel)(worker_command)
    app.command("sweeper", rich_help_panel=panel)(sweeper_command)


def api_command(
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = None,
) -> None:
    """Serve the HTTP API and the web page."""
    settings = settings_for(logs="all", data_dir=data_dir, api_host=host, api_port=port)

    from winnow.api.server import listen, serve_api  # noqa: PLC0415 - no other command waits for FastAPI to load

    async def serve(winnow: Winnow, stop: asyncio.Event) -> None:
        await serve_api(winnow, listen(settings.api_host, settings.api_port), stop)

    run(lambda: _serve(settings, serve))


def worker_command(
    data_dir: DataDir = None,
    lanes: Annotated[str | None, typer.Option(metavar="LANES", help="Lanes to serve: live, bulk or live,bulk.")] = None,
) -> None:
    """Work: score, extract, embed."""
    settings = settings_for(logs="all", data_dir=data_dir, lanes=lanes)

    async def serve(winnow: Winnow, stop: asyncio.Event) -> None:
        await work(winnow, [Lane(name) for name in settings.lane_names], stop)

    run(lambda: _serve(settings, serve, queue=False))  # the worker connects as one


def sweeper_command(data_dir: DataDir = None) -> None:
    """Find what is due: rows without a vector, quiet channels, lost work. Any number of copies; one leads."""
    settings = settings_for(logs="all", data_dir=data_dir)

    async def serve(winnow: Winnow, stop: asyncio.Event) -> None:
        await winnow.brokers[Lane.BULK].announce_as(SWEEPER)
        await Sweeper(winnow.sweeping()).sweep_forever(stop)

    run(lambda: _serve(settings, serve))


async def _serve(
    settings: Settings, serve: Callable[[Winnow, asyncio.Event], Awaitable[None]], *, queue: bool = True
) -> None:
    async def with_servers(stop: asyncio.Event) -> None:
        async with servers_for(settings) as servers:
            await require_newest(servers.database_url)
            async with opened(settings, servers, queue=queue) as winnow:
                if servers.instance and servers.instance.owned:
                    console.print(f"servers started over {settings.data_dir}, for as long as this command runs")
                gc.freeze()  # what was loaded stays; to look through it for garbage costs requests their p99
                await serve(winnow, stop)

    await until_stopped(with_servers)
