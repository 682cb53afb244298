"""What the API's description names: one name, one shape."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from pathlib import Path

from pydantic import BaseModel

import winnow.api


def test_no_two_shapes_of_the_api_have_one_name() -> None:
    """Else their names in the description are made of modules' names."""
    folder = Path(winnow.api.__file__).parent
    modules = [import_module(f"winnow.api.{path.stem}") for path in sorted(folder.glob("*.py"))]
    shapes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    named = Counter(
        one.__name__ for one in shapes if issubclass(one, BaseModel) and one.__module__.startswith("winnow")
    )
    assert [name for name, number in named.items() if number > 1] == []
    assert len(named) > 50
