import dataclasses

import numpy as np
import pytest
import torch

from tests.selection.exact_yields import exact_yields
from zsig_hep.errors import InputError
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    choose_working_point,
    cut_sensitivities,
    scan_thresholds,
)
from zsig_hep.selection.smooth_figure import SmoothFigure
from zsig_hep.selection.thresholds.sensitivity import _replicas
from zsig_hep.statistics import ProcessTable

NAMES, ROLES = ("higgs", "dy", "zh", "top"), ("signal", "background", "signal", "background")
TOTALS, CENTRES = (20.0, 1500.0, 10.0, 300.0), (1.5, -0.5, 1.0, 0.4)
PLAIN = exact_yields(sensitivity={"replicas": 10})
DEFAULT = WorkingPointSettings(sensitivity={"replicas": 10})
UNCERTAIN = exact_yields(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"dy": 0.03, "top": 0.3},
    relative_background_uncertainty=0.05,
    minimum_effective_background=2,
    sensitivity={"replicas": 10},
)


def toy(seed=1, events=500, totals=TOTALS, centres=CENTRES, score=None):
    rng = np.random.default_rng(seed)
    process = np.repeat(np.arange(4), events)
    drawn = rng.normal(np.repeat(centres, events)) if score is None else score(rng, process)
    return ScoredEvents.from_arrays(
        drawn, np.repeat(np.array(totals) / events, events), process, names=NAMES, roles=ROLES
    )


def sensitivities(events, settings, seed=0):
    return cut_sensitivities(events, settings, np.random.default_rng(seed))


def impacts(settings=PLAIN, seed=0, replicas=10, sample=1, **options):
    sensitivity = settings.sensitivity.model_copy(update={"replicas": replicas})
    return sensitivities(toy(seed=sample, **options), settings.model_copy(update={"sensitivity": sensitivity}), seed)


def by_parameter(table):
    return {(row.parameter.kind, row.parameter.process): row for row in table.rows}


def total(table, kind, name):
    return sum(getattr(row, name) for row in table.rows if row.parameter.kind == kind)


class TestTable:
    def test_without_uncertainties_the_luminosity_moves_no_cut_and_half_of_z(self):
        found = impacts()
        luminosity = by_parameter(found)["luminosity", None]
        assert found.status == "ok"
        assert luminosity.significance_slope == pytest.approx(found.significance / 2, rel=1e-12)
        assert (luminosity.cut_slope, luminosity.cut_slope_uncertainty) == (0.0, 0.0)
        assert total(found, "cross_section", "significance_slope") == pytest.approx(
            luminosity.significance_slope, rel=1e-12
        )
        assert abs(total(found, "cross_section", "cut_slope")) < 1e-10

    def test_with_the_simulation_in_the_figure_luminosity_is_worth_less_than_half_of_z(self):
        found = impacts(DEFAULT)
        luminosity = by_parameter(found)["luminosity", None]
        assert found.status == "ok"
        assert 0.1 * found.significance < luminosity.significance_slope < 0.4 * found.significance
        # sum w^2 grows faster than the yields: like a relative uncertainty it makes purer cuts better.
        assert luminosity.cut_slope > 0
        for name in ("significance_slope", "cut_slope"):
            expected = getattr(luminosity, name)
            assert total(found, "cross_section", name) == pytest.approx(expected, rel=1e-9)

    def test_uncertainties_take_from_the_luminosity_what_dimensions_demand(self):
        # Z(l y, k / sqrt(l)) = sqrt(l) Z(y, k), and the cut stays.
        found = impacts(UNCERTAIN)
        luminosity = by_parameter(found)["luminosity", None]
        uncertain = total(found, "uncertainty", "significance_slope")
        assert uncertain < 0
        assert luminosity.significance_slope == pytest.approx((found.significance + uncertain) / 2, rel=1e-10)
        assert luminosity.cut_slope == pytest.approx(total(found, "uncertainty", "cut_slope") / 2, rel=1e-9)
        assert total(found, "cross_section", "significance_slope") == pytest.approx(
            luminosity.significance_slope, rel=1e-10
        )
        assert total(found, "cross_section", "cut_slope") == pytest.approx(luminosity.cut_slope, rel=1e-9)

    def test_rows_are_ranked_and_signed(self):
        found = impacts(UNCERTAIN)
        sizes = [abs(row.significance_slope) for row in found.rows]
        assert sizes == sorted(sizes, reverse=True)
        rows = by_parameter(found)
        assert rows["cross_section", "higgs"].significance_slope > 0 > rows["cross_section", "top"].significance_slope
        # The distrusted background is what a larger uncertainty tightens the cut against.
        assert rows["uncertainty", "top"].cut_slope > 0
        top = rows["cross_section", "top"]
        assert top.shift == pytest.approx(0.3 * top.significance_slope, rel=1e-15)
        assert rows["uncertainty", "top"].shift is rows["cross_section", "higgs"].shift is None

    def test_the_bandwidth_follows_the_score(self):
        events = toy()
        first = sensitivities(events, PLAIN)
        second = sensitivities(dataclasses.replace(events, score=7 * events.score - 3), PLAIN)
        assert second.cut == pytest.approx(7 * first.cut - 3, rel=1e-9)
        assert second.bandwidth == pytest.approx(7 * first.bandwidth, rel=1e-9)
        for one, other in zip(first.rows, second.rows, strict=True):
            assert other.significance_slope == pytest.approx(one.significance_slope, rel=1e-9)
            assert other.cut_slope == pytest.approx(7 * one.cut_slope, rel=1e-8, abs=1e-12)
        cut = choose_working_point(scan_thresholds(events, PLAIN), PLAIN).threshold
        above = events.processes.is_signal[events.process] & (events.score >= cut)
        excess = np.average(events.score[above] - cut, weights=events.weight[above])
        assert first.bandwidth == pytest.approx(0.3 * excess, rel=1e-12)

    def test_errors_are_those_of_other_samples(self):
        many = [by_parameter(impacts(sample=sample, replicas=2, events=400)) for sample in range(12)]
        quoted = by_parameter(impacts(replicas=60, events=400, sample=3))
        for name in ("higgs", "dy", "top"):
            spread = np.std([each["cross_section", name].significance_slope for each in many], ddof=1)
            assert quoted["cross_section", name].significance_slope_uncertainty == pytest.approx(spread, rel=0.5)

    def test_the_same_generator_gives_the_same_table(self):
        first, second = impacts(seed=4), impacts(seed=5)
        assert impacts(seed=4) == first
        assert first.cut == second.cut
        assert first.rows[0].significance_slope == second.rows[0].significance_slope
        assert first.rows[0].significance_slope_uncertainty != second.rows[0].significance_slope_uncertainty

    def test_the_cut_with_other_bandwidths_is_that_of_half_and_twice_the_bandwidth(self):
        found, half, double = (impacts(with_bandwidth(PLAIN, 0.3 * factor)) for factor in (1, 0.5, 2))
        rows = by_parameter(found), by_parameter(half), by_parameter(double)
        for place, row in rows[0].items():
            expected = [each[place].cut_slope for each in rows[1:]]
            assert row.cut_slope_with_bandwidths == pytest.approx(expected, rel=1e-9, abs=1e-12)

    def test_data_change_nothing(self):
        events = toy()
        count = len(events)
        grown = events.select(np.concatenate([np.arange(count), np.arange(50)]))
        grown = dataclasses.replace(
            grown,
            process=np.concatenate([events.process, np.full(50, 4)]),
            processes=ProcessTable((*NAMES, "data"), (*ROLES, "data")),
        )
        assert sensitivities(grown, PLAIN) == sensitivities(events, PLAIN)


def with_bandwidth(settings, relative):
    sensitivity = settings.sensitivity.model_copy(update={"relative_bandwidth": relative})
    return settings.model_copy(update={"sensitivity": sensitivity})


class TestStatus:
    def test_no_working_point(self):
        found = impacts(PLAIN.model_copy(update={"minimum_effective_background": 1e6}))
        assert (found.status, found.rows, found.cut) == ("no_working_point", (), None)
        assert "1e+06 are required" in found.reason

    def test_requirements_that_hold_the_cut(self):
        found = impacts(PLAIN.model_copy(update={"minimum_signal_efficiency": 0.9}))
        assert found.status == "limited"
        assert found.reason.startswith("Z rises up to the tightest cut that the requirements")
        assert {row.cut_slope for row in found.rows} == {row.cut_slope_uncertainty for row in found.rows} == {None}
        # The envelope still holds: the requirement does not move with the parameters.
        luminosity = by_parameter(found)["luminosity", None]
        assert luminosity.significance_slope == pytest.approx(found.significance / 2, rel=1e-12)
        assert found.residual > 1e-3

    def test_a_score_that_tells_nothing_apart_is_limited_at_the_loosest_cut(self):
        found = impacts(centres=(0.0, 0.0, 0.0, 0.0))
        assert found.status == "limited"
        assert "the loosest cut" in found.reason

    def test_a_flat_figure_of_merit(self):
        # With s(t) = exp(-t) and b(t) = exp(-2t), s / sqrt(b) is the same for every cut.
        def score(rng, process):
            quantiles = (np.arange(4000) + 0.5) / 4000
            return np.concatenate([-np.log(quantiles) / rate for rate in (1.0, 2.0, 1.0, 2.0)])

        options = exact_yields(figure_of_merit="s_over_sqrt_b", minimum_effective_background=1500)
        found = impacts(with_bandwidth(options, 0.02), events=4000, score=score, replicas=2)
        assert found.status == "flat"
        assert "no cut is preferred" in found.reason
        assert found.rows[0].cut_slope is None
        assert found.rows[0].significance_slope is not None

    @pytest.mark.parametrize(("share", "status"), [(0.1, "ok"), (0.18, "several_maxima")])
    def test_two_maxima(self, share, status):
        # Part of the signal lies far up, behind an island of background.
        def score(rng, process):
            signal, place = process % 2 == 0, rng.random(process.size)
            far = rng.normal(np.where(signal | (place < 0.003), 6.0, 3.5), 0.4)
            return np.where(place < np.where(signal, share, 0.03), far, rng.normal(np.where(signal, 1.5, -0.5)))

        settings = PLAIN.model_copy(update={"minimum_effective_background": 3})
        found = impacts(
            with_bandwidth(settings, 0.1), score=score, totals=(20.0, 900.0, 10.0, 300.0), events=3000, replicas=50
        )  # fmt: skip
        assert found.status == status
        assert found.cut < 2
        assert found.runner_up.cut > 4
        assert found.runner_up.significance < found.significance
        assert ("the cut may jump" in found.reason) is (status != "ok")
        assert found.rows[0].cut_slope is not None

    def test_a_kink_between_two_hypotheses(self):
        # One signal prefers a tight cut, the other dies there: the smallest is largest where both are equal.
        def score(rng, process):
            return rng.normal(np.array([2.5, -0.5, 0.3, -0.5])[process], np.array([0.6, 1.0, 0.6, 1.0])[process])

        found = impacts(
            PLAIN.model_copy(update={"signals": "minimum", "minimum_signal_efficiency": 0}),
            score=score, totals=(6.0, 900.0, 20.0, 300.0), events=400, replicas=3,
        )  # fmt: skip
        assert found.status == "kink"
        assert "the smallest significance changes" in found.reason
        assert {row.significance_slope for row in found.rows} == {row.cut_slope for row in found.rows} == {None}


class EveryEventOnce:
    """A source of randomness in which all counts are one."""

    def poisson(self, mean, size):
        assert mean == 1.0
        return np.ones(size, dtype=np.int64)


def test_a_replica_that_counts_every_event_once_is_the_sample():
    events = toy()
    objective = dataclasses.replace(UNCERTAIN.objective, simulation_uncertainty_in_figure=True)
    grid = torch.linspace(0.0, 2.5, 12, dtype=torch.float64)
    figure = SmoothFigure.of_events(events, 0.2, objective)
    found = _replicas(events, figure, grid, 2, EveryEventOnce()).on_grid(grid)
    assert found.shape == (12, 2)
    # But for bins, which are much narrower than the bandwidth.
    np.testing.assert_allclose(found, figure.on_grid(grid).expand(12, 2), rtol=3e-3)


def test_scores_that_run_too_far_are_refused():
    events = toy()
    score = events.score.copy()
    score[-1] = -1e6
    with pytest.raises(InputError, match="too far for a smoothing"):
        sensitivities(dataclasses.replace(events, score=score), PLAIN)


def test_an_exact_tail_is_differentiated_as_the_asimov_significance_that_it_tends_to():
    tables = []
    for figure in ("poisson_with_uncertainty", "asimov_with_uncertainty"):
        settings = exact_yields(
            figure_of_merit=figure,
            background_uncertainties={"dy": 0.03, "top": 0.3},
            minimum_effective_background=2,
            sensitivity={"replicas": 2},
        )
        tables.append(sensitivities(toy(), settings))
    assert tables[0].status == tables[1].status == "ok"
    assert tables[0].figure_of_merit == tables[1].figure_of_merit == "asimov_with_uncertainty"
    # The bandwidth follows from the working point, whose cut is that of the exact figure.
    first, second = (sorted(each.rows, key=lambda row: str(row.parameter)) for each in tables)
    for one, other in zip(first, second, strict=True):
        assert one.significance_slope == pytest.approx(other.significance_slope, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("figure", ["ams", "punzi"])
def test_regularised_figures_are_differentiated_themselves(figure):
    settings = WorkingPointSettings(figure_of_merit=figure, minimum_effective_background=2, sensitivity={"replicas": 2})
    found = sensitivities(toy(), settings)
    assert found.status == "ok"
    assert found.figure_of_merit == figure
    # Unlike Z_A, which scales with its root, these do not leave the cut where it is when the luminosity changes.
    (luminosity,) = [row for row in found.rows if row.parameter.kind == "luminosity"]
    assert abs(luminosity.cut_slope) > 1e-3
