import numpy as np
import pytest

from tests.selection.boxes.box_toy import toy
from zsig_hep.selection import Box, Cut, HeldOutBox
from zsig_hep.selection.boxes.results import box_numbers, make_cutflow
from zsig_hep.statistics import Objective, asimov, weighted_yield

OBJECTIVE = Objective()


@pytest.fixture(scope="module")
def table():
    return toy(1, 600, signed=True, missing=0.1, folds=3)


class TestHeldOutBox:
    BOXES = (Box((Cut("x", -0.5, 0.7), Cut("y", low=0.1))), None, Box((Cut("x", high=0.2), Cut("y"))))

    def test_events_pass_the_cuts_of_their_own_fold(self, table):
        found = HeldOutBox(status="ok", boxes=self.BOXES).select(table)
        x, y = table.feature("x"), table.feature("y")
        expected = np.select(
            [table.fold == 0, table.fold == 2], [(x > -0.5) & (x < 0.7) & (y > 0.1), x < 0.2], default=False
        )
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("only", [["x"], ["y"], []])
    def test_or_some_of_them(self, table, only):
        found = HeldOutBox(status="ok", boxes=self.BOXES).select(table, only=only)
        x, y = table.feature("x"), table.feature("y")
        nothing = np.ones(len(table), dtype=bool)
        of_first = ((x > -0.5) & (x < 0.7) if "x" in only else nothing) & (y > 0.1 if "y" in only else nothing)
        of_last = x < 0.2 if "x" in only else nothing
        expected = np.select([table.fold == 0, table.fold == 2], [of_first, of_last], default=False)
        np.testing.assert_array_equal(found, expected)


class TestNumbers:
    def test_of_some_events(self, table):
        selected = table.feature("x") < 0.4
        numbers = box_numbers(table, selected, OBJECTIVE)
        signal = weighted_yield(table.weight[selected & table.is_signal])
        background = weighted_yield(table.weight[selected & table.is_background])
        assert numbers["signal"] == signal
        assert numbers["background"].value == pytest.approx(background.value, rel=1e-12)
        assert numbers["significance"] == pytest.approx(float(asimov(signal.value, background.value)), rel=1e-12)
        efficiencies = [
            table.weight[selected & role].sum() / table.weight[role].sum()
            for role in (table.is_signal, table.is_background)
        ]
        found = [numbers["signal_efficiency"], numbers["background_efficiency"]]
        assert found == pytest.approx(efficiencies, rel=1e-12)

    def test_of_none(self, table):
        numbers = box_numbers(table, np.zeros(len(table), dtype=bool), OBJECTIVE)
        assert (numbers["signal"].value, numbers["background"].entries) == (0, 0)
        assert numbers["purity"] is None


class TestCutflow:
    CUTS = {"noise": Cut("noise", high=0.5), "y": Cut("y", low=0.4), "x": Cut("x", -0.6, 0.6)}  # noqa: RUF012

    def passes(self, table):
        return {name: cut.passes(table.feature(name)) for name, cut in self.CUTS.items()}

    @pytest.mark.parametrize("by_gain", [True, False])
    def test_each_step_is_what_all_cuts_so_far_leave(self, table, by_gain):
        passes = self.passes(table)
        flow = make_cutflow(table, passes, self.CUTS, OBJECTIVE, by_gain=by_gain)
        left = np.ones(len(table), dtype=bool)
        assert (flow[0].variable, flow[0].cut, flow[0].signal_efficiency) == (None, None, 1.0)
        for step in flow[1:]:
            if by_gain:
                gains = {
                    name: box_numbers(table, left & passes[name], OBJECTIVE)["significance"]
                    for name in self.CUTS
                    if name not in {earlier.variable for earlier in flow[: flow.index(step)]}
                }
                assert step.variable == max(gains, key=gains.get)
            left &= passes[step.variable]
            numbers = box_numbers(table, left, OBJECTIVE)
            assert {name: getattr(step, name) for name in numbers} == numbers
            assert step.cut == self.CUTS[step.variable]
        assert len(flow) == 4
        assert by_gain or [step.variable for step in flow[1:]] == list(self.CUTS)

    def test_a_step_without_significance_comes_last(self, table):
        passes = self.passes(table) | {"noise": table.is_signal}
        flow = make_cutflow(table, passes, {}, OBJECTIVE, by_gain=True)
        assert [step.variable for step in flow][-1] == "noise"
        assert flow[-1].significance is flow[-1].cut is None
