import sys

import awkward as ak
import numpy as np
import pytest

from tests.ntuples.varied_search import read
from zsig_hep.errors import InputError
from zsig_hep.ntuples.variations import WeightVariation
from zsig_hep.ntuples.weight_factors import weight_factors


def test_weight_variations_multiply_the_whole_weight_and_touch_named_processes_only(search, tmp_path):
    variations = {
        "isr": WeightVariation(kind="weight", branch="PSWeight", up=0, down=2, processes=["dy"]),
        "sf": WeightVariation(kind="weight", up="sf_up", down="sf_down", nominal="sf"),
        "tilt": WeightVariation(kind="weight", function="weights.py:tilt"),
        "square": WeightVariation(kind="weight", function="weights.py:only_up"),
    }
    table = read(search, tmp_path / "out", variations, ntuples={"chunk_size": 137}).table
    assert list(table.weight_variations) == list(variations)
    dy, other = table.process == 1, table.process != 1
    x = table.feature("x").astype(np.float64)
    up, down = table.weight_variations["isr"]
    np.testing.assert_allclose(up[dy] / table.weight[dy], 1 + 0.05 * x[dy], rtol=1e-6)
    np.testing.assert_allclose(down[dy] / table.weight[dy], 1 - 0.04 * x[dy], rtol=1e-6)
    assert (up[other] == table.weight[other]).all()
    for got, expected in zip(table.weight_variations["sf"], (1.1, 0.8 / 0.9), strict=True):
        np.testing.assert_allclose(got, table.weight * expected, rtol=1e-12)
    np.testing.assert_allclose(table.weight_variations["tilt"][1] / table.weight, 1 - 0.1 * x, rtol=1e-6)
    # One-sided: down is mirrored.
    np.testing.assert_allclose(table.weight_variations["square"].sum(axis=0), 2 * table.weight, rtol=1e-12)


@pytest.mark.parametrize(
    ("variation", "match"),
    [
        (WeightVariation(kind="weight", branch="PSWeight", up=0, down=7), "has 3 elements in 700 of 700 events.*no element 7"),
        (WeightVariation(kind="weight", branch="x", up=0, down=1), "branch 'x' has no elements"),
        (WeightVariation(kind="weight", up="PSWeight"), "is not one number per event"),
        (WeightVariation(kind="weight", function="weights.py:broken"), r"factors of shape \(3,\); valid is one for each"),
    ],
)  # fmt: skip
def test_weights_that_are_no_factors_are_refused(search, tmp_path, variation, match):
    with pytest.raises(InputError, match=match):
        read(search, tmp_path / "out", {"v": variation})


def test_an_event_without_nominal_weight_keeps_its_factor_of_one():
    events = ak.Array({"sf": [0.5, 0.0], "up": [1.0, 0.0], "down": [0.25, 0.0]})
    variation = WeightVariation(kind="weight", up="up", down="down", nominal="sf")
    up, down = weight_factors(events, "sf", variation, None, "here")
    assert (up.tolist(), down.tolist()) == ([2.0, 1.0], [0.5, 1.0])
    raised = ak.Array({"sf": [0.5, 0.0], "up": [1.0, 0.1], "down": [0.25, 0.0]})
    with pytest.raises(
        InputError, match=r"here: weight variation 'sf': 'sf' is 0 in events whose varied weight is not"
    ):
        weight_factors(raised, "sf", variation, None, "here")


def raising(events):
    return events["x"] / undefined  # noqa: F821 (what a user may write)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda events: sys.exit("no"), r"its function called sys\.exit\('no'\)$"),
        (raising, "its function raised NameError: name 'undefined'"),
        (lambda events: "twice", "its function returned str; valid are the factors"),
        (lambda events: np.array([1.0, np.nan]), r"the factor of event 1 of the chunk is nan \(1 such events\)"),
        (lambda events: (np.ones(2), np.ones(3)), r"factors of shape \(3,\); valid is one for each of the 2 events"),
    ],
)
def test_functions_that_give_no_factors_are_refused(function, match):
    variation = WeightVariation(kind="weight", function="weights.py:tilt")
    with pytest.raises(InputError, match=rf"here: weight variation 'tilt'.* {match}"):
        weight_factors(ak.Array({"x": [1.0, 2.0]}), "tilt", variation, function, "here")


@pytest.mark.parametrize(
    ("variation", "match"),
    [
        ({"up": "name"}, "here: weight variation 'v': branch 'name' is not one number per event"),
        ({"branch": "names", "up": 0}, "here: weight variation 'v': the elements of branch 'names' are not numbers"),
    ],
)
def test_branches_of_text_are_no_factors(variation, match):
    events = ak.Array({"name": ["a", "b"], "names": [["a"], ["b"]]})
    with pytest.raises(InputError, match=match):
        weight_factors(events, "v", WeightVariation(kind="weight", **variation), None, "here")
