"""What an import tells at its end is short however many files there were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from winnow.cli.import_summary import show_import
from winnow.pipeline.import_report import ImportReport

if TYPE_CHECKING:
    import pytest


def test_the_same_note_about_several_files_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    report = ImportReport(files=3)
    report.notes = [(Path(f"{name}.log"), "no zone") for name in "abc"] + [(Path("c.log"), "a guess")]
    show_import(report)
    assert capfd.readouterr().err.splitlines() == ["a.log and 2 more: no zone", "c.log: a guess"]
