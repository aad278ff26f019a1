import dataclasses

import numpy as np
import pytest

from tests.selection.boxes.box_toy import toy
from tests.selection.exact_yields import exact_yields
from zsig_hep.errors import InputError
from zsig_hep.selection import CutSettings, WorkingPointSettings, optimise_cuts
from zsig_hep.selection.boxes import optimise, soft_cuts
from zsig_hep.selection.boxes.results import box_numbers
from zsig_hep.statistics import asimov, weighted_yield

CUTS = CutSettings(variables={"x": "window", "y": "above", "noise": "below"}, starts=1, kicks=0)
QUICK = CUTS.model_copy(update={"sensitivities": False})
SELECTION = exact_yields(sensitivity={"replicas": 3})
OBJECTIVE = SELECTION.objective


def found(table, settings=QUICK, selection=SELECTION, seed=0):
    return optimise_cuts(table, settings, selection, np.random.default_rng(seed))


@pytest.fixture(scope="module", autouse=True)
def _short_ascent():
    """Few steps of the gradient ascent, which says only where the exact search starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soft_cuts, "_STEPS", 3)
        yield


@pytest.fixture(scope="module")
def table():
    return toy(1, 600, signed=True, missing=0.1, folds=3)


@pytest.fixture(scope="module")
def result(table):
    return found(table, CUTS)


class TestNumbers:
    def test_held_out_numbers_are_those_of_the_folds_that_did_not_choose(self, table, result):
        held_out = result.held_out
        assert (held_out.status, held_out.reason, len(held_out.boxes)) == ("ok", "", 3)
        passing = np.zeros(len(table), dtype=bool)
        for fold, box in enumerate(held_out.boxes):
            passing |= (table.fold == fold) & box.select(table)
        np.testing.assert_array_equal(held_out.select(table), passing)
        for row, name in enumerate(table.process_names):
            expected = weighted_yield(table.weight[passing & (table.process == row)])
            assert held_out.yields[name].value == pytest.approx(expected.value, rel=1e-12)
            assert held_out.yields[name].variance == pytest.approx(expected.variance, rel=1e-12)
            assert held_out.yields[name].entries == expected.entries
        s, b = held_out.signal.value, held_out.background.value
        assert held_out.significance == pytest.approx(float(asimov(s, b)), rel=1e-12)
        assert held_out.signal_efficiency == pytest.approx(s / table.weight[table.is_signal].sum(), rel=1e-12)
        assert held_out.purity == pytest.approx(s / (s + b), rel=1e-12)

    def test_choosing_significance_is_that_of_the_other_folds_at_full_luminosity(self, table, result):
        values = []
        for fold, box in enumerate(result.held_out.boxes):
            others = table.select(table.fold != fold)
            others = dataclasses.replace(others, weight=others.weight * 3 / 2)
            values.append(box_numbers(others, box.select(others), OBJECTIVE)["significance"])
        assert result.held_out.choosing_significance == pytest.approx(np.mean(values), rel=1e-9)
        assert result.held_out.optimism == pytest.approx(np.mean(values) - result.held_out.significance, rel=1e-9)

    def test_chosen_numbers_are_those_of_the_printed_cuts(self, table, result):
        events = {name: table.feature(name) for name in table.feature_names}
        passing = eval(result.chosen.box.python(), {"events": events})
        z = float(asimov(*(table.weight[passing & mask].sum() for mask in (table.is_signal, table.is_background))))
        assert result.chosen.significance == pytest.approx(z, rel=1e-12)
        assert result.chosen.significance >= result.cutflow[0].significance

    def test_the_cuts_of_a_fold_do_not_know_its_events(self, table, result):
        fold, rng = 1, np.random.default_rng(1)
        inside = table.fold == fold
        features = table.features.copy()
        features[inside] = rng.normal(size=features[inside].shape)
        changed = dataclasses.replace(table, features=features, weight=np.where(inside, 3 * table.weight, table.weight))
        assert found(changed).held_out.boxes[fold] == result.held_out.boxes[fold]

    def test_data_change_nothing(self, table, result):
        count = len(table)
        grown = table.select(np.concatenate([np.arange(count), np.arange(200)]))
        process = grown.process.copy()
        process[count:] = 3
        roles = (*table.roles, "data")
        names = (*table.process_names, "data")
        grown = dataclasses.replace(grown, process=process, process_names=names, roles=roles, labels=names)
        other = found(grown, CUTS)
        assert other.chosen == result.chosen
        assert other.held_out == result.held_out
        # A second run with the same generator, so that the replicas are the same too.
        assert other.sensitivities == result.sensitivities
        assert list(other.n_minus_one["x"].histogram.axes["process"]) == list(table.process_names)


class TestCutflow:
    def test_steps_add_up(self, table, result):
        for flow, end in ((result.cutflow, result.chosen), (result.held_out_cutflow, result.held_out)):
            assert flow[0].variable is None
            assert flow[0].signal_efficiency == 1
            assert flow[-1].significance == pytest.approx(end.significance, rel=1e-12)
            assert flow[-1].yields["dy"].entries == end.yields["dy"].entries
            entries = [step.background.entries for step in flow]
            assert entries == sorted(entries, reverse=True)
        assert all(step.cut == result.chosen.box.cut(step.variable) for step in result.cutflow[1:])
        shared = [step.variable for step in result.cutflow]
        closed = {cut.variable for box in result.held_out.boxes for cut in box.cuts if not cut.is_open}
        held_out = [step.variable for step in result.held_out_cutflow]
        assert held_out[: len(shared)] == shared
        assert set(held_out) == {*shared, *closed}
        assert "noise" not in held_out


class TestNMinusOne:
    def test_every_variable_has_the_other_cuts(self, table, result):
        box = result.chosen.box
        for name, each in result.n_minus_one.items():
            events = table.select(box.select(table, without=[name]))
            has_value = np.isfinite(events.feature(name))
            for row, process in enumerate(table.process_names):
                total = each.histogram[process, :].sum(flow=True)
                expected = events.weight[has_value & (events.process == row)]
                assert total.value == pytest.approx(expected.sum(), rel=1e-9, abs=1e-12)
            assert each.cut == box.cut(name)
        assert list(result.n_minus_one) == list(CUTS.variables)

    def test_curves_go_through_the_cut(self, table, result):
        for each in result.n_minus_one.values():
            for curve in each.curves:
                chosen = result.chosen.significance
                assert curve.significance[curve.qualifies].max() >= chosen * (1 - 1e-9)
                assert np.isfinite(curve.position).all()
                assert np.all(np.diff(curve.position) * (1 if curve.side == "low" else -1) >= 0)
                if curve.cut is not None:
                    nearest = np.abs(curve.position - curve.cut) < 0.05
                    assert curve.significance[nearest] == pytest.approx(chosen, rel=0.1)
        assert [curve.side for curve in result.n_minus_one["x"].curves] == ["low", "high"]


class TestStatus:
    def test_nothing_qualifies(self):
        selection = WorkingPointSettings(minimum_effective_background=1e5)
        result = found(toy(3, 300), selection=selection)
        assert result.chosen.status == result.held_out.status == "no_box_qualifies"
        assert result.chosen.box is result.chosen.significance is result.sensitivities is None
        assert result.held_out.boxes == (None,) * 4
        assert result.cutflow == result.held_out_cutflow == ()
        assert result.n_minus_one == {}
        assert "100000 are required (minimum_effective_background)" in result.chosen.reason
        assert result.held_out.reason.startswith(
            "no cuts could be chosen for fold 0, 1, 2, 3 of 4; for fold 0: with signal"
        )

    def test_a_held_out_selection_without_background(self, monkeypatch):
        # The tightest cut of each fold stands among signal events that lie above all others.
        def tightest(problem, generator):
            return np.array([side.allowed.size - 1 for side in problem.sides]), 1.0

        monkeypatch.setattr(optimise, "_choose", tightest)
        table = toy(4, 400)
        features = table.features.copy()
        features[:, 1] = np.where(table.is_signal, 10 + features[:, 2], features[:, 1])
        table = dataclasses.replace(table, features=features)
        result = found(table, CutSettings(variables={"y": "above"}, sensitivities=False))
        assert result.held_out.status == "no_held_out_background"
        assert result.held_out.significance is result.held_out.signal is None
        assert "no finite significance exists" in result.held_out.reason
        assert result.held_out_cutflow == ()
        assert len(result.held_out.boxes) == 4

    def test_a_fold_without_signal_outside(self):
        table = toy(5, 400)
        weight = np.where(table.is_signal & (table.fold != 2), -table.weight, 100 * table.weight)
        with pytest.raises(
            InputError, match=r"The cuts of fold 2 cannot be chosen on the other folds\. The signal yield"
        ):
            found(dataclasses.replace(table, weight=np.where(table.is_background, table.weight, weight)))

    def test_bad_input(self):
        with pytest.raises(InputError, match="no feature 'z'"):
            found(toy(), CutSettings(variables={"z": "above"}))
        uncertain = {"figure_of_merit": "asimov_with_uncertainty", "background_uncertainties": {"dyy": 0.1}}
        with pytest.raises(InputError, match="background_uncertainties names 'dyy'"):
            found(toy(), selection=WorkingPointSettings(**uncertain))
        varied = {"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True}
        with pytest.raises(InputError, match="cannot include systematic variations"):
            found(toy(), selection=WorkingPointSettings(**varied))


class TestHonesty:
    def test_variables_that_know_nothing_show_the_optimism_of_the_search(self):
        settings = CutSettings(
            variables={"a": "above", "b": "below"}, minimum_pull=0, starts=1, kicks=0, sensitivities=False
        )
        optimism = []
        for seed in range(4):
            table = toy(seed, 200, folds=3)
            noise = np.random.default_rng(seed).normal(size=(200, 2)).astype(np.float32)
            table = dataclasses.replace(table, features=noise, feature_names=("a", "b"))
            optimism.append(found(table, settings).held_out.optimism)
        assert np.mean(optimism) > 2 * np.std(optimism, ddof=1) / np.sqrt(len(optimism))


def test_rounded_cuts_are_quoted_as_they_are_printed_and_in_the_given_order(table):
    settings = CutSettings(
        variables={"y": {"side": "above", "significant_digits": 1}, "x": {"side": "window", "step": 0.5}},
        starts=1, kicks=0, sensitivities=False, cutflow_order="given",
    )  # fmt: skip
    result = found(table, settings)
    for box in (result.chosen.box, *result.held_out.boxes):
        x, y = box.cut("x"), box.cut("y")
        assert all(value is None or (2 * value).is_integer() for value in (x.low, x.high))
        assert y.low is None or float(f"{y.low:.0e}") == y.low
    numbers = box_numbers(table, result.chosen.box.select(table), OBJECTIVE)
    assert result.chosen.significance == numbers["significance"]
    assert [step.variable for step in result.cutflow] == [None, "y", "x"]
    # By gain the window would come first.
    x_first, y_first = (
        box_numbers(table, result.chosen.box.select(table, without=[other]), OBJECTIVE)["significance"]
        for other in ("y", "x")
    )
    assert x_first > y_first
