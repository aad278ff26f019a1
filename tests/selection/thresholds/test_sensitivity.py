import dataclasses

import numpy as np
import pytest
import torch

from zsig_hep.errors import InputError
from zsig_hep.learning.implicit.argmin import argmax
from zsig_hep.ntuples import EventTable
from zsig_hep.selection import WorkingPointSettings, choose_working_point, cut_sensitivities, scan_thresholds
from zsig_hep.selection.events import Events
from zsig_hep.selection.smooth_figure import Parameter, SmoothFigure
from zsig_hep.statistics import asimov_with_uncertainty

NAMES = ("higgs", "dy", "zh", "top")
ROLES = ("signal", "background", "signal", "background")
TOTALS = (20.0, 1500.0, 10.0, 300.0)
CENTRES = (1.5, -0.5, 1.0, 0.4)
PLAIN = WorkingPointSettings(sensitivity={"replicas": 10})
UNCERTAIN = WorkingPointSettings(
    figure_of_merit="asimov_with_uncertainty",
    background_uncertainties={"dy": 0.03, "top": 0.3},
    relative_background_uncertainty=0.05,
    minimum_effective_background=2,
    sensitivity={"replicas": 10},
)
BANDWIDTH = 0.15
GRID = torch.linspace(0.5, 3.0, 60, dtype=torch.float64)


def toy_events(scale=(1.0, 1.0, 1.0, 1.0), events=250, totals=TOTALS):
    """Scores at the quantiles of a normal distribution, so that the smoothed yields are smooth indeed."""
    quantiles = torch.special.ndtri((torch.arange(events, dtype=torch.float64) + 0.5) / events).numpy()
    score = np.concatenate([quantiles + centre for centre in CENTRES])
    weight = np.concatenate([np.full(events, s * total / events) for s, total in zip(scale, totals, strict=True)])
    return Events(score, weight, np.repeat(np.arange(4), events))


def figure_of(settings, scale=(1.0, 1.0, 1.0, 1.0)):
    return SmoothFigure.of_events(toy_events(scale), BANDWIDTH, NAMES, ROLES, settings)


def maximum(figure):
    """t* and Z(t*)."""
    cut = figure.maximum(GRID, figure.on_grid(GRID))
    return float(cut), float(figure(cut))


def rescaled(settings, parameter, by):
    """The figure of merit with one parameter multiplied, by changing events and settings themselves."""
    scale = [by if parameter.kind == "luminosity" or parameter.process == name else 1.0 for name in NAMES]
    if parameter.kind != "uncertainty":
        return figure_of(settings, scale)
    if parameter.process is None:
        common = settings.relative_background_uncertainty * by
        return figure_of(settings.model_copy(update={"relative_background_uncertainty": common}))
    own = {
        name: k * (by if name == parameter.process else 1.0) for name, k in settings.background_uncertainties.items()
    }
    return figure_of(settings.model_copy(update={"background_uncertainties": own}))


def variants():
    for figure in ("s_over_sqrt_b", "asimov"):
        yield WorkingPointSettings(figure_of_merit=figure)
    for figure in ("s_over_sqrt_b_with_uncertainty", "asimov_with_uncertainty"):
        uncertain = UNCERTAIN.model_dump() | {"figure_of_merit": figure}
        yield WorkingPointSettings.model_validate(uncertain)
        yield WorkingPointSettings.model_validate(uncertain | {"simulation_uncertainty_in_figure": True})
    for signals in ("mean", "minimum"):
        yield WorkingPointSettings.model_validate(UNCERTAIN.model_dump() | {"signals": signals})


class TestSmoothFigure:
    def test_one_cut_by_hand(self):
        events, cut = toy_events(), 1.3
        passing = 1 / (1 + np.exp(-(events.score - cut) / BANDWIDTH))
        s1, dy, s2, top = (float((events.weight * passing)[events.process == row].sum()) for row in range(4))
        sigma = np.sqrt((0.03 * dy) ** 2 + (0.3 * top) ** 2 + (0.05 * (dy + top)) ** 2)
        found = figure_of(UNCERTAIN)(torch.tensor([cut], dtype=torch.float64))
        assert float(found) == pytest.approx(float(asimov_with_uncertainty(s1 + s2, dy + top, sigma)), rel=1e-13)

    def test_a_narrow_bandwidth_is_the_scan(self):
        events = toy_events()
        figure = SmoothFigure.of_events(events, 1e-7, NAMES, ROLES, UNCERTAIN)
        scan = scan_thresholds(
            events.score, events.weight, events.process, process_names=NAMES, roles=ROLES, settings=UNCERTAIN
        )
        rows = np.arange(0, 800, 37)
        # Between two scores, where no event is half selected.
        cuts = torch.tensor((scan.threshold[rows] + scan.threshold[rows + 1]) / 2)
        found = figure.on_grid(cuts)[:, 0].numpy()
        np.testing.assert_allclose(found, scan.significance[rows + 1], rtol=1e-9)

    @pytest.mark.parametrize("settings", list(variants()))
    def test_the_grid_holds_the_function(self, settings):
        figure = figure_of(settings)
        expected = torch.stack([figure(cut[None]) for cut in GRID[::7]])
        torch.testing.assert_close(figure.on_grid(GRID[::7]), expected, rtol=1e-12, atol=0)

    @pytest.mark.parametrize("settings", list(variants()))
    def test_derivatives_are_those_of_optimising_again(self, settings):
        figure = figure_of(settings)
        cut, best = maximum(figure)
        found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
        assert abs(float(found.cut)) < 1e-12
        assert float(found.cut_cut) < 0
        assert float(found.value) == best
        step = 1e-4
        for index, parameter in enumerate(figure.parameters):
            up, down = (maximum(rescaled(settings, parameter, np.exp(sign * step))) for sign in (1, -1))
            assert float(found.parameters[0, index]) == pytest.approx(
                (up[1] - down[1]) / (2 * step), rel=1e-6, abs=1e-8
            )
            assert float(found.answer[0, index]) == pytest.approx((up[0] - down[0]) / (2 * step), rel=1e-6, abs=1e-8)

    def test_the_general_derivative_of_an_argmax_agrees(self):
        figure = figure_of(UNCERTAIN)
        cut, _ = maximum(figure)
        theta = torch.zeros(len(figure.parameters), dtype=torch.float64, requires_grad=True)
        result = argmax(
            lambda t, p: figure(t[None], p[None])[0], torch.tensor(cut, dtype=torch.float64), theta
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(result.value, theta)
        found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
        torch.testing.assert_close(gradient, found.answer[0], rtol=1e-10, atol=1e-14)

    def test_a_kept_cut_a_linear_one_and_the_best_after_half_as_much_again(self):
        figure = figure_of(PLAIN)
        cut, _ = maximum(figure)
        found = figure.derivatives(torch.tensor([cut], dtype=torch.float64))
        index = figure.parameters.index(Parameter("cross_section", "dy"))
        more = rescaled(PLAIN, figure.parameters[index], 1.5)
        moved = cut + float(found.answer[0, index]) * np.log(1.5)
        kept, linear = (float(more(torch.tensor([at], dtype=torch.float64))) for at in (cut, moved))
        best = maximum(more)[1]
        assert kept < linear < best
        # What the linear cut leaves is of higher order than what keeping the cut loses.
        assert best - linear < 0.05 * (best - kept)

    def test_parameters_have_an_order_and_their_uncertainties(self):
        kinds = [(each.kind, each.process, each.relative_uncertainty) for each in figure_of(UNCERTAIN).parameters]
        assert kinds == [
            ("cross_section", "higgs", None),
            ("cross_section", "dy", 0.03),
            ("cross_section", "zh", None),
            ("cross_section", "top", 0.3),
            ("luminosity", None, None),
            ("uncertainty", "dy", 0.03),
            ("uncertainty", "top", 0.3),
            ("uncertainty", None, 0.05),
        ]
        assert len(figure_of(PLAIN).parameters) == 5


def table_of(seed=1, events=1000, totals=TOTALS, centres=CENTRES, score=None):
    rng = np.random.default_rng(seed)
    process = np.repeat(NAMES, events)
    drawn = rng.normal(np.repeat(centres, events)) if score is None else score(rng, np.repeat(np.arange(4), events))
    weight = np.repeat(np.array(totals) / events, events)
    return drawn, EventTable.from_arrays(
        {"x": drawn}, weight=weight, process=process, roles=dict(zip(NAMES, ROLES, strict=True)), luminosity_ifb=1.0
    )


def impacts(settings=PLAIN, seed=0, replicas=10, sample=1, **toy):
    score, table = table_of(seed=sample, **toy)
    sensitivity = settings.sensitivity.model_copy(update={"replicas": replicas})
    settings = settings.model_copy(update={"sensitivity": sensitivity})
    return cut_sensitivities(score, table, settings, np.random.default_rng(seed))


def by_parameter(table):
    return {(row.parameter.kind, row.parameter.process): row for row in table.rows}


def total(table, kind, name):
    return sum(getattr(row, name) for row in table.rows if row.parameter.kind == kind)


class TestTable:
    def test_without_uncertainties_the_luminosity_moves_no_cut_and_half_of_z(self):
        found = impacts()
        luminosity = by_parameter(found)["luminosity", None]
        assert found.status == "ok"
        assert luminosity.significance == pytest.approx(found.significance / 2, rel=1e-12)
        assert (luminosity.cut, luminosity.cut_uncertainty) == (0.0, 0.0)
        assert total(found, "cross_section", "significance") == pytest.approx(luminosity.significance, rel=1e-12)
        assert abs(total(found, "cross_section", "cut")) < 1e-10

    def test_uncertainties_take_from_the_luminosity_what_dimensions_demand(self):
        # Z(l y, k / sqrt(l)) = sqrt(l) Z(y, k), and the cut stays.
        found = impacts(UNCERTAIN)
        luminosity = by_parameter(found)["luminosity", None]
        uncertain = total(found, "uncertainty", "significance")
        assert uncertain < 0
        assert luminosity.significance == pytest.approx((found.significance + uncertain) / 2, rel=1e-10)
        assert luminosity.cut == pytest.approx(total(found, "uncertainty", "cut") / 2, rel=1e-9)
        assert total(found, "cross_section", "significance") == pytest.approx(luminosity.significance, rel=1e-10)
        assert total(found, "cross_section", "cut") == pytest.approx(luminosity.cut, rel=1e-9)

    def test_rows_are_ranked_and_signed(self):
        found = impacts(UNCERTAIN)
        sizes = [abs(row.significance) for row in found.rows]
        assert sizes == sorted(sizes, reverse=True)
        rows = by_parameter(found)
        assert rows["cross_section", "higgs"].significance > 0 > rows["cross_section", "top"].significance
        # The distrusted background is what a larger uncertainty tightens the cut against.
        assert rows["uncertainty", "top"].cut > 0
        top = rows["cross_section", "top"]
        assert top.shift == pytest.approx(0.3 * top.significance, rel=1e-15)
        assert rows["uncertainty", "top"].shift is rows["cross_section", "higgs"].shift is None

    def test_the_bandwidth_follows_the_score(self):
        score, table = table_of()
        first = cut_sensitivities(score, table, PLAIN, np.random.default_rng(0))
        second = cut_sensitivities(7 * score - 3, table, PLAIN, np.random.default_rng(0))
        assert second.cut == pytest.approx(7 * first.cut - 3, rel=1e-9)
        assert second.bandwidth == pytest.approx(7 * first.bandwidth, rel=1e-9)
        for one, other in zip(first.rows, second.rows, strict=True):
            assert other.significance == pytest.approx(one.significance, rel=1e-9)
            assert other.cut == pytest.approx(7 * one.cut, rel=1e-8, abs=1e-12)
        events = score[table.is_signal]
        weight = table.weight[table.is_signal]
        scan = scan_thresholds(
            score, table.weight, table.process, process_names=table.process_names, roles=table.roles, settings=PLAIN
        )
        above = events >= (cut := choose_working_point(scan, PLAIN).threshold)
        excess = np.average(events[above] - cut, weights=weight[above])
        assert first.bandwidth == pytest.approx(0.3 * excess, rel=1e-12)

    def test_errors_are_those_of_other_samples(self):
        many = [by_parameter(impacts(sample=sample, replicas=2, events=400)) for sample in range(15)]
        quoted = by_parameter(impacts(replicas=100, events=400, sample=3))
        for name in ("higgs", "dy", "top"):
            spread = np.std([each["cross_section", name].significance for each in many], ddof=1)
            assert quoted["cross_section", name].significance_uncertainty == pytest.approx(spread, rel=0.5)

    def test_the_same_generator_gives_the_same_table(self):
        assert impacts(seed=4) == impacts(seed=4)
        first, second = impacts(seed=4), impacts(seed=5)
        assert first.cut == second.cut
        assert first.rows[0].significance == second.rows[0].significance
        assert first.rows[0].significance_uncertainty != second.rows[0].significance_uncertainty

    def test_data_events_change_nothing(self):
        score, table = table_of()
        roles = (*table.roles, "data")
        grown = dataclasses.replace(
            table,
            features=np.concatenate([table.features, table.features[:50]]),
            weight=np.concatenate([table.weight, np.ones(50)]),
            process=np.concatenate([table.process, np.full(50, 4, table.process.dtype)]),
            process_names=(*table.process_names, "data"),
            roles=roles,
            labels=(*table.labels, "Data"),
            fold=np.concatenate([table.fold, table.fold[:50]]),
            identity=np.concatenate([table.identity, table.identity[:50]]),
        )
        found = cut_sensitivities(np.concatenate([score, score[:50]]), grown, PLAIN, np.random.default_rng(0))
        assert found == cut_sensitivities(score, table, PLAIN, np.random.default_rng(0))


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
        assert {row.cut for row in found.rows} == {row.cut_uncertainty for row in found.rows} == {None}
        # The envelope still holds: the requirement does not move with the parameters.
        luminosity = by_parameter(found)["luminosity", None]
        assert luminosity.significance == pytest.approx(found.significance / 2, rel=1e-12)
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

        options = WorkingPointSettings(figure_of_merit="s_over_sqrt_b", minimum_effective_background=1500)
        found = impacts(with_bandwidth(options, 0.02), events=4000, score=score, replicas=2)
        assert found.status == "flat"
        assert "no cut is preferred" in found.reason
        assert found.rows[0].cut is None
        assert found.rows[0].significance is not None

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
        assert found.runner_up[0] > 4
        assert found.runner_up[1] < found.significance
        assert ("the cut may jump" in found.reason) is (status != "ok")
        assert found.rows[0].cut is not None

    def test_a_kink_between_two_hypotheses(self):
        # One signal prefers a tight cut, the other dies there: the smallest is largest where both are equal.
        def score(rng, process):
            return rng.normal(np.array([2.5, -0.5, 0.3, -0.5])[process], np.array([0.6, 1.0, 0.6, 1.0])[process])

        found = impacts(
            PLAIN.model_copy(update={"signals": "minimum", "minimum_signal_efficiency": 0}),
            score=score, totals=(6.0, 900.0, 20.0, 300.0),
        )  # fmt: skip
        assert found.status == "kink"
        assert "the smallest significance changes" in found.reason
        assert {row.significance for row in found.rows} == {row.cut for row in found.rows} == {None}


def test_scores_of_another_table_are_refused():
    _, table = table_of()
    with pytest.raises(InputError, match="one length"):
        cut_sensitivities(np.ones(3), table, PLAIN, np.random.default_rng(0))


def test_scores_that_run_too_far_are_refused():
    generator = np.random.default_rng(5)
    process = np.repeat(["higgs", "dy"], 4000)
    score = generator.normal(1.0 * (process == "higgs"))
    table = EventTable.from_arrays(
        {"x": score},
        weight=np.where(process == "higgs", 0.01, 0.5),
        process=process,
        roles={"higgs": "signal", "dy": "background"},
        luminosity_ifb=1.0,
    )
    score[-1] = -1e6
    with pytest.raises(InputError, match="too far for a smoothing"):
        cut_sensitivities(score, table, PLAIN, generator)


@pytest.mark.parametrize(
    ("exact", "relative", "k"),
    [("poisson", "asimov", {}), ("poisson_with_uncertainty", "asimov_with_uncertainty", {"dy": 0.03, "top": 0.3})],
)
def test_an_exact_tail_is_differentiated_as_the_asimov_significance_that_it_tends_to(exact, relative, k):
    score, table = table_of()
    tables = []
    for figure in (exact, relative):
        settings = WorkingPointSettings(
            figure_of_merit=figure,
            background_uncertainties=k,
            minimum_effective_background=2,
            sensitivity={"replicas": 10},
        )
        tables.append(cut_sensitivities(score, table, settings, np.random.default_rng(0)))
    assert tables[0].status == tables[1].status == "ok"
    assert tables[0].figure_of_merit == tables[1].figure_of_merit == relative
    # The bandwidth follows from the working point, whose cut is that of the exact figure.
    first, second = (sorted(each.rows, key=lambda row: str(row.parameter)) for each in tables)
    for one, other in zip(first, second, strict=True):
        assert one.significance == pytest.approx(other.significance, rel=0.05, abs=1e-3)


@pytest.mark.parametrize("figure", ["ams", "punzi"])
def test_regularised_figures_are_differentiated_themselves(figure):
    score, table = table_of()
    settings = WorkingPointSettings(
        figure_of_merit=figure, minimum_effective_background=2, sensitivity={"replicas": 10}
    )
    found = cut_sensitivities(score, table, settings, np.random.default_rng(0))
    assert found.status == "ok"
    assert found.figure_of_merit == figure
    # Unlike Z_A, which scales with its root, these do not leave the cut where it is when the luminosity changes.
    (luminosity,) = [row for row in found.rows if row.parameter.kind == "luminosity"]
    assert abs(luminosity.cut) > 1e-3
