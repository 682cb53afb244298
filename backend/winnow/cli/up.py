"""`winnow up`: servers, API, worker and sweeper over one data folder, started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Annotated

import httpx
import typer
from rich.text import Text

from winnow.bootstrap import opened
from winnow.cli.children import Children
from winnow.cli.options import DataDir
from winnow.cli.running import console, run, settings_for, until_stopped
from winnow.cli.sample import run_sample
from winnow.cli.telegram import token_of_bot
from winnow.domain.jobs import Lane
from winnow.errors import EmbeddedServerFailed, SetupFault, Transient
from winnow.servers import servers_for
from winnow.storage.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from winnow.bootstrap import Winnow
    from winnow.servers import Servers
    from winnow.settings import Settings

READY_SECONDS = 60.0
MODEL_SECONDS = 10.0
LOOK_SECONDS = 0.1


def up_command(
    data_dir: DataDir = None,
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address the API listens on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API; 0: any free one.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Import the example chats, show what comes of them, and search.")
    ] = False,
    telegram: Annotated[
        bool, typer.Option("--telegram", help="Also fetch a Telegram bot's messages, as `winnow telegram poll` does.")
    ] = False,
    end: Annotated[
        bool, typer.Option("--exit", help="Stop when the sample has been shown, instead of staying up.")
    ] = False,
) -> None:
    """Run everything: PostgreSQL, NATS, API, worker and sweeper. Ctrl-C stops it all and loses nothing."""
    settings = settings_for(logs="warnings", data_dir=data_dir, api_host=host, api_port=port)
    if end and not sample:
        raise typer.BadParameter("--exit ends what --sample shows; give both")
    # A sample shown to no terminal is somebody's script: it wants its prompt back.
    ends_itself = sample and (end or not sys.stdout.isatty())
    run(lambda: until_stopped(lambda stop: _up(settings, stop, sample=sample, ends_itself=ends_itself, bot=telegram)))


async def _up(settings: Settings, stop: asyncio.Event, *, sample: bool, ends_itself: bool, bot: bool) -> None:
    if bot:
        token_of_bot(settings)
    with _told(f"Winnow over {settings.data_dir}"):
        pass
    async with contextlib.AsyncExitStack() as stack:
        with _told("PostgreSQL and NATS"):
            servers = await stack.enter_async_context(servers_for(settings, attach=False))
        with _told("tables"):
            await migrate(servers.database_url)
        winnow = await stack.enter_async_context(opened(settings, servers))
        await winnow.spaces.check()
        children = Children(
            {"DATABASE_URL": servers.database_url, "NATS_URL": servers.nats_url}, settings.data_dir / "logs"
        )
        stack.push_async_callback(children.stop, settings.drain_seconds)
        with _told("API, worker and sweeper"):
            url = await _start(children, settings, servers, winnow)
        if bot:
            with _told("fetching from Telegram"):
                await children.start("telegram", "poll")
        await _say_what_embedding_waits_for(winnow)
        watching = [asyncio.create_task(children.watch(), name="watch children")]
        if servers.instance:
            watching.append(asyncio.create_task(servers.instance.watch(), name="watch servers"))
        try:
            await _until_done(winnow, url, stop, sample=sample, ends_itself=ends_itself)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            console.print("stopping; work in hand is finished first, the rest waits on disk")
    console.print("stopped")


async def _say_what_embedding_waits_for(winnow: Winnow) -> None:
    """A model that is not there stops nothing else; but nobody should have to look into a log for it."""
    try:
        async with asyncio.timeout(MODEL_SECONDS):
            await winnow.spaces.ours()
    except TimeoutError:
        console.print("[yellow]embedding waits:[/] the model has not answered yet; it may still be loading")
    except (Transient, SetupFault) as error:
        console.print(
            "[yellow]embedding waits:[/]", Text(f"{str(error).rstrip('.')}. Everything else works meanwhile.")
        )


async def _start(children: Children, settings: Settings, servers: Servers, winnow: Winnow) -> str:
    from winnow.api.server import listen, url_of  # noqa: PLC0415 - no other command waits for FastAPI to load

    with contextlib.closing(listen(settings.api_host, settings.api_port)) as bound:
        url, port = url_of(bound), bound.getsockname()[1]
    try:
        await children.start("worker", "--lanes", ",".join(Lane))
        await children.start("sweeper")
        await children.start("api", "--host", settings.api_host, "--port", str(port))
    except OSError as error:
        raise EmbeddedServerFailed(
            f"processes cannot log in {settings.data_dir}/logs ({error.strerror}); make room there or mend its rights"
        ) from error
    deadline = time.monotonic() + READY_SECONDS
    async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
        while not await _ready(client, url, winnow):
            children.raise_if_fallen()
            if time.monotonic() > deadline:
                raise EmbeddedServerFailed(
                    f"Winnow was not ready after {READY_SECONDS:.0f} s; see {settings.data_dir}/logs"
                )
            await asyncio.sleep(LOOK_SECONDS)
    if servers.instance:
        servers.instance.announce_api(url)
    return url


async def _ready(client: httpx.AsyncClient, url: str, winnow: Winnow) -> bool:
    try:
        answer = await client.get(f"{url}/health/ready")
    except httpx.HTTPError:
        return False
    return answer.is_success and await winnow.backfilling().workforce.present(Lane.BULK)


async def _until_done(winnow: Winnow, url: str, stop: asyncio.Event, *, sample: bool, ends_itself: bool) -> None:
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        if sample:
            story = asyncio.create_task(run_sample(winnow, console, None if ends_itself else url), name="sample")
            await asyncio.wait({story, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not story.done():
                story.cancel()
                await asyncio.gather(story, return_exceptions=True)
                return
            story.result()
        if ends_itself:
            return
        console.print(f"\n[bold]Winnow is up:[/] {url}   Ctrl-C stops it")
        if not winnow.settings.keys_required and not winnow.settings.on_loopback:
            console.print(
                "[yellow]its API asks nobody for a key:[/] whoever reaches this machine may read and change all"
            )
        if winnow.settings.keys_required:
            console.print("its API asks for a key; make one with: winnow keys create NAME")
        await stopping
    finally:
        stopping.cancel()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Says what was done, and how long it took when that is worth a word."""
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    took = f"  [dim]{seconds:.1f} s[/]" if seconds > LOOK_SECONDS else ""
    console.print(f"[green]✓[/] {what}{took}", soft_wrap=True)
