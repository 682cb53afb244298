#!/usr/bin/env python3
"""Embed every row whose vector is NULL: `winnow backfill` as a script, for `docker compose exec worker python …`."""

from __future__ import annotations

import sys

try:
    from winnow.cli.main import app
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run this with the project's own Python: .venv/bin/python scripts/backfill_embeddings.py")

if __name__ == "__main__":
    app(["backfill", *sys.argv[1:]], prog_name="backfill_embeddings.py")
