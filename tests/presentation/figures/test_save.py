"""Figures as files."""

from pathlib import Path

import matplotlib as mpl
import pytest

from tests.presentation.conftest import Evaluations
from tests.presentation.figures.drawing import PLAIN
from zsig_hep.errors import OutputError
from zsig_hep.presentation import (
    roc_figure,
    save_figure,
)


def test_save_figure_writes_the_same_bytes_again(evaluations: Evaluations, tmp_path: Path) -> None:
    figure = roc_figure(evaluations, PLAIN)
    pdf, png = save_figure(figure, tmp_path / "one", "roc", dots_per_inch=50)
    again = save_figure(roc_figure(evaluations, PLAIN), tmp_path / "two", "roc", dots_per_inch=50)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert [path.read_bytes() for path in again] == [pdf.read_bytes(), png.read_bytes()]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["roc.pdf", "roc.png"]


def test_saved_figure_keeps_its_style_whatever_the_settings_at_that_time(
    evaluations: Evaluations, tmp_path: Path
) -> None:
    figure = roc_figure(evaluations, PLAIN)
    expected = save_figure(figure, tmp_path, "plain", dots_per_inch=50)[1].read_bytes()
    with mpl.rc_context({"font.family": "serif", "mathtext.fontset": "cm", "xtick.direction": "out"}):
        found = save_figure(roc_figure(evaluations, PLAIN), tmp_path, "other", dots_per_inch=50)[1].read_bytes()
    assert found == expected


def test_save_figure_in_an_impossible_folder(evaluations: Evaluations, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_figure(roc_figure(evaluations, PLAIN), tmp_path / "file", "roc")
