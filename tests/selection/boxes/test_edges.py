import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from tests.selection.boxes.box_toy import toy
from zsig_hep.errors import InputError
from zsig_hep.selection import Cut, CutSettings
from zsig_hep.selection.boxes.edges import _shortest_between, allowed_between, check_variables, make_sides


def side_of(table, variable, **options):
    (side,) = make_sides(table, CutSettings(variables={variable: {"side": "above"} | options}))
    return side


class TestVariables:
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

    def test_data_do_not_make_a_variable_vary(self):
        table = toy()
        features = table.features.copy()
        features[:, 0] = np.where(table.is_signal, 3.0, 2.0)
        table = dataclasses.replace(
            table, features=features, process=np.where(table.is_signal, 2, 1).astype(np.int32),
            roles=("signal", "background", "data"),
        )  # fmt: skip
        with pytest.raises(InputError, match="'x' is 2 for every event"):
            check_variables(table, CutSettings(variables={"x": "above"}))


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
        assert _shortest_between(2.0, np.inf) == 2.05
        assert _shortest_between(0.0, np.inf) == 0.03
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

    def test_round_numbers_next_to_each_value_and_one_beyond_both_ends(self):
        table = toy(4, 60).select(np.arange(3))
        table = dataclasses.replace(table, features=np.array([[0.13], [1.0], [27.0]], "f4"), feature_names=("x",))
        np.testing.assert_allclose(
            side_of(table, "x", significant_digits=1).lower, [-np.inf, 0, 0.1, 0.2, 1, 20, 30, 40]
        )  # fmt: skip
        below = side_of(table, "x", side="below", step=0.5)
        np.testing.assert_allclose(below.lower, [-np.inf, -27.5, -27, -1, -0.5, 0, 0.5])

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
        assert 0.5 <= min(values) < 0.55
        assert 1.2 < max(values) <= 1.25

    def test_a_count_is_cut_between_whole_numbers(self):
        made = side_of(toy(8), "jets")
        assert [made.value(edge) for edge in range(4)] == [None, 0.5, 1.5, 2.5]

    def test_windows_have_two_sides(self):
        sides = make_sides(toy(), CutSettings(variables={"x": "window", "y": "below"}))
        assert [(side.variable, side.sign) for side in sides] == [("x", 1), ("x", -1), ("y", -1)]

    def test_a_position_is_that_of_the_edge_above_which_it_lies(self):
        made = side_of(toy(9, 60), "x")
        values = np.sort(made.score)
        for position in (values[0], *(values[:-1] + values[1:]) / 2):
            edge = made.edge_at(position)
            np.testing.assert_array_equal(made.code >= edge, made.score > position)
        # Above all events nothing stands; the tightest edge still selects the last of them.
        assert made.edge_at(values[-1] + 1) == made.allowed.size - 1

    @pytest.mark.parametrize(("side", "start", "v"), [("above", 0.5, 0.5), ("below", 0.5, -0.5)])
    def test_a_start_is_in_the_coordinate_of_the_side(self, side, start, v):
        assert side_of(toy(), "x", side=side, start=start).start == v
        low, high = make_sides(toy(), CutSettings(variables={"x": {"side": "window", "start": [-0.5, None]}}))
        assert (low.start, high.start) == (-0.5, None)

    def test_the_range_is_that_of_finite_values(self):
        table = toy(3, 100, missing=0.3)
        y = table.feature("y").astype(np.float64)
        assert side_of(table, "y", side="below", missing="pass").range == (-np.nanmax(y), -np.nanmin(y))


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(-1, 11), st.integers(0, 11))
def test_an_allowed_edge_between_two(allowed, above, upto):
    allowed = np.array([True, *allowed[1:]])
    inside = [edge for edge in range(above + 1, upto + 1) if edge < allowed.size and allowed[edge]]
    found = int(allowed_between(allowed, np.array([above]), np.array([upto]))[0])
    assert found == (inside[len(inside) // 2] if inside else -1)
