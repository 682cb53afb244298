"""`python -m bench.reading FORMAT FILE`: reads a file alone in this process, and prints what that took as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from winnow.domain.messages import IncomingMessage
from winnow.sources.recognise import open_source

KIBIBYTE = 1024
STATUS = Path("/proc/self/status")


def main() -> None:
    """Reads, and counts messages, seconds and the process's largest size in bytes, at the start and at the end."""
    expected, path = sys.argv[1], Path(sys.argv[2])
    before = largest_bytes()
    started = time.perf_counter()
    reading = open_source(path)
    messages = sum(isinstance(item, IncomingMessage) for item in reading)
    seconds = time.perf_counter() - started
    if reading.format_name != expected:
        raise SystemExit(f"{path} was read as {reading.format_name}, not as {expected}")
    print(json.dumps({"messages": messages, "seconds": seconds, "before": before, "peak": largest_bytes()}))


def largest_bytes() -> int:
    """The most memory this program has held; in `ru_maxrss` Linux also counts what whoever started it held."""
    if STATUS.exists():
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * KIBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
