"""Colours and figures that carry their style."""

from tests.presentation.conftest import Evaluations
from tests.presentation.figures.drawing import PLAIN
from zsig_hep.presentation import (
    Look,
    roc_figure,
)


def test_fill_colors_are_distinct_and_respect_choices() -> None:
    colors = Look({}, colors={"b": "#ffa90e", "c": None}).fill_colors(["a", "b", "c"])
    assert colors["b"] == "#ffa90e"
    assert len(set(colors.values())) == 3


def test_notebooks_show_a_png(evaluations: Evaluations) -> None:
    assert roc_figure(evaluations, PLAIN)._repr_png_().startswith(b"\x89PNG")
