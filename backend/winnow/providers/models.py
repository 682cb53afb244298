"""What is known of models before they are asked: prefixes, context, price. Never relied on for dimensions."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from winnow.domain.spaces import EmbedderIdentity
    from winnow.providers.base import InputType

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """What is put before each embedded text and before each search query."""

    document: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A family of models as `models.toml` describes it; None where its members differ, or nobody says.

    Attributes:
        family: the name by which the model was found.
        use: what it is for.
        source: where all this was read.
        context: tokens it reads at once; the least of the family.
        dimensions: of its vectors.
        document_prefix, query_prefix: what its card wants before texts and queries.
        shortenable: whether the beginning of its vectors may be used alone.
        price_usd_per_million_tokens: of what it reads, on its maker's own service (`prices.py`).
        output_price_usd_per_million_tokens: of what it writes.
        as_of: the day of the prices.
    """

    family: str
    use: Literal["embedding", "chat"]
    source: str
    context: int | None = None
    dimensions: int | None = None
    document_prefix: str = ""
    query_prefix: str = ""
    shortenable: bool = False
    price_usd_per_million_tokens: float | None = None
    output_price_usd_per_million_tokens: float | None = None
    as_of: date | None = None

    @property
    def prefixes(self) -> Prefixes:
        """Both prefixes."""
        return Prefixes(document=self.document_prefix, query=self.query_prefix)


@lru_cache(maxsize=256)
def known_model(model: str) -> KnownModel | None:
    """The family that the model belongs to: the one with the longest name that stands in the model's; None: unknown.

    Names differ by server: `nomic-embed-text:latest` (Ollama), `nomic-ai/nomic-embed-text-v1.5` (Hugging Face),
    `text-embedding-nomic-embed-text-v1.5` (LM Studio) are one family. Its size may be its tag: `qwen3-embedding:4b`.
    A price is that of the very model or of one of its dated snapshots, and of no other member of the family.
    """
    name, bare = _without_organisation(model).replace(":", "-"), model_name(model)
    found = max((family for family in _families() if _stands_in(family, name, bare)), key=len, default=None)
    if found is None:
        return None
    known = _families()[found]
    if re.fullmatch(re.escape(found) + r"(-\d{4}-\d{2}-\d{2})?", bare):
        return known
    return replace(known, price_usd_per_million_tokens=None, output_price_usd_per_million_tokens=None, as_of=None)


def known_prefixes(model: str) -> Prefixes:
    """The prefixes of the model's family; none for a model that is not known."""
    known = known_model(model)
    return known.prefixes if known else Prefixes()


def model_name(model: str) -> str:
    """The bare name in lower case: without organisation or registry (`org/`) and tag (`:latest`, `:0.6b`)."""
    return _without_organisation(model).split(":", 1)[0]


def with_prefix(texts: Sequence[str], identity: EmbedderIdentity, input_type: InputType) -> list[str]:
    """The texts as the model is given them."""
    prefix = identity.query_prefix if input_type == "query" else identity.document_prefix
    return [prefix + text for text in texts]


def _without_organisation(model: str) -> str:
    return model.lower().rsplit("/", 1)[-1]


def _stands_in(family: str, name: str, bare: str) -> bool:
    """As whole words, beginning in the bare name; `gpt-4` does not stand in `gpt-4.1`."""
    found = re.search(rf"(?<![a-z0-9]){re.escape(family)}(?![a-z0-9]|\.\d)", name)
    return found is not None and found.start() < len(bare)


@cache
def _families() -> Mapping[str, KnownModel]:
    """All that `models.toml` holds, by name of the family.

    Raises:
        KeyError, TypeError: the file has an entry of another form.
    """
    table = tomllib.loads(files("winnow.providers").joinpath("models.toml").read_text("utf-8"))
    allowed = {field.name for field in fields(KnownModel)}
    families: dict[str, KnownModel] = {}
    uses: tuple[Literal["embedding", "chat"], ...] = ("embedding", "chat")
    for use in uses:
        for entry in table[use]:
            names = entry.pop("names")
            if unknown := set(entry) - allowed:
                raise KeyError(f"models.toml: {names[0]} has {sorted(unknown)}")
            families |= {name: KnownModel(family=name, use=use, **entry) for name in names}
    return families
