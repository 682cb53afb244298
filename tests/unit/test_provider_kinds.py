"""What differs between the kinds of provider is one table; nobody but the factory asks which kind one is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import winnow
from winnow.domain.providers import SERVED, TRAITS, ProviderKind, variable
from winnow.domain.spaces import EmbedderIdentity, Space
from winnow.settings import Settings

SOURCES = Path(winnow.__file__).parent
# Where kinds are defined, and where their protocols are chosen.
ALLOWED = {Path("domain/providers.py"), Path("providers/chosen.py"), Path("providers/factory.py")}
KINDS = {kind.value for kind in ProviderKind}


def names_a_kind(node: ast.expr) -> bool:
    """`ProviderKind.X`, or its value written out, alone or in a collection."""
    if isinstance(node, ast.Set | ast.Tuple | ast.List):
        return any(map(names_a_kind, node.elts))
    if isinstance(node, ast.Constant):
        return node.value in KINDS
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ProviderKind"


def comparisons(source: str) -> list[int]:
    """The lines on which something is compared with a kind, or looked up by one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            sides = [key for key in node.keys if isinstance(key, ast.Attribute)]
        else:
            continue
        if any(map(names_a_kind, sides)):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("place", sorted(SOURCES.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCES)))
def test_nobody_but_the_factory_asks_which_kind_a_provider_is(place: Path) -> None:
    if place.relative_to(SOURCES) not in ALLOWED:
        # `local` is also a name that no provider may have (`provider_rules`).
        lines = [line for line in comparisons(place.read_text("utf-8")) if not is_about_a_name(place, line)]
        assert lines == []


def is_about_a_name(place: Path, line: int) -> bool:
    return place.name == "provider_rules.py" and "name ==" in place.read_text("utf-8").splitlines()[line - 1]


@pytest.mark.parametrize(
    "source",
    ["if provider.kind == ProviderKind.OLLAMA: pass", 'x = kind in {"openai"}', "PORTS = {ProviderKind.OLLAMA: 1}"],
)
def test_such_a_question_is_found(source: str) -> None:
    assert comparisons(source) == [1]


@pytest.mark.parametrize("kind", ProviderKind)
def test_each_kind_has_its_traits_and_they_name_settings_that_are_there(kind: ProviderKind) -> None:
    traits = kind.traits
    assert TRAITS[kind.value] is traits
    named = [traits.url_setting, traits.key_setting, *(own.field for own in (traits.own_url, traits.own_key) if own)]
    for name in filter(None, named):
        assert name in Settings.model_fields
    for own in filter(None, (traits.own_url, traits.own_key)):
        assert own.name in Settings.model_fields[own.field].validation_alias.choices  # type: ignore[union-attr]
    if traits.url_setting:
        assert Settings.model_fields[traits.url_setting].default == traits.usual_url
    assert (kind in SERVED) == (traits.usual_url is not None) == traits.is_served
    assert variable("ollama_url") == "WINNOW_OLLAMA_URL"


@pytest.mark.parametrize(
    ("kind", "provider", "name"),
    [
        ("local", None, "local"), ("ollama", None, "ollama:m"), ("ollama", "gpu", "gpu:m"), ("test", None, "test:m"),
    ],
)  # fmt: skip
def test_a_model_goes_by_its_provider_s_name(kind: str, provider: str | None, name: str) -> None:
    space = Space(id=1, identity=EmbedderIdentity(provider=kind, model="m"), dimensions=8, provider_name=provider)
    assert space.name == name
