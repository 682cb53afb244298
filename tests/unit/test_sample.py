"""The sample's story ends well or with an error; what it tells to do next works from another terminal."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from winnow.cli import sample
from winnow.domain.jobs import Kind
from winnow.errors import WinnowError
from winnow.pipeline.overview import Overview
from winnow.settings import Settings, default_data_dir
from winnow.storage.embedding_records import KindCounts
from winnow.storage.status import KnowledgeCounts

if TYPE_CHECKING:
    from collections.abc import Mapping


def standing_still() -> Overview:
    values: Mapping[str, Any] = {"total": 5, "embedded": 2, "pending": 3, "oldest_pending": None}
    counts = KindCounts(**{name: values.get(name, 0) for name in KindCounts.__dataclass_fields__})
    knowledge: dict[str, Any] = dict.fromkeys(KnowledgeCounts.__dataclass_fields__, 0)
    return Overview(
        embeddings={Kind.MESSAGES: counts},
        knowledge=KnowledgeCounts(**{**knowledge, "atoms": {}, "runs": {}, "events": {}, "messages_waiting": 4}),
        embedder="local",
        space=None,
        dimensions=None,
        queue=None,
        queue_error=None,
        last_error="the disk is full",
    )


def winnow_over(folder: Path, *, instance: object = None) -> Any:
    return SimpleNamespace(
        settings=Settings(data_dir=folder), overviewing=lambda: None, servers=SimpleNamespace(instance=instance)
    )


async def test_a_standstill_is_an_error_that_says_what_stands_and_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overview(_: object) -> Overview:
        return standing_still()

    monkeypatch.setattr(sample, "overview", overview)
    monkeypatch.setattr(sample, "STALL_SECONDS", 0.0)
    with pytest.raises(WinnowError) as caught:
        await sample._follow(winnow_over(tmp_path), Console(file=io.StringIO()))
    for words in ("1 of 5 messages are extracted", "2 of 5 rows embedded", "disk is full", str(tmp_path / "logs")):
        assert words in str(caught.value)
    assert caught.value.exit_code == 1


def told(url: str | None, folder: Path) -> list[str]:
    output = io.StringIO()
    option = sample._data_dir_option(winnow_over(folder, instance="ours"))
    sample._show_next(Console(file=output, width=60), url, data_dir=option)
    return output.getvalue().splitlines()


def test_what_comes_next_names_the_folder_unless_it_is_the_usual_one() -> None:
    lines = told("http://127.0.0.1:8420", Path("/tmp/my data [x]"))
    assert sum("--data-dir '/tmp/my data [x]'" in line for line in lines) == 5
    assert any("http://127.0.0.1:8420" in line for line in lines)
    assert "--data-dir" not in "".join(told("http://127.0.0.1:8420", default_data_dir()))


def test_what_is_about_to_end_shows_no_address() -> None:
    lines = "\n".join(told(None, Path("/tmp/x")))
    assert "bin/winnow up --data-dir /tmp/x " in lines
    assert "http" not in lines
