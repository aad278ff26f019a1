"""What JSON holds of results."""

import json
import math
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest

from zsig_hep.pipeline.plain import plain
from zsig_hep.selection import Box, Cut, HeldOutDivision, HeldOutWorkingPoint
from zsig_hep.selection.categories.yields import CombinedSignificance
from zsig_hep.selection.numbers import HypothesisSignificance
from zsig_hep.selection.thresholds.sensitivity import ImpactTable, OtherMaximum
from zsig_hep.statistics import Yield, expected_exclusion


def test_a_working_point_without_a_threshold_has_null_numbers():
    content = plain(HeldOutWorkingPoint(status="no_threshold_qualifies", reason="too few", thresholds=(None, 0.5)))
    assert (content["status"], content["reason"]) == ("no_threshold_qualifies", "too few")
    assert content["thresholds"] == [None, 0.5]
    assert content["yields"] == content["hypotheses"] == {}
    assert (content["partitions"], content["optimism_status"]) == ([], "ok")
    told = {"status", "reason", "thresholds", "yields", "hypotheses", "partitions", "optimism_status"}
    assert {value for key, value in content.items() if key not in told} == {None}


def test_every_signal_hypothesis_is_told():
    each = {"vbf": HypothesisSignificance(1.5, 0.1), "ggf": HypothesisSignificance(0.5, 0.2)}
    assert plain(HeldOutWorkingPoint(status="ok", significance=1.0, hypotheses=each))["hypotheses"] == {
        "vbf": {"significance": 1.5, "significance_uncertainty": 0.1},
        "ggf": {"significance": 0.5, "significance_uncertainty": 0.2},
    }


def test_another_maximum_has_names():
    found = plain(ImpactTable("several_maxima", "close", runner_up=OtherMaximum(0.5, 1.2)))
    assert found["runner_up"] == {"cut": 0.5, "significance": 1.2}
    assert found["rows"] == []


def test_an_empty_yield_is_json():
    expected = {"entries": 0, "yield": 0.0, "uncertainty": 0.0, "effective_entries": 0.0}
    assert plain(Yield(0.0, 0.0, 0)) == expected


def test_properties_that_readers_want_stand_beside_the_fields():
    exclusion = expected_exclusion(20.0, 50.0, 7.0)
    content = plain(exclusion)
    assert (content["median_cls"], content["median_limit"]) == (exclusion.median_cls, exclusion.median_limit)
    assert content["limits"] == list(exclusion.limits)
    division = plain(HeldOutDivision(2, "ok", combined=CombinedSignificance(1.5, 0.1)))
    assert (division["significance"], division["significance_uncertainty"]) == (1.5, 0.1)
    assert "combined" not in division


def test_a_box_is_its_cuts_and_the_lines_that_apply_them():
    box = Box((Cut("mass", 120.0, 130.0), Cut("eta")))
    content = plain(box)
    assert content["cuts"][0] == {"variable": "mass", "low": 120.0, "high": 130.0, "missing": "fail"}
    assert (content["python"], content["tree_draw"]) == (box.python(), "mass > 120.0 && mass < 130.0")
    assert content["open_variables"] == ["eta"]
    assert plain(Box((Cut("a b", 1.0),)))["tree_draw"] is None


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float64("inf"), None),
        (np.float32(0.5), 0.5),
        (np.int16(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        (Path("a") / "b", "a/b"),
        ({"a": [math.nan, (1, math.inf)], 2: None}, {"a": [None, [1, None]], "2": None}),
        ([True, "nan", None, Colour.RED], [True, "nan", None, "red"]),
    ],
)
def test_numbers_that_json_cannot_hold_are_null(value, expected):
    found = plain(value)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected
    if expected is not None:
        assert type(found) is type(expected)


def test_what_has_no_form_in_json_is_refused():
    with pytest.raises(TypeError, match="complex has no form in JSON"):
        plain({"z": [1j]})
