"""Messages whose writers would like to be obeyed."""

from __future__ import annotations

import json
from pathlib import Path

INJECTIONS: list[str] = [
    json.loads(line)["text"]
    for line in (Path(__file__).parents[1] / "fixtures" / "injections.jsonl").read_text("utf-8").splitlines()
]
