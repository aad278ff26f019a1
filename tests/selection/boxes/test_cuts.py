import ast

import awkward as ak
import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from tests.selection.boxes.box_toy import toy
from zsig_hep.errors import InputError
from zsig_hep.selection import Box, Cut, CutSettings

BOXES = [
    Box((Cut("x", -0.4, 0.7), Cut("y", low=0.25), Cut("noise"))),
    Box((Cut("x", high=0.3, missing="pass"), Cut("y", low=-0.1, high=1.1, missing="pass"))),
    Box((Cut("jets", low=1.5), Cut("y", high=0.8))),
    Box((Cut("x"), Cut("y"))),
]


@pytest.fixture(scope="module")
def table():
    return toy(1, missing=0.2)


class TestCut:
    VALUES = np.array([1.0, 2.0, 3.0, 4.0, np.nan])

    @pytest.mark.parametrize(
        ("low", "high", "passing"),
        [
            (2.0, None, [False, False, True, True]),
            (None, 3.0, [True, True, False, False]),
            (1.0, 4.0, [False, True, True, False]),
            (None, None, [True, True, True, True]),
        ],
    )
    @pytest.mark.parametrize("missing", ["fail", "pass"])
    def test_both_sides_are_strict_and_a_missing_value_does_as_it_is_told(self, low, high, passing, missing):
        cut = Cut("x", low, high, missing)
        open_or_told = cut.is_open or missing == "pass"
        assert cut.passes(self.VALUES).tolist() == [*passing, open_or_told]


class TestWritten:
    @pytest.mark.parametrize("box", BOXES)
    def test_the_line_of_python_selects_the_same_events(self, box, table):
        columns = {name: table.feature(name) for name in table.feature_names}
        expected = box.select(table)
        for events in (columns, ak.Array(columns), {name: x.astype(np.float64) for name, x in columns.items()}):
            found = eval(box.python(), {"events": events, "np": np})
            np.testing.assert_array_equal(np.asarray(found), expected)
        assert expected.sum() > 0

    def test_the_line_of_python_selects_rows_of_pandas(self, table):
        pandas, box = pytest.importorskip("pandas"), BOXES[1]
        frame = pandas.DataFrame({name: table.feature(name) for name in table.feature_names})
        found = frame[eval(box.python("frame"), {"frame": frame})]
        assert found.index.tolist() == np.flatnonzero(box.select(table)).tolist()

    @pytest.mark.parametrize("box", BOXES[:3])
    def test_the_selection_of_tree_draw_is_that_of_uproot(self, box, table, tmp_path):
        with uproot.recreate(tmp_path / "events.root") as file:
            columns = {name: table.feature(name) for name in table.feature_names} | {"number": np.arange(len(table))}
            # Not `file["Events"] = columns`, which writes an RNTuple: of those uproot reads everything, whatever the cut.
            file.mktree("Events", {name: column.dtype for name, column in columns.items()}).extend(columns)
        # In C++ a comparison binds tighter than a negation of its bracket and both bind tighter than &&, unlike & in Python.
        terms = [f"({term})".replace("(!", "(~") for term in box.tree_draw().split(" && ")]
        expression = " & ".join(terms)
        ast.parse(expression)
        with uproot.open(tmp_path / "events.root") as file:
            found = file["Events"].arrays(["number"], cut=expression, library="np")["number"]
        assert found.tolist() == np.flatnonzero(box.select(table)).tolist()

    def test_numbers_are_written_in_full(self):
        box = Box((Cut("x", low=0.1 + 0.2, high=1e-7),))
        assert box.tree_draw() == "x > 0.30000000000000004 && x < 1e-07"

    def test_without_cuts_everything_is_selected(self):
        assert BOXES[3].tree_draw() == "1"
        assert BOXES[3].open_variables == ("x", "y")

    def test_a_name_that_root_reads_as_a_formula_is_refused(self):
        with pytest.raises(InputError, match="'m-jj' cannot be the name of a branch"):
            Box((Cut("m-jj", low=1.0),)).tree_draw()

    def test_an_unknown_variable(self):
        with pytest.raises(InputError, match=r"There is no cut on 'yy'\. Did you mean 'y'"):
            BOXES[0].cut("yy")

    def test_left_out_cuts(self, table):
        np.testing.assert_array_equal(BOXES[0].select(table, without=["x"]), Box(BOXES[0].cuts[1:]).select(table))


class TestSettings:
    def test_a_side_alone(self):
        cuts = CutSettings.model_validate({"variables": {"x": "window", "y": {"side": "below", "missing": "pass"}}})
        assert cuts.variables["x"].side == "window"
        assert (cuts.missing_of("x"), cuts.missing_of("y")) == ("fail", "pass")
        assert cuts.model_validate(cuts.model_dump()) == cuts

    def test_the_starts_of_both_sides(self):
        starts = {"x": {"side": "above", "start": 3, "limits": [2, 4]}, "y": {"side": "below", "start": 3}}
        cuts = CutSettings.model_validate({"variables": starts | {"z": {"side": "window", "start": [None, 2]}}})
        assert [each.start_values for each in cuts.variables.values()] == [(3, None), (None, 3), (None, 2)]

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            ({}, "at least 1 item"),
            ({"x": "over"}, "'above', 'below' or 'window'"),
            ({"x": {"side": "above", "limits": [2, 1]}}, "hold no value"),
            ({"x": {"side": "above", "start": 3, "limits": [None, 2]}}, r"start 3 is outside of limits \[-, 2\]"),
            ({"x": {"side": "above", "start": 1, "limits": [2, None]}}, r"start 1 is outside of limits \[2, -\]"),
            ({"x": {"side": "below", "start": [1, 2]}}, "is one number"),
            ({"x": {"side": "window", "start": 1}}, "is a pair"),
            ({"x": {"side": "window", "step": 1, "significant_digits": 2}}, "two ways of rounding"),
            ({"x": {"side": "above", "step": 0}}, "greater than or equal to"),
        ],
    )
    def test_bad_settings(self, variables, message):
        with pytest.raises(ValidationError, match=message):
            CutSettings.model_validate({"variables": variables})
