"""Results in words."""

import dataclasses
import re

import pytest

from zsig_hep.presentation.wording import (
    FIGURE_OF_MERIT_LABELS,
    FIGURE_OF_MERIT_NAMES,
    figure_of_merit_label,
    figure_of_merit_name,
    plain_label,
)
from zsig_hep.statistics import FigureOfMerit, FigureParameters, Objective


def test_every_figure_of_merit_has_a_name_and_a_label():
    assert set(FIGURE_OF_MERIT_NAMES) == set(FIGURE_OF_MERIT_LABELS) == set(FigureOfMerit)


def test_numbers_in_the_definition_are_named():
    parameters = FigureParameters(ams_regularisation=3.0)
    assert figure_of_merit_name(Objective(FigureOfMerit.AMS, parameters)).endswith("(AMS), b_r = 3")
    assert figure_of_merit_name(Objective(FigureOfMerit.ASIMOV, parameters)) == "Asimov significance"


@pytest.mark.parametrize("name", [figure_of_merit_name, figure_of_merit_label])
def test_the_variance_of_the_simulation_alone_is_no_background_uncertainty(name):
    uncertain = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True)
    assert name(uncertain).endswith("with the variance of the simulation")
    for given in ({"relative_background_uncertainty": 0.1}, {"background_uncertainties": {"dy": 0.1}}):
        assert name(dataclasses.replace(uncertain, **given)).endswith("with background uncertainty")
    assert name(uncertain, variations=True).endswith("with background uncertainty")


@pytest.mark.parametrize(
    ("label", "plain"),
    [
        ("Z + jets", "Z + jets"),
        (r"$Z/\gamma^*\to\mu\mu$", "Z/γ* → μμ"),
        (r"$t\bar{t}$ + $W^{\pm}$", "tt̄ + W±"),
        (r"$H_\mathrm{T}$, $E_{2}^{3}$", "HT, E₂³"),
        ("cost $5", "cost $5"),
    ],
)
def test_plain_label(label: str, plain: str) -> None:
    assert re.sub(r"\s+", " ", plain_label(label)) == plain
