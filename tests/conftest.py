"""Fixtures live in plugins, one for each real server or family of helpers."""

from __future__ import annotations

from pathlib import Path

_PLUGINS = Path(__file__).parent / "plugins"
pytest_plugins = sorted(f"plugins.{path.stem}" for path in _PLUGINS.glob("[!_]*.py"))
