"""The README names every setting with its default, and the two commands stand at its top."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from winnow.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def setting_row(name: str) -> str:
    """The table's line for a setting, from its own field."""
    field = Settings.model_fields[name]
    aliases = getattr(field.validation_alias, "choices", [])
    variables = [alias for alias in aliases if alias.isupper()] or [f"WINNOW_{name.upper()}"]
    default = "–" if field.default is None else f"`{field.default:g}`" if isinstance(field.default, float) else ""
    if name == "data_dir":
        default = "the user's data folder; for root `/var/lib/winnow`"
    names = ", ".join(f"`{variable}`" for variable in variables)
    return f"| {names} | {default or f'`{field.default}`'} | {field.description} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_readme_names_every_setting(name: str) -> None:
    assert setting_row(name) in README


def test_readme_begins_with_the_two_commands() -> None:
    first_block = README.split("```")[1]
    assert first_block.index("make run") < first_block.index("make test")


def test_readme_is_finished_and_its_links_lead_somewhere() -> None:
    assert "@@" not in README
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
