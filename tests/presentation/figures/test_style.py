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


def test_a_dollar_sign_in_the_name_of_a_feature_starts_no_mathematical_text() -> None:
    look = Look({}, axis_labels={"mass": "$m_{jj}$"})
    assert look.axis_label("mass") == "$m_{jj}$"
    assert look.axis_label("$x") == "\\$x"
