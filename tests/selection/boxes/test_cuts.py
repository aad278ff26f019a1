import ast
import dataclasses

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.selection.boxes.box_toy import toy
from zsig_hep.errors import InputError
from zsig_hep.selection import Box, Cut, CutSettings
from zsig_hep.selection.boxes.edges import _shortest_between, check_variables, make_sides

BOXES = [
    Box((Cut("x", -0.4, 0.7), Cut("y", low=0.25), Cut("noise"))),
    Box((Cut("x", high=0.3, missing="pass"), Cut("y", low=-0.1, high=1.1, missing="pass"))),
    Box((Cut("jets", low=1.5), Cut("y", high=0.8))),
    Box((Cut("x"), Cut("y"))),
]


def side_of(table, variable, **options):
    (side,) = make_sides(table, CutSettings(variables={variable: {"side": "above"} | options}))
    return side


@pytest.fixture(scope="module")
def table():
    return toy(1, missing=0.2)


class TestWritten:
    @pytest.mark.parametrize("box", BOXES)
    def test_the_line_of_python_selects_the_same_events(self, box, table):
        columns = {name: table.feature(name) for name in table.feature_names}
        expected = box.select(table)
        for events in (columns, ak.Array(columns), {name: x.astype(np.float64) for name, x in columns.items()}):
            found = eval(box.python(), {"events": events, "np": np})
            np.testing.assert_array_equal(np.asarray(found), expected)
        assert expected.sum() > 0

    @pytest.mark.parametrize("box", BOXES[:3])
    def test_the_line_of_python_selects_rows_of_pandas(self, box, table):
        pandas = pytest.importorskip("pandas")
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

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            ({}, "at least 1 item"),
            ({"x": "over"}, "'above', 'below' or 'window'"),
            ({"x": {"side": "above", "limits": [2, 1]}}, "hold no value"),
            ({"x": {"side": "above", "start": 3, "limits": [None, 2]}}, r"start 3 is outside of limits \[-, 2\]"),
            ({"x": {"side": "below", "start": [1, 2]}}, "is one number"),
            ({"x": {"side": "window", "start": 1}}, "is a pair"),
            ({"x": {"side": "window", "step": 1, "significant_digits": 2}}, "two ways of rounding"),
            ({"x": {"side": "above", "step": 0}}, "greater than 0"),
        ],
    )
    def test_bad_settings(self, variables, message):
        with pytest.raises(ValidationError, match=message):
            CutSettings.model_validate({"variables": variables})

    def test_an_unknown_variable_names_the_nearest(self):
        with pytest.raises(InputError, match=r"no feature 'nois'\. Did you mean 'noise'"):
            check_variables(toy(), CutSettings(variables={"nois": "above"}))

    def test_a_constant_variable(self):
        table = toy()
        features = table.features.copy()
        features[:, 0] = 2.0
        table = dataclasses.replace(table, features=features)
        with pytest.raises(InputError, match="'x' is 2 for every event"):
            check_variables(table, CutSettings(variables={"x": "above"}))
        features[:, 0] = np.nan
        with pytest.raises(InputError, match="'x' is NaN for every event"):
            check_variables(table, CutSettings(variables={"x": "above"}))
        # Where some have a value and some have none, the existence of a value is a cut.
        features[:9, 0] = 2.0
        check_variables(table, CutSettings(variables={"x": "above"}))

    def test_a_start_outside_of_the_values(self):
        with pytest.raises(InputError, match="start 400 of the cut variable 'x' is outside of its values"):
            check_variables(toy(), CutSettings(variables={"x": {"side": "above", "start": 400}}))


class TestEdges:
    @given(
        st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32), st.booleans(), st.booleans()
    )  # fmt: skip
    @given_settings(max_examples=300, deadline=None)
    def test_a_cut_separates_its_neighbours_in_both_precisions(self, one, other, neighbours, below):
        low = np.float32(one)
        high = np.nextafter(low, np.float32(np.inf)) if neighbours else np.float32(other)
        low, high = sorted([low, high])
        if low == high:
            return
        cut = _shortest_between(float(low), float(high))
        assert not low > cut
        assert high > cut
        assert not float(low) > cut
        assert float(high) > cut
        assert not low > np.float32(cut)

    def test_few_digits(self):
        assert _shortest_between(2.93841, 3.40211) == 3
        assert _shortest_between(124.8123, 124.8391) == 124.83
        assert _shortest_between(-np.inf, 2.0) == 1.95
        assert _shortest_between(1.0, 2.0) == 1.5

    @pytest.mark.parametrize("side", ["above", "below"])
    @pytest.mark.parametrize("missing", ["fail", "pass"])
    @pytest.mark.parametrize("rounding", [{}, {"step": 0.25}, {"significant_digits": 1}])
    def test_codes_are_the_cuts_that_are_printed(self, side, missing, rounding):
        table = toy(2, 200, missing=0.2, levels=10)
        made = side_of(table, "y", side=side, missing=missing, **rounding)
        for edge in np.flatnonzero(made.allowed):
            value = made.value(edge)
            cut = Cut("y", *((value, None) if side == "above" else (None, value)), missing)
            np.testing.assert_array_equal(made.code >= edge, cut.passes(table.feature("y")), err_msg=f"{cut}")

    @pytest.mark.parametrize("side", ["above", "below"])
    def test_every_selection_is_there(self, side):
        table = toy(3, 100, missing=0.1)
        y = table.feature("y")
        made = side_of(table, "y", side=side)
        found = {tuple(made.code >= edge) for edge in np.flatnonzero(made.allowed)}
        values = np.sort(y[~np.isnan(y)])
        cuts = [None, values[0] - 1, *values, values[-1] + 1]
        pairs = [(value, None) if side == "above" else (None, value) for value in cuts]
        assert found == {tuple(mask) for pair in pairs if (mask := Cut("y", *pair).passes(y)).any()}

    @pytest.mark.parametrize("step", [0.1, 0.25, 2])
    def test_every_multiple_of_a_step_is_there(self, step):
        table = toy(4, 80)
        x = table.feature("x")
        made = side_of(table, "x", side="below", step=step)
        allowed = np.flatnonzero(made.allowed)
        assert all(round(made.value(edge) / step) * step == pytest.approx(made.value(edge)) for edge in allowed[1:])
        found = {tuple(made.code >= edge) for edge in allowed}
        multiples = np.arange(np.floor(x.min() / step), np.ceil(x.max() / step) + 1) * step
        assert found >= {tuple(mask) for high in multiples if (mask := Cut("x", high=high).passes(x)).any()}

    def test_cuts_have_no_more_digits_than_asked_for(self):
        made = side_of(toy(5), "x", significant_digits=2)
        values = [made.value(edge) for edge in np.flatnonzero(made.allowed)[1:]]
        assert len(values) > 50
        assert all(float(f"{value:.1e}") == value for value in values)

    def test_a_round_number_that_float32_cannot_hold_is_no_cut_where_an_event_lies_on_it(self):
        # In float32 an event at 0.1 fails x > 0.1, in float64 it passes.
        table = toy(6, levels=10)
        values = table.feature("x")
        assert np.float32(0.1) in values
        made = side_of(table, "x", step=0.1)
        cuts = [made.value(edge) for edge in np.flatnonzero(made.allowed)[1:]]
        assert 0.1 not in cuts
        for cut in cuts:
            np.testing.assert_array_equal(values > cut, values.astype(np.float64) > cut)
        assert 0.5 in cuts

    def test_limits(self):
        made = side_of(toy(7), "x", side="below", limits=[0.5, 1.25])
        values = [made.value(edge) for edge in np.flatnonzero(made.allowed)[1:]]
        assert len(values) > 20
        assert min(values) >= 0.5
        assert max(values) <= 1.25

    def test_a_count_is_cut_between_whole_numbers(self):
        made = side_of(toy(8), "jets")
        assert [made.value(edge) for edge in range(4)] == [None, 0.5, 1.5, 2.5]

    def test_windows_have_two_sides(self):
        sides = make_sides(toy(), CutSettings(variables={"x": "window", "y": "below"}))
        assert [(side.variable, side.sign) for side in sides] == [("x", 1), ("x", -1), ("y", -1)]
